/**
 * What the ending of a file name promises: the kind of image, and around it a compression of the whole, which is then done. No file is named
 * for what it is not.
 */
import type { CodecSpec } from '../codecs/codec.ts'
import { CONTAINERS, type OutputFormat } from '../disks/containers.ts'
import { ImageError } from '../errors.ts'

/** By which the whole of an image is compressed, at the levels that the tools of these names have by themselves. */
const WRAPPINGS: Readonly<Record<string, CodecSpec>> = {
  gz: { name: 'gzip', level: 6 },
  zst: { name: 'zstd', level: 3 },
  zstd: { name: 'zstd', level: 3 },
  xz: { name: 'xz', level: 6 },
}
/** Of files that are compressed otherwise. */
const COMPRESSED = ['tgz', 'txz', 'lz4', 'bz2', 'tbz2', 'lzma', 'lz', 'lzo', 'br', 'zip', '7z', 'rar']
/** Of images that are written, and of those that only others write. */
const IMAGES = [
  'iso',
  'squashfs',
  'sqsh',
  'sfs',
  'cpio',
  'tar',
  'nar',
  'efi',
  'qcow',
  'qed',
  'hdd',
  'hds',
  'dmg',
  'wim',
  'luks',
  'box',
  'ovf',
]
/** Any disk may have it, as clouds take it. */
const ANYTHING = ['img']

export interface NamedImage {
  /** As a message has it: `an ISO image`. */
  readonly what: string
  /** Endings that say what it is, without the first dot; the first is the usual one, and none may be right. */
  readonly endings: readonly string[]
  /** False: what reads it expects no further compression around it. Default true. */
  readonly isWrappable?: boolean
}

/**
 * How the whole of an image is to be compressed for a file of this name: by what the ending says, or by zstd at `zstdLevel`, where that is
 * given. Throws USAGE for a file name whose ending promises something else.
 */
export function wholeCompression(fileName: string, image: NamedImage, zstdLevel?: number): CodecSpec | undefined {
  const { what, endings, isWrappable = true } = image
  if (zstdLevel !== undefined) {
    const wrapped = [...endings.map((ending) => `${ending}.zst`), 'zst', 'zstd']
    checkPromise(fileName, { what: `${what}, compressed by zstd`, endings: wrapped })
    return { name: 'zstd', level: zstdLevel }
  }
  const wrapping = isWrappable && !endings.some((ending) => endsWith(fileName, ending)) ? wrappingOf(fileName) : undefined
  checkPromise(wrapping === undefined ? fileName : fileName.slice(0, -wrapping.length - 1), image, fileName)
  return wrapping === undefined ? undefined : WRAPPINGS[wrapping]
}

/** The container that a file name asks for by its ending, or within that of a compression. */
export function formatOfFile(fileName: string): OutputFormat | undefined {
  return CONTAINERS.formatOfName(innerName(fileName))
}

/** A file's name as it is once it is unpacked. */
export function innerName(fileName: string): string {
  const wrapping = wrappingOf(fileName)
  return wrapping === undefined ? fileName : fileName.slice(0, -wrapping.length - 1)
}

function checkPromise(name: string, { what, endings }: NamedImage, fileName = name): void {
  if (endings.some((ending) => endsWith(name, ending))) return
  const promised = promises().find((ending) => endsWith(name, ending))
  if (promised === undefined) return
  const [usual] = endings
  const remedy = usual === undefined ? 'choose a name without it' : `name it .${usual}`
  const around = fileName.slice(name.length)
  throw new ImageError(
    'USAGE',
    `${fileName}: ends with .${promised}${around}, and what is written is ${what}; ${remedy}${around}, or ask for what the name says`,
    { path: fileName },
  )
}

/** The compression that a name promises, where it promises nothing that has the same ending. */
function wrappingOf(fileName: string): string | undefined {
  const promised = promises().find((ending) => endsWith(fileName, ending))
  return promised !== undefined && promised in WRAPPINGS ? promised : undefined
}

function endsWith(fileName: string, ending: string): boolean {
  return fileName.toLowerCase().endsWith(`.${ending}`)
}

/** Longer ones first: `raw.tar.gz` before `gz`. */
function promises(): string[] {
  const all = [...Object.keys(WRAPPINGS), ...COMPRESSED, ...IMAGES, ...CONTAINERS.list.flatMap(({ endings }) => endings)]
  return all.filter((ending) => !ANYTHING.includes(ending)).sort((a, b) => b.length - a.length)
}
