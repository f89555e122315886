/** What a container of a disk is, and what follows from a list of them: names, file endings, probing, reading, writing. */
import type { CodecName, CodecSpec } from '../codecs/codec.ts'
import { ImageError } from '../errors.ts'
import type { DataSearchOptions } from '../io/data-search.ts'
import type { GrowingImage, Image } from '../io/image.ts'
import type { ProgressListener } from '../io/progress.ts'
import type { RandomAccessSource } from '../io/source.ts'
import type { MachineOptions } from './machine.ts'
import type { FurtherFiles, ReadDisk } from './reading/further.ts'
import { DEFAULT_SECTOR_SIZE, type DiskImage } from './sectors.ts'

/** Bytes by which a format is known. */
export interface Mark {
  /** Bytes; below 0 from the end of the file. */
  readonly position: number
  readonly bytes: Uint8Array
}

/** `text`: one byte a character. */
export function mark(position: number, text: string): Mark {
  return { position, bytes: Buffer.from(text, 'latin1') }
}

export interface ContainerOptions {
  /** Identifiers are derived from it. */
  readonly seed: string
  /** The name of the file to write, without folders: VMDK and OVA repeat it. */
  readonly fileName: string
  /** Of formats that have a time; default: each format's own beginning of time. */
  readonly timeSeconds?: number
  /** One of the container's codecs; default gzip, level 6. */
  readonly compression?: CodecSpec
  /** Of containers that describe a machine. */
  readonly machine?: MachineOptions
  /** Of containers with several disks: those after the first. */
  readonly furtherDisks?: readonly DiskImage[]
}

export interface ReadOptions extends FurtherFiles, DataSearchOptions {
  /** Of images with snapshots: the id or name of the one to read. */
  readonly snapshot?: string
  /** Of containers with several disks: the name or number of the one to read. */
  readonly disk?: string
  /** Gets notes: what of the file could be meant otherwise. */
  readonly onProgress?: ProgressListener
}

/** By their names as options. */
export type FurtherInput = 'backing' | 'dataFile' | 'extents' | 'snapshot' | 'disk'

/** What is given besides a file, of which nothing is opened by a name that stands in the file. */
export interface OpenOptions extends Omit<ReadOptions, 'openParent'> {
  /** The disks below, the nearest first. */
  readonly backing?: readonly RandomAccessSource[]
}

/** The disk in its container. Throws what the format throws. */
export type ContainerWriter = (disk: DiskImage, options: ContainerOptions) => Image | GrowingImage

/**
 * A format as it is asked for by name. It stands in its folder and loads the format only when a disk is read or written,
 * so that a command's help is there at once.
 */
export interface Container {
  readonly name: string
  /** One line: what it is and who takes it. */
  readonly about: string
  /** Of file names, without the first dot; the first is the usual one. An ending of two containers asks for the first of them. */
  readonly endings: readonly string[]
  /** Any of them shows the format. The container that is read and has none is what carries no other's mark. */
  readonly marks?: readonly Mark[]
  /** Whether a file with a mark is of the format, where others have the mark too. */
  isOf?(source: RandomAccessSource): Promise<boolean>
  /** What it can be compressed by; none: it is not compressed. */
  readonly codecs?: readonly CodecName[]
  /** Who takes it wants disks of whole multiples of so many bytes. */
  readonly sizeUnit?: number
  /** Whether it can hold several disks. */
  readonly holdsSeveral?: boolean
  /** Whether it describes the machine, too. */
  readonly hasMachine?: boolean
  /** Whether it has identifiers, which are derived from the seed. */
  readonly hasIdentifiers?: boolean
  /** Whether it can hold the disks of a ZFS pool. */
  readonly holdsPool?: boolean
  /**
   * Of disks whose sectors have 4096 bytes: `said` where the file says so, `attached` where it says nothing and it is the machine's
   * matter how it attaches the disk. Without it all machines take the disk for one of 512.
   */
  readonly largeSectors?: 'said' | 'attached'
  /** What a reader may be given besides the file. */
  readonly takes?: readonly FurtherInput[]
  writer?(): Promise<ContainerWriter>
  /** The virtual disk. Throws BAD_INPUT for a damaged one, UNSUPPORTED for features that are not read, and what the source throws. */
  read?(source: RandomAccessSource, options: ReadOptions): Promise<ReadDisk>
}

