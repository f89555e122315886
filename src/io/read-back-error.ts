/** That what was written cannot be read again. */
import { ImageError, systemErrorCode } from '../errors.ts'

/** UNREADABLE for `label` from a system error. */
export function readBackError(label: string, error: unknown): ImageError {
  const code = systemErrorCode(error) ?? 'unknown error'
  return new ImageError('UNREADABLE', `${label}: what was written cannot be read back (${code}); choose another disk`, {
    path: label,
    cause: error,
  })
}

/** CHANGED for a file that has become shorter than what was written to it. */
export function endedError(label: string, position: number): ImageError {
  return new ImageError('CHANGED', `${label}: ended at byte ${position} while it was read back`, { path: label })
}
