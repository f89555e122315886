/** SIGINT and SIGTERM end a build in order: it is aborted, cleans up, and the status says which it was. */

const STATUS = { SIGINT: 130, SIGTERM: 143 } as const

type SignalName = keyof typeof STATUS

export interface SignalOptions {
  /** The work goes on until a signal comes, so that the status is its own when it ends in order. */
  readonly isService?: boolean
}

/**
 * Run `work` with a signal that aborts on SIGINT or SIGTERM. Then the status is 130 or 143, whatever
 * `work` makes of it. A second signal ends the process at once.
 */
export async function withSignals(work: (signal: AbortSignal) => Promise<number>, options: SignalOptions = {}): Promise<number> {
  const controller = new AbortController()
  let received: SignalName | undefined
  const onSignal = (name: NodeJS.Signals): void => {
    received = name as SignalName
    remove()
    controller.abort(new Error(name))
  }
  const remove = (): void => {
    for (const name of Object.keys(STATUS)) process.off(name, onSignal)
  }
  for (const name of Object.keys(STATUS)) process.on(name, onSignal)
  try {
    const status = await work(controller.signal)
    return received === undefined || options.isService ? status : cancelled(received)
  } catch (error) {
    if (received !== undefined) return cancelled(received)
    throw error
  } finally {
    remove()
  }
}

function cancelled(name: SignalName): number {
  process.stderr.write(`kilnix: cancelled by ${name}\n`)
  return STATUS[name]
}
