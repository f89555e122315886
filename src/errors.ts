/**
 * Every error that Kilnix reports on purpose. A message says what went wrong, where, the limit that
 * was met, and the remedy; `code` is for programs.
 */

export const ERROR_CODES = {
  /** An option or argument is malformed or does not fit with another. */
  USAGE: 'an option or argument is malformed, or does not fit with another',
  /** The closure listing, a record in it, or boot.json cannot be parsed or contradicts itself. */
  BAD_INPUT: 'an input file cannot be parsed or contradicts itself',
  /** A listed store path, a referenced path or an input file is missing. */
  NOT_FOUND: 'a listed store path, a reference or an input file is missing',
  /** A file cannot be opened or read. */
  UNREADABLE: 'a file cannot be opened or read',
  /** A file changed between being listed and being read. */
  CHANGED: 'a file changed while it was read',
  /** Content does not have the registered hash or size. */
  HASH_MISMATCH: 'content does not have the registered hash or size',
  /** A value is larger than the format can hold. */
  LIMIT: 'a value is larger than the format can hold',
  /** The format or this writer has no such feature. */
  UNSUPPORTED: 'the format, or this writer, does not support what was asked for',
  /** The output exists and may not be replaced. */
  EXISTS: 'the output exists already',
  /** The output cannot be written: full disk, permission, broken pipe. */
  WRITE_FAILED: 'the output cannot be written',
  /** The address to serve on cannot be listened on: taken, forbidden, unknown. */
  LISTEN_FAILED: 'the address cannot be listened on',
  /** A worker thread died. */
  WORKER_DIED: 'a worker thread died',
  /** The caller or the user cancelled. */
  ABORTED: 'cancelled',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

export interface ImageErrorOptions {
  /** Where: a path in the image or on the host, or a file and line. */
  readonly path?: string
  /** Of a LIMIT that a larger size mends: bytes that will do. */
  readonly neededBytes?: number
  readonly cause?: unknown
}

/** The one error class of the library. */
export class ImageError extends Error {
  readonly code: ErrorCode
  readonly path: string | undefined
  readonly neededBytes: number | undefined

  constructor(code: ErrorCode, message: string, options: ImageErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ImageError'
    this.code = code
    this.path = options.path
    this.neededBytes = options.neededBytes
  }
}

/** The `code` of a Node system error (`ENOENT`, `ENOSPC` ...), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return undefined
}

/** Throws ABORTED when `signal` has come; `message` says what was cancelled. */
export function throwIfAborted(signal: AbortSignal | undefined, message = 'cancelled'): void {
  if (signal?.aborted) throw new ImageError('ABORTED', message, { cause: signal.reason })
}
