/** That an input cannot be read. */
import { ImageError, systemErrorCode } from '../errors.ts'

/** NOT_FOUND or UNREADABLE for the file `path`, from a system error; an ImageError is what it is. */
export function sourceError(path: string, error: unknown): ImageError {
  if (error instanceof ImageError) return error
  const code = systemErrorCode(error) ?? 'unknown error'
  if (code === 'ENOENT' || code === 'ENOTDIR') return new ImageError('NOT_FOUND', `${path}: does not exist`, { path, cause: error })
  return new ImageError('UNREADABLE', `${path}: cannot be read (${code}); check its permissions and its disk`, { path, cause: error })
}
