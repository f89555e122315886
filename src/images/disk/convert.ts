/** The recipe of `kilnix convert`: a disk from one container into another. */
import type { CodecSpec } from '../../codecs/codec.ts'
import type { DiskFormat } from '../../disks/probe.ts'
import type { GrowingImage, Image } from '../../io/image.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { FileSource } from '../../io/source.ts'
import { dataBytes } from '../../io/stream.ts'
import { containerOf, openDisk } from './containers.ts'
import type { OutputFormat } from './names.ts'

export interface ConvertOptions {
  /** The file to read. */
  readonly input: string
  /** Its format; default: what its first and last bytes say. */
  readonly inputFormat?: DiskFormat
  readonly format: OutputFormat
  /** Identifiers of the new container are derived from it; default: the new file's name. */
  readonly seed?: string
  /** Name of the file to write, which some containers repeat. */
  readonly fileName: string
  /** Of `qcow2-compressed`, `vmdk-stream`, `ova` and `raw.tar.gz`; default gzip, level 6. */
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
  readonly inputFormat: DiskFormat
  readonly format: OutputFormat
  /** Bytes of the disk that a machine sees. */
  readonly diskSize: number
  /** Bytes of it that are not known to be zero. */
  readonly dataBytes: number
}

/** Open a disk and plan its new container. Throws what `openDisk` and `containerOf` throw, NOT_FOUND, UNREADABLE. */
export async function convertDisk(options: ConvertOptions): Promise<ConvertedDisk> {
  const { input, format, fileName, signal } = options
  options.onProgress?.({ kind: 'stage', stage: 'scan' })
  const source = await FileSource.open(input)
  try {
    const opened = await openDisk(source, options.inputFormat, signal ? { signal } : {})
    const image = containerOf(opened.image, format, {
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
