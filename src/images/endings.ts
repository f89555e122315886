/** What the ending of a file name promises, so that no file is named for what it is not. */
import { CONTAINERS } from '../disks/containers.ts'
import { ImageError } from '../errors.ts'

/** Of compressed files. */
const COMPRESSED = ['gz', 'tgz', 'zst', 'zstd', 'xz', 'txz', 'lz4', 'bz2', 'tbz2', 'lzma', 'lz', 'lzo', 'br', 'zip', '7z', 'rar']
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
}

/** Throws USAGE for a file name whose ending promises something else. */
export function checkEnding(fileName: string, image: NamedImage, { isCompressed = false }: { readonly isCompressed?: boolean } = {}): void {
  const { what, endings } = isCompressed ? compressed(image) : image
  const name = fileName.toLowerCase()
  const has = (ending: string): boolean => name.endsWith(`.${ending}`)
  if (endings.some(has)) return
  const promised = promises().find(has)
  if (promised === undefined) return
  const [usual] = endings
  const remedy = usual === undefined ? 'choose a name without it' : `name it .${usual}`
  throw new ImageError(
    'USAGE',
    `${fileName}: ends with .${promised}, and what is written is ${what}; ${remedy}, or ask for what the name says`,
    {
      path: fileName,
    },
  )
}

function compressed({ what, endings }: NamedImage): NamedImage {
  return { what: `${what}, compressed by zstd`, endings: [...endings.flatMap((ending) => [`${ending}.zst`]), 'zst', 'zstd'] }
}

/** Longer ones first: `raw.tar.gz` before `gz`. */
function promises(): string[] {
  const all = [...COMPRESSED, ...IMAGES, ...CONTAINERS.list.flatMap(({ endings }) => endings)]
  return all.filter((ending) => !ANYTHING.includes(ending)).sort((a, b) => b.length - a.length)
}
