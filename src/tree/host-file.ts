/** Reading files of the host, with the errors that every format gives. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { printable } from '../bytes/text.ts'
import { type ErrorCode, ImageError, systemErrorCode } from '../errors.ts'
import { type Extent, type Image, type ImmediateReader, moveExtent } from '../io/image.ts'
import { type Proof, provenImage } from '../io/proven.ts'

/**
 * A path that became a link or a pipe since it was listed must neither be followed nor waited for. Windows
 * has neither flag; there they are undefined, which counts as 0 here.
 */
export const HOST_FILE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** A file that was written to and kept its size shows in its change time. */
export const WRITTEN_TO = 'was written to'

/** The time of the last change to an open file or to what the system notes of it. */
export function changeTimeNs(file: number): bigint {
  return fstatSync(file, { bigint: true }).ctimeNs
}

const REPEAT = 'build again when nothing writes there'

/** CHANGED for a host file that is not what it was when it was listed; `what` such as `grew beyond its 5 bytes`. */
export function changedError(path: Uint8Array, what: string): ImageError {
  const name = printable(path)
  return new ImageError('CHANGED', `${name}: ${what} while it was read; ${REPEAT}`, { path: name })
}

/** CHANGED for a host file whose bytes were proven once, and are others now. */
export function otherBytesError(path: Uint8Array): ImageError {
  const name = printable(path)
  return new ImageError('CHANGED', `${name}: has other bytes than those that were checked before; ${REPEAT}`, { path: name })
}

/** What opening or reading gives for a path where now is nothing, a folder, a link, a socket or a pipe. */
const NO_FILE_ANY_MORE = ['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'ENXIO', 'ESPIPE', 'EAGAIN']

/** UNREADABLE for what was not listed before, so that nothing can have changed; `where` as the user knows it. */
export function unreadableError(where: string, cause: unknown): ImageError {
  return new ImageError('UNREADABLE', `${where}: cannot be read (${systemErrorCode(cause) ?? String(cause)})`, { path: where, cause })
}

/** The error for a host file that cannot be opened or read: CHANGED when it is gone, else UNREADABLE. */
export function readError(path: Uint8Array, error: unknown): ImageError {
  if (error instanceof ImageError) return error
  const name = printable(path)
  const code = systemErrorCode(error) ?? String(error)
  const gone = NO_FILE_ANY_MORE.includes(code)
  const kind: ErrorCode = gone ? 'CHANGED' : 'UNREADABLE'
  const remedy = gone ? `it was listed as a file and is none any more; ${REPEAT}` : 'make it readable for this user'
  return new ImageError(kind, `${name}: cannot be read (${code}): ${remedy}`, { path: name, cause: error })
}

/** Up to this size a file is read at once: opening it costs as much as reading, and a promise for each step more than both. */
export const SMALL_FILE_SIZE = 128 << 10

/** Fill `bytes` with a host file of just that size, synchronously, and compare it with `proof`. Throws CHANGED or UNREADABLE. */
export function readHostFile(path: Uint8Array, bytes: Uint8Array, proof?: Proof): void {
  readWhole(path, bytes, true)
  if (proof?.isOf(bytes) === false) throw otherBytesError(path)
}

function readWhole(path: Uint8Array, bytes: Uint8Array, isWatched: boolean): void {
  const reader = openHostFile(path, bytes.length, isWatched)
  try {
    reader.read(bytes)
  } finally {
    reader.close()
  }
}

/** Room for the byte that shows that a file has grown. */
const BEYOND = Buffer.alloc(1)

/**
 * A host file of `size` bytes, open for one reading. Opening and reading throw CHANGED or UNREADABLE, by the last byte at
 * the latest. `isWatched`: its change time is compared as well.
 */
function openHostFile(path: Uint8Array, size: number, isWatched: boolean): ImmediateReader {
  const attempt = <T>(step: () => T): T => {
    try {
      return step()
    } catch (error) {
      throw readError(path, error)
    }
  }
  const file = attempt(() => openSync(Buffer.from(path), HOST_FILE_FLAGS))
  let before: bigint | undefined
  let position = 0
  const fill = (bytes: Uint8Array): void => {
    before ??= changeTimeNs(file)
    for (let done = 0; done < bytes.length; ) {
      const count = readSync(file, bytes, done, bytes.length - done, position)
      if (count === 0) throw changedError(path, `ended at byte ${position}`)
      done += count
      position += count
    }
    if (position < size) return
    if (readSync(file, BEYOND, 0, 1, size) !== 0) throw changedError(path, `grew beyond its ${size} bytes`)
    if (isWatched && changeTimeNs(file) !== before) throw changedError(path, WRITTEN_TO)
  }
  return { read: (bytes) => attempt(() => fill(bytes)), close: () => closeSync(file) }
}

/** What was seen of a file that is read in several parts. */
export interface HostFileState {
  /** Undefined before the first part. */
  changeTimeNs: bigint | undefined
}

export interface HostReadOptions {
  /** No chunk is larger. Default 1 MiB. */
  readonly chunkSize?: number
  /** The first byte that is read. Default 0. */
  readonly start?: number
  /** How many bytes are read. Default: all from `start` on. */
  readonly length?: number
  /** Compare the change time before and after; default true. Not where bytes are proven: their times and links may change. */
  readonly isWatched?: boolean
  /** The same for all parts of a file that is read in several, which then are compared with each other. */
  readonly state?: HostFileState | undefined
  /** Read into this instead of new memory, in chunks of at most its length; each is good until the next is asked for. */
  readonly buffer?: Uint8Array | undefined
}

/**
 * The bytes of a host file of `size` bytes, or a range of them. Yields exactly as many, or throws CHANGED or
 * UNREADABLE. Without `buffer` each chunk is the caller's to keep.
 */
export async function* hostFileChunks(path: Uint8Array, size: number, options: HostReadOptions = {}): AsyncGenerator<Uint8Array> {
  const { buffer, start = 0, length = size - start, isWatched = true, state = { changeTimeNs: undefined } } = options
  const chunkSize = buffer?.length ?? options.chunkSize ?? 1 << 20
  const memory = (count: number): Uint8Array => buffer?.subarray(0, count) ?? Buffer.allocUnsafeSlow(count)
  if (length === size && size <= Math.min(SMALL_FILE_SIZE, chunkSize)) {
    const bytes = memory(size)
    readWhole(path, bytes, isWatched)
    if (size > 0) yield bytes
    return
  }
  const handle = await open(Buffer.from(path), HOST_FILE_FLAGS).catch((error: unknown) => {
    throw readError(path, error)
  })
  try {
    state.changeTimeNs ??= (await handle.stat({ bigint: true })).ctimeNs
    const end = start + length
    let position = start
    while (position < end) {
      const chunk = memory(Math.min(chunkSize, end - position))
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, position)
      if (bytesRead === 0) throw changedError(path, `ended at byte ${position}`)
      position += bytesRead
      yield chunk.subarray(0, bytesRead)
    }
    const { bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, size)
    if (bytesRead !== 0) throw changedError(path, `grew beyond its ${size} bytes`)
    if (isWatched && (await handle.stat({ bigint: true })).ctimeNs !== state.changeTimeNs) throw changedError(path, WRITTEN_TO)
  } catch (error) {
    throw readError(path, error)
  } finally {
    await handle.close()
  }
}

