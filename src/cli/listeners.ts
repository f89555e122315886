/** Listeners of the process, which may run the command several times. */

/** One listener, however often it is added. */
export function listenOnce(event: 'exit' | 'uncaughtException' | 'SIGHUP', listener: (...values: readonly unknown[]) => void): void {
  const { listeners, on } = process as NodeJS.EventEmitter
  if (!listeners.call(process, event).includes(listener)) on.call(process, event, listener)
}
