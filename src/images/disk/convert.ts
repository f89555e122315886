/** The recipe of `kilnix convert`: a disk from one container into another. */
import { stat } from 'node:fs/promises'
import { join, parse } from 'node:path'
import { quote } from '../../bytes/text.ts'
import type { CodecSpec } from '../../codecs/codec.ts'
import type { Container, OpenedDisk, OpenOptions } from '../../disks/container.ts'
import { CONTAINERS, type InputFormat, type OutputFormat } from '../../disks/containers.ts'
import { gptSectorSize } from '../../disks/gpt/index.ts'
import { type MachineOptions, machineOf } from '../../disks/machine.ts'
import type { ReadDisk } from '../../disks/reading/further.ts'
import { checkSectorSize, DEFAULT_SECTOR_SIZE, type DiskImage, type SectorSize } from '../../disks/sectors.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import { openSpool } from '../../io/file-target.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { FileSource, type RandomAccessSource } from '../../io/source.ts'
import { dataBytes } from '../../io/stream.ts'
import { type DiskIdentityOptions, diskIdentity } from '../disk-identity.ts'
import { formatOfFile, innerName } from '../endings.ts'
import { type ImageProduct, imageProduct } from '../product.ts'
import { noteSize } from './sizes.ts'
import { type OpenSource, unpacked } from './unpacked.ts'

export interface ConvertOptions extends MachineOptions {
  /** The file or block device to read, or `-` for `stdin`. What is compressed by gzip or zstd is unpacked into a scratch file first. */
  readonly input: string
  /** Is read to its end into a scratch file first: containers are read in any order. */
  readonly stdin?: AsyncIterable<Uint8Array>
  /** Its format; default: what its first and last bytes say. */
  readonly inputFormat?: InputFormat
  /** The disks that the input is a change of, the nearest first. None is opened because the input names it. */
  readonly backing?: readonly string[]
  /** The file that holds the data of a qcow2 whose data lie in a file of their own. */
  readonly dataFile?: string
  /** The folder with the files of a VMDK that lies in several; they have the names that the VMDK says. */
  readonly extents?: string
  /** The id or name of the snapshot to read in place of the disk as it is now. */
  readonly snapshot?: string
  /** The name or number of the disk to read, of an input that has several. */
  readonly disk?: string
  /** Further disks of the new container, files as `input`. */
  readonly additionalDisks?: readonly string[]
  /** Threads that look for zeros; default 2. */
  readonly jobs?: number
  /** Of a logical sector of the disk, in bytes. Default: what the container says, else what its GPT is made for, else 512. */
  readonly sectorSize?: SectorSize
  /** Default: what the ending of `fileName` says, else raw. */
  readonly format?: OutputFormat
  /** Identifiers of the new container are derived from it; default: what the disk holds, which is read for that. */
  readonly seed?: string
  /** Name of the file to write, which some containers repeat. Default: that of the file to read, with the ending of the new container. */
  readonly fileName?: string
  /** Of containers that are compressed; default gzip, level 6. */
  readonly compression?: CodecSpec
  /** Of formats that have a time; default: each format's own beginning of time. */
  readonly mtimeSeconds?: number
  readonly signal?: AbortSignal
  readonly onProgress?: ProgressListener
}

export interface ConvertPlan {
  readonly input: string
  readonly inputFormat: InputFormat
  readonly format: OutputFormat
  /** Bytes of the disk that a machine sees. */
  readonly diskSize: number
  readonly sectorSize: SectorSize
  /** Bytes of it that are not known to be zero. */
  readonly dataBytes: number
  /** Those after the first. */
  readonly additionalDisks?: readonly { readonly input: string; readonly inputFormat: InputFormat; readonly diskSize: number }[]
}

/**
 * Open a disk and plan its new container; `close` closes it. Throws what `CONTAINERS.open` and `CONTAINERS.writer`
 * throw, NOT_FOUND, UNREADABLE, and UNSUPPORTED where the new container does not say a sector size that the old one says.
 */
