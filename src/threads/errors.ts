/** Errors on their way from thread to thread, and those of threads themselves. */
import { ImageError, type Wording } from '../errors.ts'

/** An error as a message can hold it: structured clones keep no class, and no fields. */
export interface ErrorMessage {
  readonly isImageError: boolean
  readonly message: string
  readonly stack: string | undefined
  /** `code`, `path` and whatever else it says. */
  readonly fields: Readonly<Record<string, unknown>>
  readonly cause: ErrorMessage | undefined
}

/** The error as a message. */
export function packError(error: unknown): ErrorMessage {
  if (!(error instanceof Error)) return { isImageError: false, message: String(error), stack: undefined, fields: {}, cause: undefined }
  const plain = Object.entries(error).filter(([, value]) => value === null || !['object', 'function', 'symbol'].includes(typeof value))
  return {
    isImageError: error instanceof ImageError,
    message: error.message,
    stack: error.stack,
    fields: Object.fromEntries(plain),
    cause: error.cause === undefined ? undefined : packError(error.cause),
  }
}

/** The error that was packed, with all its fields; WORKER_DIED for one that nobody threw on purpose. */
export function unpackError(packed: ErrorMessage): ImageError {
  const { isImageError, message, stack, fields } = packed
  if (!isImageError) return new ImageError('WORKER_DIED', `worker: ${stack ?? message}`, { cause: plainError(packed) })
  const cause = packed.cause && plainError(packed.cause)
  return Object.assign(new ImageError('WORKER_DIED', message, cause === undefined ? {} : { cause }), fields)
}

function plainError(packed: ErrorMessage): Error {
  if (packed.isImageError) return unpackError(packed)
  const { message, stack, fields, cause } = packed
  const error = Object.assign(new Error(message, cause && { cause: plainError(cause) }), fields)
  if (stack !== undefined) error.stack = stack
  return error
}

/** WORKER_DIED for thread `number`, counted from 1, which could not start or has ended: why, and the remedy. */
export function threadError(number: number, what: 'cannot be started' | 'died', cause: unknown): ImageError {
  const why = cause instanceof Error ? cause.message : String(cause)
  // A thread of Node asks for its working directory before it runs anything.
  const remedy: Wording = why.includes('uv_cwd')
    ? () => 'change to a working directory that is there'
    : (option) => `try fewer ${option('jobs')}${what === 'died' ? ' or more memory' : ''}`
  return new ImageError('WORKER_DIED', (option) => `worker thread ${number} ${what}: ${why}; ${remedy(option)}`, { cause })
}
