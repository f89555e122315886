/** Reading files of the host, with the errors that every format gives. */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { printable } from '../bytes/text.ts'
import { type ErrorCode, ImageError, systemErrorCode } from '../errors.ts'

/**
 * A path that became a link or a pipe since it was listed must neither be followed nor waited for. Windows
 * has neither flag; there they are undefined, which counts as 0 here.
 */
export const HOST_FILE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

const REPEAT = 'build again when nothing writes there'

/** CHANGED for a host file that is not what it was when it was listed; `what` such as `grew beyond its 5 bytes`. */
export function changedError(path: Uint8Array, what: string): ImageError {
  const name = printable(path)
  return new ImageError('CHANGED', `${name}: ${what} while it was read; ${REPEAT}`, { path: name })
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

/**
 * The bytes of a host file in chunks of at most `chunkSize`. Yields exactly `size` bytes, or throws
 * CHANGED or UNREADABLE. Each chunk is the caller's to keep.
 */
export async function* hostFileChunks(path: Uint8Array, size: number, chunkSize = 1 << 20): AsyncGenerator<Uint8Array> {
  const handle = await open(Buffer.from(path), HOST_FILE_FLAGS).catch((error: unknown) => {
    throw readError(path, error)
  })
  try {
    const before = (await handle.stat({ bigint: true })).ctimeNs
    let position = 0
    while (position < size) {
      const chunk = Buffer.allocUnsafeSlow(Math.min(chunkSize, size - position))
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, position)
      if (bytesRead === 0) throw changedError(path, `ended at byte ${position}`)
      position += bytesRead
      yield chunk.subarray(0, bytesRead)
    }
    const { bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, size)
    if (bytesRead !== 0) throw changedError(path, `grew beyond its ${size} bytes`)
    // A file that was written to and kept its size shows in its change time.
    if ((await handle.stat({ bigint: true })).ctimeNs !== before) throw changedError(path, 'was written to')
  } catch (error) {
    throw readError(path, error)
  } finally {
    await handle.close()
  }
}