/** Names of those that have a property of this shape. */
type NameWith<List extends readonly Container[], Shape> = Extract<List[number], Shape>['name']

export interface OpenedDisk<InputFormat extends string> {
  readonly format: InputFormat
  /** The virtual disk, with its sector size where the container says one. */
  readonly image: ReadDisk
}

export interface ContainerRegistry<OutputFormat extends string, InputFormat extends string, PoolFormat extends string> {
  readonly list: readonly Container[]
  /** Those that can be written, read, and that can hold a ZFS pool, in the order of the list. */
  readonly outputFormats: readonly OutputFormat[]
  readonly inputFormats: readonly InputFormat[]
  readonly poolFormats: readonly PoolFormat[]
  /** Those that can hold several disks in one file. */
  readonly severalFormats: readonly OutputFormat[]
  /** `stem` with the usual ending of the container. */
  fileName(stem: string, format: OutputFormat): string
  /** What a file name may say of it. */
  named(format: OutputFormat): { readonly what: string; readonly endings: readonly string[] }
  /** The container that a file name asks for by its ending, or undefined. */
  formatOfName(fileName: string): OutputFormat | undefined
  /**
   * Load what writes a container. Throws USAGE for one that is not known; what is returned throws USAGE for a codec where
   * nothing is compressed, UNSUPPORTED for one that the container does not have, and for sectors that it does not have, and what
   * the format throws.
   */
  writer(format: OutputFormat): Promise<ContainerWriter>
  /**
   * The format of a file; what has no mark is a raw disk. Throws UNSUPPORTED for a disk in an archive or a compressed
   * file, and what the source throws.
   */
  probe(source: RandomAccessSource): Promise<InputFormat>
  /**
   * The disk in a container, which is probed unless it is given. Throws what `probe` and the container's `read` throw, and USAGE for what is
   * given besides the file and not needed.
   */
  open(source: RandomAccessSource, given?: InputFormat, options?: OpenOptions): Promise<OpenedDisk<InputFormat>>
}

export function containerRegistry<const List extends readonly Container[]>(
  list: List,
): ContainerRegistry<
  NameWith<List, { readonly writer: unknown }>,
  NameWith<List, { readonly read: unknown }>,
  NameWith<List, { readonly holdsPool: true }>
> {
  type OutputFormat = NameWith<List, { readonly writer: unknown }>
  type InputFormat = NameWith<List, { readonly read: unknown }>
  const containers: readonly Container[] = list
  const named = (format: string): Container => {
    const found = containers.find(({ name }) => name === format)
    if (found === undefined) throw new ImageError('USAGE', `there is no container '${format}'; there are ${namesOf(containers)}`)
    return found
  }
  const probe = async (source: RandomAccessSource): Promise<InputFormat> => (await probed(source, containers)) as InputFormat
  const open = async (source: RandomAccessSource, given?: InputFormat, options: OpenOptions = {}): Promise<OpenedDisk<InputFormat>> => {
    const { openExtent } = options
    if (openExtent === undefined) return openLayer(source, given, options)
    let isOpened = false
    const opened = await openLayer(source, given, {
      ...options,
      openExtent: (name) => {
        isOpened = true
        return openExtent(name)
      },
    })
    if (isOpened) return opened
    throw new ImageError('USAGE', (option) => `${option('extents')}: nothing that is read lies in files of its own; leave it out`)
  }
  const openLayer = async (
    source: RandomAccessSource,
    given: InputFormat | undefined,
    options: OpenOptions,
  ): Promise<OpenedDisk<InputFormat>> => {
    const { backing: [next, ...further] = [], ...rest } = options
    const format = given ?? (await probe(source))
    const container = named(format)
    checkTaken(container, options, containers)
    let isOpened = false
    const openParent = async (stated?: string): Promise<ReadDisk> => {
      isOpened = true
      const { snapshot: _, disk: __, dataFile: ___, ...inherited } = rest
      const known = containers.find(({ name, read }) => read && name === stated)?.name as InputFormat | undefined
      if (known !== undefined) await noteBeginning(next as RandomAccessSource, named(known), containers, options.onProgress)
      return (await openLayer(next as RandomAccessSource, known, { ...inherited, backing: further })).image
    }
    const image = await container.read?.(source, next === undefined ? rest : { ...rest, openParent })
    if (image === undefined) throw new ImageError('USAGE', `${format} is written and not read`)
    if (next !== undefined && !isOpened) {
      throw new ImageError('USAGE', (option) => `${option('backing')}: a disk is given that nothing is a change of; leave it out`)
    }
    return { format, image }
  }
  return {
    list,
    outputFormats: containers.filter(({ writer }) => writer).map(({ name }) => name as OutputFormat),
    inputFormats: containers.filter(({ read }) => read).map(({ name }) => name as InputFormat),
    poolFormats: containers.filter(({ holdsPool }) => holdsPool).map(({ name }) => name as NameWith<List, { readonly holdsPool: true }>),
    severalFormats: containers.filter(({ holdsSeveral }) => holdsSeveral).map(({ name }) => name as OutputFormat),
    fileName: (stem, format) => `${stem}.${named(format).endings[0]}`,
    named: (format) => ({ what: `a disk as ${format}`, endings: named(format).endings }),
    formatOfName(fileName) {
      const name = fileName.toLowerCase()
      const found = containers.find(({ writer, endings }) => writer && endings.some((ending) => name.endsWith(`.${ending}`)))
      return found?.name as OutputFormat | undefined
    },
    async writer(format) {
      const container = named(format)
      const write = await container.writer?.()
      if (write === undefined) throw new ImageError('USAGE', `${format} is read and not written`)
      return (disk, options) => {
        checkCodec(container, options.compression, containers)
        const further = options.furtherDisks ?? []
        for (const one of [disk, ...further]) checkSectors(container, one, containers)
        if (further.length > 0) checkSeveral(container, containers)
        checkMachine(container, options.machine, containers)
        return write(disk, options)
      }
    },
    probe,
    open,
  }
}

