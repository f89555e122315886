/** Standard input that can be cancelled. */
import { ImageError, throwIfAborted } from '../errors.ts'

/** Standard input; a read that waits for bytes ends with ABORTED when `signal` comes. Throws ABORTED where it has come. */
export function standardInput(signal: AbortSignal): AsyncIterable<Uint8Array> {
  throwIfAborted(signal)
  const { stdin } = process
  const stop = (): unknown => stdin.destroy(new ImageError('ABORTED', 'cancelled', { cause: signal.reason }))
  signal.addEventListener('abort', stop, { once: true })
  // Where nobody reads yet, whoever begins to will hear of it.
  stdin.on('error', () => undefined)
  return stdin
}
