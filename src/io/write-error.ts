/** That an output cannot be written, or may not be replaced. */
import { ImageError, systemErrorCode } from '../errors.ts'

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'the file system is full; free space there or choose another output',
  EDQUOT: 'the disk quota is used up; free space there or choose another output',
  EFBIG: 'the file system or ulimit -f does not allow a file of this size',
  EACCES: 'no permission to write there; choose another output',
  EPERM: 'no permission to write there; choose another output',
  EIO: 'the disk or the way to it has failed; choose another output',
  ESTALE: 'the network file system no longer knows the folder; mount it again',
  EROFS: 'the file system is read-only; choose another output',
  ENOENT: 'its folder does not exist; create it first',
  ENOTDIR: 'a part of the path is not a folder',
  ENAMETOOLONG: 'the name is too long for the file system',
  EXDEV: 'a folder that lies in a lower layer of an overlay file system cannot be moved; remove it before, or choose another output',
  EBUSY: 'something is mounted there or uses it; choose another output',
}

/** WRITE_FAILED for `label` from a system error, with a remedy where one is known. */
export function writeError(label: string, error: unknown): ImageError {
  if (error instanceof ImageError) return error
  const code = systemErrorCode(error) ?? 'unknown error'
  return new ImageError('WRITE_FAILED', `${label}: cannot be written (${code}): ${REMEDIES[code] ?? 'see the cause'}`, {
    path: label,
    cause: error,
  })
}

export function existsError(path: string): ImageError {
  return new ImageError('EXISTS', (option) => `${path}: exists already; use ${option('force')} to replace it`, { path })
}