export async function convertDisk(options: ConvertOptions): Promise<ImageProduct<ConvertPlan>> {
  const { input, signal, onProgress } = options
  const format = options.format ?? formatOfFile(options.fileName ?? '') ?? 'raw'
  const fileName = options.fileName ?? CONTAINERS.fileName(input === '-' ? 'disk' : parse(input).name, format)
  onProgress?.({ kind: 'stage', stage: 'open' })
  const write = await CONTAINERS.writer(format)
  const files = new InputFiles(options.stdin, signal)
  try {
    const reading = {
      ...(options.jobs !== undefined && { jobs: options.jobs }),
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
    }
    const opened = await openDisk(files, input, options.inputFormat, { ...reading, ...(await furtherInputs(files, options)) })
    const further: (OpenedDisk<InputFormat> & { readonly input: string })[] = []
    for (const path of options.additionalDisks ?? []) further.push({ input: path, ...(await openFurther(files, path, reading)) })
    const container = containerOf(format)
    const sectorSize = await sectorSizeOf(opened.image, container, options.sectorSize)
    noteSize(opened.image.size, container, onProgress)
    const disks = [opened, ...further].map(({ image }) => image)
    const image = write(
      { ...opened.image, sectorSize },
      {
        seed: options.seed ?? (container.hasIdentifiers ? await disksIdentity(disks, reading) : ''),
        fileName: innerName(fileName),
        machine: machineOf(options),
        ...(further.length > 0 && { furtherDisks: disks.slice(1) }),
        ...(options.compression && { compression: options.compression }),
        ...(options.mtimeSeconds !== undefined && { timeSeconds: options.mtimeSeconds }),
      },
    )
    const plan: ConvertPlan = {
      input,
      inputFormat: opened.format,
      format,
      diskSize: opened.image.size,
      sectorSize,
      dataBytes: disks.reduce((sum, disk) => sum + dataBytes(disk), 0),
      ...(further.length > 0 && {
        additionalDisks: further.map((one) => ({ input: one.input, inputFormat: one.format, diskSize: one.image.size })),
      }),
    }
    return imageProduct({
      name: fileName,
      named: CONTAINERS.named(format),
      image,
      plan,
      inputs: files.paths,
      source: { narBytes: 0, verified: true },
      close: () => files.close(),
    })
  } catch (error) {
    await files.close()
    throw error
  }
}

async function openDisk(
  files: InputFiles,
  input: string,
  inputFormat: InputFormat | undefined,
  reading: OpenOptions,
): Promise<OpenedDisk<InputFormat>> {
  const source = await files.open(input)
  if (source.size === 0)
    throw new ImageError('BAD_INPUT', `${input}: is empty, so there is no disk in it; what makes it may have failed`, { path: input })
  const inner = inputFormat === undefined ? await files.unpack(source, input) : undefined
  const opened = await CONTAINERS.open(inner ?? source, inputFormat, reading)
  if (inputFormat === undefined && opened.format === 'raw') checkName(inner === undefined ? input : innerName(input))
  return opened
}

/** A further disk, for which nothing else can be given. */
async function openFurther(files: InputFiles, path: string, reading: OpenOptions): Promise<OpenedDisk<InputFormat>> {
  try {
    return await openDisk(files, path, undefined, reading)
  } catch (error) {
    if (!(error instanceof ImageError) || error.code === 'NOT_FOUND') throw error
    const { code } = error
    const elsewhere: ReadonlySet<string> = new Set(['backing', 'dataFile', 'extents', 'disk', 'inputFormat'])
    throw new ImageError(
      code,
      (option) => {
        const message = error.messageWith((name) => (elsewhere.has(name) ? `${option(name)} in a conversion of its own` : option(name)))
        return `${option('additionalDisks')} ${path}: ${message}`
      },
      { path },
    )
  }
}

/** What is named besides the input. Throws USAGE for a file that is named twice: it would be read as what it is not. */
async function furtherInputs(files: InputFiles, options: ConvertOptions): Promise<OpenOptions> {
  const { backing = [], dataFile, extents, snapshot, disk } = options
  await checkDistinct([options.input, ...backing, ...(dataFile === undefined ? [] : [dataFile])])
  const below: RandomAccessSource[] = []
  for (const path of backing) below.push(await files.open(path))
  return {
    ...(below.length > 0 && { backing: below }),
    ...(dataFile !== undefined && { dataFile: await files.open(dataFile) }),
    ...(extents !== undefined && { openExtent: (name: string) => files.open(extentPath(extents, name)) }),
    ...(snapshot !== undefined && { snapshot }),
    ...(disk !== undefined && { disk }),
  }
}

/** Files that are not there are left to whoever opens them. */
async function checkDistinct(paths: readonly string[]): Promise<void> {
  const seen = new Map<string, string>()
  for (const path of paths) {
    const status = path === '-' ? undefined : await stat(path, { bigint: true }).catch(() => undefined)
    const key = path === '-' ? '-' : status && `${status.dev}:${status.ino}`
    if (key === undefined) continue
    const other = seen.get(key)
    if (other !== undefined) throw new ImageError('USAGE', `${path}: is the same file as ${other}, which is given already`, { path })
    seen.set(key, path)
  }
}

