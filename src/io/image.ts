/**
 * The one idea: an image is a size and a sorted list of extents; what lies between them is zero.
 */
import { ImageError } from '../errors.ts'
import type { ByteRun } from './byte-run.ts'
import type { ProgressListener } from './progress.ts'
import type { LentTarget, Target } from './target.ts'

export type { ByteRun } from './byte-run.ts'

/** A run of bytes of an image. `read` may be called more than once and yields exactly `length` bytes. */
export interface Extent {
  readonly start: number
  readonly length: number
  read(): AsyncIterable<Uint8Array>
  /**
   * The `length` bytes from `start` on, counted from the beginning of the extent, for extents that need not
   * read what comes before. May be called more than once; the caller keeps within the extent. Chunks may lie in
   * `buffer`, if one is lent, where the next one replaces them; so many readers need not make garbage.
   */
  readRange?(start: number, length: number, buffer?: Uint8Array): AsyncIterable<Uint8Array>
  /** For one reading without a promise for each step; undefined where that cannot be. */
  openNow?(): ImmediateReader | undefined
  /** Of an extent that stands for many runs of data with zeros between them. */
  readonly sparse?: SparseContent
  /** Of an extent whose bytes need not pass through the thread that writes it. */
  readonly carried?: CarriedContent
}

/** An extent for whoever can do without its zeros. A disk may have millions of runs of data, too many for an extent each. */
export interface SparseContent {
  /** What may be other than zero, ascending and without overlap. */
  runs(): Iterable<ByteRun>
  /** All bytes of the extent in order; a number stands for so many zeros. */
  read(): AsyncIterable<Uint8Array | number>
}

/**
 * What of an extent a carrier can bring to a file. `parts` and `rest` together are all of the extent; both ascend, count
 * from its beginning, and are the same at every call.
 */
export interface CarriedContent {
  parts(): Iterable<CarriedPart>
  /** What has to be read all the same. */
  rest(): Iterable<Extent>
}

/** Bytes of a source from `offset` on; what is longer than the source is zero. */
export interface CarriedPart extends ByteRun {
  readonly source: CarriedSource
  readonly offset: number
}

export interface CarriedSource {
  readonly size: number
  readonly group: CarriedGroup
}

/** Sources that are checked as a whole: all of them are carried, or none. */
export interface CarriedGroup {
  /** Bytes of all sources, each as often as it stands in the group. */
  readonly size: number
  readonly carrier: Carrier
}

/** Has threads read, check and write what they are told, so that nobody else touches it. */
export interface Carrier {
  /**
   * Bring all parts, which count from the beginning of the file, to where they belong. Settles when no thread writes any
   * more; rejects with what reading, checking and writing throw, WORKER_DIED and ABORTED. Where several groups are wrong, the
   * first of them in the file counts.
   */
  carry(load: CarriedLoad, order: CarryOrder): Promise<void>
}

/** Of each group all its parts, in the order in which they lie in the file. */
export type CarriedLoad = ReadonlyMap<CarriedGroup, readonly CarriedPart[]>

export interface CarryOrder extends Pick<BuildContext, 'jobs' | 'threads' | 'signal'> {
  readonly lent: LentTarget
  /** So many bytes more are where they belong. */
  readonly onWritten: (count: number) => void
  /** Nothing that is carried is written any more before this byte of the file; at most what was said before, or more. */
  readonly onSettled: (position: number) => void
}

/** Reads an extent once, synchronously, from its beginning to its end. */
export interface ImmediateReader {
  /** Fill `bytes` with what comes next; the caller keeps within the extent. Throws what reading the extent throws. */
  read(bytes: Uint8Array): void
  /** To be called once, after errors too. */
  close(): void
}

/** A finished description of bytes: `extents` are sorted, do not overlap and lie within `size`. */
export interface Image {
  readonly size: number
  readonly extents: readonly Extent[]
}

/** What a build is given besides its description. */
export interface BuildContext {
  /** Worker threads, 1 to 256. */
  readonly jobs: number
  /**
   * `workers` (the default): threads are started for the work. `none`: all is done in the calling thread, whatever
   * `jobs` says; for many small images, and for threads that are workers themselves. The bytes are the same.
   */
  readonly threads?: 'workers' | 'none'
  readonly signal?: AbortSignal
  readonly onProgress?: ProgressListener
}

/** Throws USAGE when `jobs` is no number of worker threads. */
export function checkJobs(jobs: number): void {
  if (!Number.isInteger(jobs) || jobs < 1 || jobs > 256) throw new ImageError('USAGE', `jobs is ${jobs}; give a whole number from 1 to 256`)
}

/** An image that cannot know its size before it has seen its content. */
export interface GrowingImage {
  /** No packed image is larger than this, in bytes. */
  readonly sizeLimit: number
  /** None is smaller than this, as far as is known before it is packed; default 0. */
  readonly leastSize?: number
  /**
   * Write the bytes to `target` from `start` on and return the image that now lies
   * there; its extents count from its own beginning.
   */
  pack(target: Target, start: number, context: BuildContext): Promise<Image>
}

export function isGrowing(image: Image | GrowingImage): image is GrowingImage {
  return 'pack' in image
}

/** Bytes that the image has at the least, once it is packed. */
export function leastSizeOf(image: Image | GrowingImage): number {
  return isGrowing(image) ? (image.leastSize ?? 0) : image.size
}

/** An extent of bytes that are in memory. */
export function bytesExtent(start: number, bytes: Uint8Array): Extent {
  return {
    start,
    length: bytes.length,
    async *read() {
      if (bytes.length > 0) yield bytes
    },
    async *readRange(from, length) {
      if (length > 0) yield bytes.subarray(from, from + length)
    },
    openNow() {
      let position = 0
      return {
        read(target) {
          target.set(bytes.subarray(position, position + target.length))
          position += target.length
        },
        close() {},
      }
    },
  }
}

/** The same extent, `offset` bytes further on. */
export function moveExtent(extent: Extent, offset: number): Extent {
  const { start, length, readRange, sparse, carried } = extent
  return {
    start: start + offset,
    length,
    ...(sparse && { sparse }),
    ...(carried && { carried }),
    read: () => extent.read(),
    ...(readRange && { readRange: (...range: Parameters<typeof readRange>) => readRange.apply(extent, range) }),
    ...(extent.openNow && { openNow: () => extent.openNow?.() }),
  }
}

/** An image made of bytes in memory, zero after them up to `size`. */
export function bytesImage(bytes: Uint8Array, size = bytes.length): Image {
  return { size, extents: bytes.length === 0 ? [] : [bytesExtent(0, bytes)] }
}