function namesOf(containers: readonly Container[]): string {
  return containers.map(({ name }) => name).join(', ')
}

/** Throws USAGE for what the container does not take. */
function checkTaken({ name, takes = [] }: Container, options: OpenOptions, containers: readonly Container[]): void {
  const given: readonly (readonly [what: FurtherInput, value: unknown])[] = [
    ['backing', options.backing?.[0]],
    ['dataFile', options.dataFile],
    ['snapshot', options.snapshot],
    ['disk', options.disk],
  ]
  for (const [what, value] of given) {
    if (value === undefined || takes.includes(what)) continue
    const others = namesOf(containers.filter((container) => container.read && container.takes?.includes(what)))
    throw new ImageError('USAGE', (option) => `${option(what)}: the input is ${name}, which has no such thing (${others}); leave it out`)
  }
}

/** A raw disk may hold an image, as the child says; more often the wrong file was given. */
async function noteBeginning(
  source: RandomAccessSource,
  { name, marks }: Container,
  containers: readonly Container[],
  onProgress: ProgressListener | undefined,
): Promise<void> {
  if (marks !== undefined) return
  for (const other of containers) {
    const first = (other.marks ?? []).filter(({ position }) => position >= 0)
    if (!other.read || !(await hasAnyMark(source, first)) || (await other.isOf?.(source)) === false) continue
    const message = `a backing file begins as ${other.name}, and is read as ${name}, as the change of it says: its own tables become data; was another file meant?`
    onProgress?.({ kind: 'note', message })
    return
  }
}

function checkCodec({ name, codecs }: Container, compression: CodecSpec | undefined, containers: readonly Container[]): void {
  if (compression === undefined || codecs?.includes(compression.name)) return
  if (codecs === undefined) {
    const compressed = namesOf(containers.filter((container) => container.codecs !== undefined))
    throw new ImageError(
      'USAGE',
      (option) => `${name} is not compressed; leave ${option('compression')} out, or choose one of ${compressed}`,
    )
  }
  throw new ImageError('UNSUPPORTED', `${name} cannot be compressed by ${compression.name}; choose ${codecs.join(' or ')}`)
}

function checkSeveral({ name, holdsSeveral }: Container, containers: readonly Container[]): void {
  if (holdsSeveral === true) return
  const others = namesOf(containers.filter((container) => container.holdsSeveral))
  throw new ImageError('USAGE', (option) => `${option('additionalDisks')}: ${name} holds one disk; leave it out, or choose ${others}`)
}