/** Throws UNSUPPORTED for a name that leads out of the folder. */
function extentPath(folder: string, name: string): string {
  if (name !== '' && name !== '.' && name !== '..' && !/[/\\\0]/.test(name)) return join(folder, name)
  throw new ImageError(
    'UNSUPPORTED',
    (option) => `${quote(name)}: is no plain name of a file, and what an image names is read only from ${option('extents')}`,
  )
}

/** That of one disk is its own. */
async function disksIdentity(disks: readonly ReadDisk[], options: DiskIdentityOptions): Promise<string> {
  const identities: string[] = []
  for (const disk of disks) identities.push(await diskIdentity(disk, options))
  return identities.join(' ')
}

/** Files that are open until the product is closed. */
class InputFiles {
  readonly #stdin: AsyncIterable<Uint8Array> | undefined
  readonly #signal: AbortSignal | undefined
  readonly #sources: OpenSource[] = []
  readonly paths: string[] = []

  constructor(stdin: AsyncIterable<Uint8Array> | undefined, signal: AbortSignal | undefined) {
    this.#stdin = stdin
    this.#signal = signal
  }

  /** A path, or `-`. */
  async open(path: string): Promise<RandomAccessSource> {
    const source = path === '-' ? await spooled(this.#stdin, this.#signal) : await FileSource.open(path)
    this.#sources.push(source)
    if (path !== '-') this.paths.push(path)
    return source
  }

  /** What is in a source that is compressed as a whole. */
  async unpack(source: RandomAccessSource, path: string): Promise<RandomAccessSource | undefined> {
    const inner = await unpacked(source, path, this.#signal)
    if (inner !== undefined) this.#sources.push(inner)
    return inner
  }

  async close(): Promise<void> {
    for (const source of this.#sources.splice(0)) await source.close()
  }
}

/** Throws USAGE where there is no such input, WRITE_FAILED, and ABORTED. */
async function spooled(stdin: AsyncIterable<Uint8Array> | undefined, signal: AbortSignal | undefined): Promise<OpenSource> {
  if (stdin === undefined) throw new ImageError('USAGE', (option) => `${option('input')} is -, and there is no standard input`)
  const { target, close } = await openSpool()
  try {
    let size = 0
    for await (const chunk of stdin) {
      throwIfAborted(signal)
      await target.write(size, chunk)
      size += chunk.length
    }
    return { size, read: (position, length) => target.read(position, length), close }
  } catch (error) {
    await close()
    throw error
  }
}

function containerOf(format: OutputFormat): Container {
  const found = CONTAINERS.list.find(({ name }) => name === format)
  if (found === undefined) throw new RangeError(`${format}: not in the registry`)
  return found
}

/** Throws UNSUPPORTED where a size that the old container says gets lost, unless it is asked for; USAGE where another is asked for. */
async function sectorSizeOf(
  disk: DiskImage,
  { name: format, largeSectors }: Container,
  asked: SectorSize | undefined,
): Promise<SectorSize> {
  if (asked !== undefined) checkSectorSize(asked)
  const { sectorSize: said } = disk
  if (said === undefined) return asked ?? (await gptSectorSize(disk)) ?? DEFAULT_SECTOR_SIZE
  if (asked !== undefined && asked !== said) {
    throw new ImageError(
      'USAGE',
      (option) => `${option('sectorSize')} is ${asked}, and the disk has sectors of ${said} bytes, in which its tables count; leave it out`,
    )
  }
  if (said !== DEFAULT_SECTOR_SIZE && asked === undefined && largeSectors === 'attached') {
    throw new ImageError(
      'UNSUPPORTED',
      (option) =>
        `the disk has sectors of ${said} bytes, which ${format} does not say, and most machines would take them for 512; choose vhdx, or give ${option('sectorSize')} ${said} where the disk is attached so (logical_block_size of QEMU)`,
    )
  }
  return said
}

/** A VHD without its footer, say, looks like a raw disk. Throws BAD_INPUT for a name that promises a container. */
function checkName(input: string): void {
  const promised = CONTAINERS.list.find(
    ({ name, endings }) => name !== 'raw' && endings.some((ending) => input.toLowerCase().endsWith(`.${ending}`)),
  )
  if (promised === undefined) return
  throw new ImageError(
    'BAD_INPUT',
    (option) =>
      `${input}: its name says ${promised.name}, and nothing in it does: it is damaged or was cut short; a raw disk of that name is read with ${option('inputFormat')} raw`,
    { path: input },
  )
}
