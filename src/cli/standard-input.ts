/** Standard input that can be cancelled. */
import { ImageError } from '../errors.ts'

/** Standard input; a read that waits for bytes ends with ABORTED when `signal` comes. */
export function standardInput(signal: AbortSignal): AsyncIterable<Uint8Array> {
  const stop = (): unknown => process.stdin.destroy(new ImageError('ABORTED', 'cancelled', { cause: signal.reason }))
  signal.addEventListener('abort', stop, { once: true })
  return process.stdin
}
