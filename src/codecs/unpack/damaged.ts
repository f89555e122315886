import { ImageError } from '../../errors.ts'

/** BAD_INPUT of a compressed stream. */
export function damaged(what: string, why: string, cause?: unknown): ImageError {
  return new ImageError('BAD_INPUT', `${what}: cannot be decompressed (${why}); it is damaged`, { path: what, cause })
}
