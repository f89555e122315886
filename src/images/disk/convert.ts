/** The recipe of `kilnix convert`: a disk from one container into another. */
import { parse } from 'node:path'
import type { CodecSpec } from '../../codecs/codec.ts'
import { CONTAINERS, type InputFormat, type OutputFormat } from '../../disks/containers.ts'
import { ImageError } from '../../errors.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { FileSource } from '../../io/source.ts'
import { dataBytes } from '../../io/stream.ts'
import { type ImageProduct, imageProduct } from '../product.ts'

export interface ConvertOptions {
  /** The file to read. */
  readonly input: string
  /** Its format; default: what its first and last bytes say. */
  readonly inputFormat?: InputFormat
  /** Default: what the ending of `fileName` says, else raw. */
  readonly format?: OutputFormat
  /** Identifiers of the new container are derived from it; default: the new file's name. */
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
  /** Bytes of it that are not known to be zero. */
  readonly dataBytes: number
}

/**
 * Open a disk and plan its new container; `close` closes it. Throws what `CONTAINERS.open` and `CONTAINERS.writer`
 * throw, NOT_FOUND, UNREADABLE.
 */
export async function convertDisk(options: ConvertOptions): Promise<ImageProduct<ConvertPlan>> {
  const { input, signal, onProgress } = options
  const format = options.format ?? CONTAINERS.formatOfName(options.fileName ?? '') ?? 'raw'
  const fileName = options.fileName ?? CONTAINERS.fileName(parse(input).name, format)
  onProgress?.({ kind: 'stage', stage: 'open' })
  const write = await CONTAINERS.writer(format)
  const source = await FileSource.open(input)
  try {
    const opened = await CONTAINERS.open(source, options.inputFormat, { ...(signal && { signal }), ...(onProgress && { onProgress }) })
    if (options.inputFormat === undefined && opened.format === 'raw') checkName(input)
    const image = write(opened.image, {
      seed: options.seed ?? fileName,
      fileName,
      ...(options.compression && { compression: options.compression }),
      ...(options.mtimeSeconds !== undefined && { timeSeconds: options.mtimeSeconds }),
    })
    const plan = { input, inputFormat: opened.format, format, diskSize: opened.image.size, dataBytes: dataBytes(opened.image) }
    return imageProduct({
      name: fileName,
      named: CONTAINERS.named(format),
      image,
      plan,
      inputs: [input],
      source: { narBytes: 0, verified: true },
      close: () => source.close(),
    })
  } catch (error) {
    await source.close()
    throw error
  }
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
