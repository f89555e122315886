/** Files of the host as images: opened when they are read, and closed after. */
import { type Extent, type Image, moveExtent } from '../io/image.ts'
import { type Proof, provenImage } from '../io/proven.ts'
import { type HostFile, HostReader, type HostReaderOptions, otherBytesError, SMALL_FILE_SIZE } from './host-file.ts'
import { patchedExtent } from './patch.ts'

export interface HostChunkOptions extends HostReaderOptions {
  /** No chunk is larger. Default 1 MiB. */
  readonly chunkSize?: number
  /** Read into this instead of new memory, in chunks of at most its length; each is good until the next is asked for. */
  readonly buffer?: Uint8Array | undefined
}

/**
 * The bytes of a host file, or a range of them. Yields exactly as many, or throws what `HostReader` throws. Without
 * `buffer` each chunk is the caller's to keep.
 */
export async function* hostFileChunks(file: HostFile, options: HostChunkOptions = {}): AsyncGenerator<Uint8Array> {
  const { buffer, chunkSize: largest = 1 << 20, ...readerOptions } = options
  const { start = 0, length = file.size - start } = options
  const chunkSize = buffer?.length ?? largest
  const isAtOnce = length <= Math.min(SMALL_FILE_SIZE, chunkSize)
  const reader = new HostReader(file, readerOptions)
  try {
    for (let left = length; left > 0; ) {
      const count = Math.min(left, chunkSize)
      const chunk = buffer?.subarray(0, count) ?? Buffer.allocUnsafeSlow(count)
      if (isAtOnce) reader.read(chunk)
      else await reader.readLater(chunk)
      left -= count
      yield chunk
    }
  } finally {
    reader.close()
  }
}

/** A host file as an extent at byte `start` of an image. With a proof it may be read in whatever parts. */
export function hostFileExtent(file: HostFile, start: number, { chunkSize }: { readonly chunkSize?: number } = {}): Extent {
  const { path, size, range, proof, patches } = file
  const chunked = chunkSize === undefined ? {} : { chunkSize }
  const extentOf = (plain: HostFile, isWatched: boolean): Extent => ({
    start: 0,
    length: size,
    read: () => hostFileChunks(plain, { ...chunked, isWatched }),
    readRange: (from, length, buffer) => hostFileChunks(plain, { ...chunked, isWatched, start: from, length, buffer }),
    openNow: () => new HostReader(plain, { isWatched }),
  })
  if (proof === undefined) return moveExtent(extentOf(file, true), start)
  const own = { size, extents: [extentOf({ path, size, range }, false)] }
  const [proven = extentOf(file, true)] = provenImage(own, proof, () => otherBytesError(path)).extents
  return moveExtent(patches === undefined ? proven : patchedExtent(proven, patches), start)
}

/** Small enough for many readers at a time. */
const SHARED_CHUNK_SIZE = 128 << 10

export interface HostImageOptions {
  readonly proof?: Proof | undefined
  /** No chunk is larger. Default 128 KiB. */
  readonly chunkSize?: number
}

/**
 * The host file at `path`, of `size` bytes, as an image that may be read often and by many at a time: each read opens the
 * file for itself and throws what `HostReader` throws.
 */
export function hostFileImage(path: string, size: number, options: HostImageOptions = {}): Image {
  const { proof, chunkSize = SHARED_CHUNK_SIZE } = options
  return { size, extents: size === 0 ? [] : [hostFileExtent({ path: Buffer.from(path), size, proof }, 0, { chunkSize })] }
}