function checkMachine({ name, hasMachine }: Container, machine: MachineOptions | undefined, containers: readonly Container[]): void {
  const [given] = Object.keys(machine ?? {})
  if (given === undefined || hasMachine === true) return
  const others = namesOf(containers.filter((container) => container.hasMachine))
  throw new ImageError('USAGE', (option) => `${option(given)}: ${name} describes no machine; leave it out, or choose ${others}`)
}

function checkSectors(
  { name, largeSectors }: Container,
  { sectorSize = DEFAULT_SECTOR_SIZE }: DiskImage,
  containers: readonly Container[],
): void {
  if (sectorSize === DEFAULT_SECTOR_SIZE || largeSectors !== undefined) return
  const others = namesOf(containers.filter((container) => container.largeSectors !== undefined))
  throw new ImageError('UNSUPPORTED', `the disk has sectors of ${sectorSize} bytes, those of ${name} have 512; choose one of ${others}`)
}

const OTHER_CONTAINER = 'which is not read; convert it to raw or qcow2 where it was made'

/** What disks are packed in, and how to get them out; containers of others (QEMU, block/; hdiutil's trailer). */
const WRAPPINGS: readonly (Mark & { readonly remedy: string })[] = [
  {
    ...mark(257, 'ustar'),
    remedy: 'a tar archive and no OVA, whose first file ends with .ovf; unpack it and give the disk in it',
  },
  { ...mark(0, '\x1f\x8b\x08'), remedy: 'compressed by gzip; unpack it and give the disk in it' },
  { ...mark(0, '\x28\xb5\x2f\xfd'), remedy: 'compressed by zstd; unpack it and give the disk in it' },
  { ...mark(0, '\xfd7zXZ\0'), remedy: 'compressed by xz; unpack it and give the disk in it' },
  { ...mark(0, 'BZh'), remedy: 'compressed by bzip2; unpack it and give the disk in it' },
  { ...mark(0, '\x04\x22\x4d\x18'), remedy: 'compressed by lz4; unpack it and give the disk in it' },
  { ...mark(0, 'PK\x03\x04'), remedy: 'a zip archive; unpack it and give the disk in it' },
  { ...mark(0, 'QED\0'), remedy: `a QED disk, ${OTHER_CONTAINER}` },
  { ...mark(0, 'WithoutFreeSpace'), remedy: `a Parallels disk, ${OTHER_CONTAINER}` },
  { ...mark(0, 'WithouFreSpacExt'), remedy: `a Parallels disk, ${OTHER_CONTAINER}` },
  { ...mark(0, 'Bochs Virtual HD Image'), remedy: `a disk of Bochs, ${OTHER_CONTAINER}` },
  { ...mark(0, '#!/bin/sh\n#V2.0 Format\n'), remedy: `a cloop image, ${OTHER_CONTAINER}` },
  { ...mark(0, 'LUKS\xba\xbe'), remedy: 'encrypted by LUKS; decrypt it first' },
  { ...mark(-512, 'koly'), remedy: `a disk image of macOS (DMG), ${OTHER_CONTAINER}` },
]

/**
 * Marks at the beginning count before those at the end: the footer of a VHD comes last, and only a fixed one has nothing
 * at its beginning, where a partition table may lie.
 */
async function probed(source: RandomAccessSource, containers: readonly Container[]): Promise<string | undefined> {
  for (const isAtEnd of [false, true]) {
    for (const container of containers) {
      const marks = (container.marks ?? []).filter(({ position }) => position < 0 === isAtEnd)
      if (container.read && (await hasAnyMark(source, marks)) && (await container.isOf?.(source)) !== false) return container.name
    }
  }
  for (const { remedy, ...wrapping } of WRAPPINGS) {
    if (!(await hasAnyMark(source, [wrapping]))) continue
    throw new ImageError(
      'UNSUPPORTED',
      (option) => `the input is ${remedy}; a raw disk that begins so is read with ${option('inputFormat')} raw`,
    )
  }
  return containers.find(({ read, marks }) => read && marks === undefined)?.name
}

async function hasAnyMark(source: RandomAccessSource, marks: readonly Mark[]): Promise<boolean> {
  for (const { position, bytes } of marks) {
    const at = position < 0 ? source.size + position : position
    if (at < 0 || at + bytes.length > source.size) continue
    if (Buffer.compare(await source.read(at, bytes.length), bytes) === 0) return true
  }
  return false
}
