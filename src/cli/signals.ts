/** Signals that would end the process end a build in order: it is aborted, cleans up, and the status says which it was. */
import { constants } from 'node:os'
import { removePartialsNow } from '../io/private-folder.ts'
import { listenOnce } from './listeners.ts'
import { say } from './stderr.ts'

/**
 * Those that end a process that does nothing about them. Not among them: SIGPIPE and SIGXFSZ, which Node ignores, so that the
 * write fails and says why; SIGUSR1, which starts Node's debugger; those of faults and SIGABRT, whose point is the state of the
 * moment; SIGTSTP and others that stop a process for a while; those of real time, for which Node has no names.
 */
const ENDING = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGALRM',
  'SIGUSR2',
  'SIGXCPU',
  'SIGVTALRM',
  'SIGPROF',
  'SIGIO',
  'SIGSTKFLT',
  'SIGPWR',
  'SIGBREAK',
] as const satisfies readonly NodeJS.Signals[]

type Ending = (typeof ENDING)[number]

/** For work that does not hear of the signal, since it waits for a file that does not come; cleaning up takes less. */
const PATIENCE_MILLISECONDS = 10_000

/** For reads and writes that nobody waits for any more. */
const LEAVING_MILLISECONDS = 500

export interface SignalOptions {
  /** The work goes on until a signal comes, so that the status is its own when it ends in order. */
  readonly isService?: boolean
}

/**
 * Run `work` with a signal that aborts when the process is to end. Then the status is 128 and the signal's number, whatever
 * `work` makes of it. After a second signal, or where the first is of no avail, what is not finished is removed at once, and
 * the process ends by the signal itself; what is not finished is removed by whatever else ends the process, too.
 */
export async function withSignals(work: (signal: AbortSignal) => Promise<number>, options: SignalOptions = {}): Promise<number> {
  const controller = new AbortController()
  const names = handled()
  let received: Ending | undefined
  const end = (name: Ending): void => {
    remove()
    process.kill(process.pid, name)
  }
  const force = (name: Ending): void => {
    removePartialsNow()
    cancelled(name)
    end(name)
  }
  const onSignal = (name: NodeJS.Signals): void => {
    if (received !== undefined) force(name as Ending)
    received = name as Ending
    impatience = setTimeout(force, PATIENCE_MILLISECONDS, received)
    controller.abort(new Error(name))
  }
  const remove = (): void => {
    for (const name of names) process.off(name, onSignal)
  }
  let impatience: NodeJS.Timeout | undefined
  for (const name of names) process.on(name, onSignal)
  listenOnce('exit', removePartialsNow)
  try {
    const status = await work(controller.signal)
    return received === undefined || options.isService ? status : cancelled(received)
  } catch (error) {
    if (received !== undefined) return cancelled(received)
    throw error
  } finally {
    clearTimeout(impatience)
    remove()
    if (received !== undefined) setTimeout(end, LEAVING_MILLISECONDS, received).unref()
  }
}

function cancelled(name: Ending): number {
  say(`kilnix: cancelled by ${name}`)
  return 128 + constants.signals[name]
}

/** What the platform has of them and nobody else takes: Node's own options for reports and profiles do. */
function handled(): Ending[] {
  const profiled = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some((option) => /--(?:cpu-)?prof\b/.test(option))
  return ENDING.filter((name) => {
    if (constants.signals[name] === undefined || process.listenerCount(name) > 0) return false
    // Elsewhere nothing comes of it.
    if (name === 'SIGIO') return process.platform === 'linux'
    return name !== 'SIGPROF' || !profiled
  })
}
