/** Whole files of the host that the user names and that have no reason to be large. */
import { ImageError, systemErrorCode } from '../errors.ts'
import { readSmallFile } from '../io/small-file.ts'

/** The bytes of a file of at most `limit` bytes; `what` is such as `the spec`. Throws NOT_FOUND, UNREADABLE, LIMIT. */
export function smallHostFile(path: string, limit: number, what: string): Uint8Array {
  try {
    return readSmallFile(path, limit, what)
  } catch (error) {
    if (error instanceof ImageError) throw error
    const code = systemErrorCode(error)
    const isMissing = code === 'ENOENT' || code === 'ENOTDIR'
    const message = `${path}: ${what} cannot be read (${code ?? String(error)})`
    throw new ImageError(isMissing ? 'NOT_FOUND' : 'UNREADABLE', message, { path, cause: error })
  }
}
