/** The recipe of `kilnix convert`: a disk from one container into another. */
import type { CodecSpec } from '../../codecs/codec.ts'
import { CONTAINERS, type InputFormat, type OutputFormat } from '../../disks/containers.ts'
import type { GrowingImage, Image } from '../../io/image.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { FileSource } from '../../io/source.ts'
import { dataBytes } from '../../io/stream.ts'

export interface ConvertOptions {
  /** The file to read. */
  readonly input: string
  /** Its format; default: what its first and last bytes say. */
  readonly inputFormat?: InputFormat
  readonly format: OutputFormat
  /** Identifiers of the new container are derived from it; default: the new file's name. */
  readonly seed?: string
  /** Name of the file to write, which some containers repeat. */
  readonly fileName: string
  /** Of containers that are compressed; default gzip, level 6. */
  readonly compression?: CodecSpec
  /** Of formats that have a time; default: each format's own beginning of time. */
  readonly mtimeSeconds?: number
  readonly signal?: AbortSignal
  readonly onProgress?: ProgressListener
}

export interface ConvertedDisk {
  readonly image: Image | GrowingImage
  readonly plan: ConvertPlan
  /** Closes the file that is read. */
  close(): Promise<void>
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

/** Open a disk and plan its new container. Throws what `CONTAINERS.open` and `CONTAINERS.writer` throw, NOT_FOUND, UNREADABLE. */
export async function convertDisk(options: ConvertOptions): Promise<ConvertedDisk> {
  const { input, format, fileName, signal } = options
  options.onProgress?.({ kind: 'stage', stage: 'scan' })
  const write = await CONTAINERS.writer(format)
  const source = await FileSource.open(input)
  try {
    const opened = await CONTAINERS.open(source, options.inputFormat, signal && { signal })
    const image = write(opened.image, {
      seed: options.seed ?? fileName,
      fileName,
      ...(options.compression && { compression: options.compression }),
      ...(options.mtimeSeconds !== undefined && { timeSeconds: options.mtimeSeconds }),
    })
    const plan = { input, inputFormat: opened.format, format, diskSize: opened.image.size, dataBytes: dataBytes(opened.image) }
    return { image, plan, close: () => source.close() }
  } catch (error) {
    await source.close()
    throw error
  }
}
