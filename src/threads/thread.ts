/** One thread of a pool: a worker thread, or the caller's own. */
import { setImmediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { type ErrorMessage, threadError, unpackError } from './errors.ts'
import type { FromThread, ThreadSetup, ToThread, Work, WorkModule } from './work.ts'

/** Threads make much short-lived memory; a small nursery has it collected before it adds up. */
const LIMITS = { maxYoungGenerationSizeMb: 4 }

/** In a checkout Node runs the TypeScript itself; the published package holds JavaScript. */
const WORKER_FILE = new URL(`./worker.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url)

export interface ThreadListener {
  /** Errors are those that were thrown. */
  onMessage(message: FromThread): void
  /** It ended before it was told to. */
  onDeath(error: unknown): void
}

export interface Thread {
  /** Its results come in the order of the tasks, never before this returns. */
  send(id: number, task: unknown, moved: ArrayBuffer[]): void
  /** Ends after what it has in hand, or at once; settles when it has ended, and never rejects. */
  end(atOnce: boolean): Promise<void>
}

/**
 * Start worker thread `number`, counted from 1. It prints nothing: where it could, Node would open the streams of this
 * process for it, which makes a pipe that is standard output non-blocking for all who have it. Throws WORKER_DIED.
 */
export function startThread(number: number, workerData: ThreadSetup, listener: ThreadListener): Thread {
  const worker = startWorker(number, workerData)
  worker.on('message', (message: FromThread) => {
    if (message.kind === 'failure' || message.kind === 'unopened')
      listener.onMessage({ ...message, error: unpackError(message.error as ErrorMessage) })
    else listener.onMessage(message)
  })
  let isEnding = false
  const died = (cause: unknown): void => {
    if (!isEnding) listener.onDeath(threadError(number, 'died', cause))
  }
  worker.on('error', died)
  worker.on('messageerror', died)
  const exit = new Promise<void>((resolve) => {
    worker.once('exit', (code) => {
      died(new Error(`exit code ${code}`))
      resolve()
    })
  })
  return {
    send: (id, task, moved) => worker.postMessage({ kind: 'task', id, task } satisfies ToThread, moved),
    end(atOnce) {
      isEnding = true
      if (atOnce) void worker.terminate()
      else worker.postMessage({ kind: 'stop' } satisfies ToThread)
      return exit
    },
  }
}

function startWorker(number: number, workerData: ThreadSetup): Worker {
  try {
    return new Worker(WORKER_FILE, { workerData, name: `kilnix-${number}`, resourceLimits: LIMITS, stdout: true, stderr: true })
  } catch (cause) {
    throw threadError(number, 'cannot be started', cause)
  }
}

/** The caller's own thread: a task a turn of the event loop, so that a signal is heard between two. */
export function ownThread<Setup, Task, Result, Progress>(
  module: WorkModule<Setup, Task, Result, Progress>,
  setup: Setup,
  isStopped: () => boolean,
  listener: ThreadListener,
): Thread {
  const abort = new AbortController()
  let work: Work<Task, Result, Progress> | undefined
  const open = async (): Promise<void> => {
    try {
      work = await module.open(setup, { isStopped, signal: abort.signal })
    } catch (error) {
      listener.onMessage({ kind: 'unopened', error })
    }
  }
  const run = async (id: number, task: Task): Promise<void> => {
    await setImmediate()
    if (work === undefined || isStopped()) return
    try {
      const tell = (progress: Progress): void => listener.onMessage({ kind: 'progress', id, progress })
      const result = await work.run(task, tell)
      listener.onMessage({ kind: 'result', id, result })
    } catch (error) {
      listener.onMessage({ kind: 'failure', id, error })
    }
  }
  let done = open()
  return {
    send(id, task) {
      done = done.then(() => run(id, task as Task))
    },
    async end() {
      abort.abort()
      await done
      work?.close?.()
    },
  }
}