export interface HostExtentOptions extends Pick<HostReadOptions, 'chunkSize'> {
  /** What the bytes have to be, in whatever parts they are read. Then no time and no link of the file counts. */
  readonly proof?: Proof | undefined
}

/** A host file of `size` bytes as an extent at byte `start` of an image. It is opened when it is read and closed after. */
export function hostFileExtent(path: Uint8Array, start: number, size: number, { proof, ...options }: HostExtentOptions = {}): Extent {
  const isWatched = proof === undefined
  const extent: Extent = {
    start,
    length: size,
    read: () => hostFileChunks(path, size, { ...options, isWatched }),
    readRange: (from, length, buffer) => hostFileChunks(path, size, { ...options, isWatched, start: from, length, buffer }),
    ...(isWatched && { openNow: () => openHostFile(path, size, true) }),
  }
  if (proof === undefined) return extent
  const [proven] = provenImage({ size, extents: [moveExtent(extent, -start)] }, proof, () => otherBytesError(path)).extents
  return proven === undefined ? extent : moveExtent(proven, start)
}

/** Small enough for many readers at a time. */
const SHARED_CHUNK_SIZE = 128 << 10

/**
 * The host file at `path`, of `size` bytes, as an image that may be read often and by many at a time: each read opens
 * the file for itself and throws CHANGED or UNREADABLE. Chunks are of `chunkSize` bytes, default 128 KiB.
 */
export function hostFileImage(path: string, size: number, options: HostExtentOptions = {}): Image {
  return { size, extents: size === 0 ? [] : [hostFileExtent(Buffer.from(path), 0, size, { chunkSize: SHARED_CHUNK_SIZE, ...options })] }
}
