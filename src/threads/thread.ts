/** One thread of a pool: a worker thread, or the caller's own. */
import { setImmediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { type ErrorMessage, threadError, unpackError } from './errors.ts'
import type { FromThread, FromWork, ThreadSetup, ToThread, Work, WorkModule } from './work.ts'

/** Threads make much short-lived memory; a small nursery has it collected before it adds up. */
const LIMITS = { maxYoungGenerationSizeMb: 4 }

/** Bytes of a heap beyond which a thread is not kept: what was left there would stay until its next work fills the heap. */
const KEPT_HEAP_BYTES = 32 << 20
/** A thread that nobody takes ends. */
const KEPT_MILLISECONDS = 2000

/** In a checkout Node runs the TypeScript itself; the published package holds JavaScript. */
const WORKER_FILE = new URL(`./worker.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url)

export interface ThreadListener {
  /** Errors are those that were thrown. */
  onMessage(message: FromWork): void
  /** It ended before it was told to. */
  onDeath(error: unknown): void
}

export interface Thread {
  /** Its results come in the order of the tasks, never before this returns. */
  send(id: number, task: unknown, moved: ArrayBuffer[]): void
  /**
   * Ends after what it has in hand, or `atOnce`, or is kept for the next who starts one. Settles when it has ended, or nothing
   * of its work is open; never rejects.
   */
  end(how: 'asked' | 'atOnce' | 'kept'): Promise<void>
}

/** Threads without work, for whoever needs one next: a start takes longer than much of what threads are started for. */
const kept: WorkerThread[] = []

/**
 * Have worker thread `number`, counted from 1, open work: one that was kept, or a new one. It prints nothing: where it could,
 * Node would open the streams of this process for it, which makes a pipe that is standard output non-blocking for all who
 * have it. Throws WORKER_DIED.
 */
export function startThread(number: number, setup: ThreadSetup, listener: ThreadListener): Thread {
  const thread = kept.pop() ?? new WorkerThread(number)
  thread.open(number, setup, listener)
  return thread
}

/** Threads that are kept end now; settles when they have ended. */
export async function endKeptThreads(): Promise<void> {
  await Promise.all(kept.splice(0).map((thread) => thread.end('asked')))
}

class WorkerThread implements Thread {
  readonly #worker: Worker
  readonly #exit: Promise<void>
  #number = 0
  #listener: ThreadListener | undefined
  #isEnding = false
  #closed: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(number: number) {
    const worker = startWorker(number)
    worker.on('message', (message: FromThread) => this.#onMessage(message))
    worker.on('error', (cause) => this.#onDeath(cause))
    worker.on('messageerror', (cause) => this.#onDeath(cause))
    this.#exit = new Promise((resolve) => {
      worker.once('exit', (code) => {
        this.#onDeath(new Error(`exit code ${code}`))
        resolve()
      })
    })
    this.#worker = worker
  }

  open(number: number, setup: ThreadSetup, listener: ThreadListener): void {
    clearTimeout(this.#timer)
    this.#number = number
    this.#listener = listener
    this.#worker.ref()
    this.#post({ kind: 'open', setup })
  }

  send(id: number, task: unknown, moved: ArrayBuffer[]): void {
    this.#post({ kind: 'task', id, task }, moved)
  }

  end(how: 'asked' | 'atOnce' | 'kept'): Promise<void> {
    if (how === 'kept') {
      const closed = new Promise<void>((resolve) => (this.#closed = resolve))
      this.#post({ kind: 'close' })
      return Promise.race([closed, this.#exit])
    }
    this.#isEnding = true
    clearTimeout(this.#timer)
    if (how === 'atOnce') void this.#worker.terminate()
    else this.#post({ kind: 'end' })
    return this.#exit
  }

  #post(message: ToThread, moved: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, moved)
  }

  #onMessage(message: FromThread): void {
    if (message.kind === 'closed') this.#onClosed(message.heapBytes)
    else if (message.kind === 'failure' || message.kind === 'unopened')
      this.#listener?.onMessage({ ...message, error: unpackError(message.error as ErrorMessage) })
    else this.#listener?.onMessage(message)
  }

  #onClosed(heapBytes: number): void {
    this.#listener = undefined
    if (heapBytes > KEPT_HEAP_BYTES) {
      void this.end('asked').then(this.#closed)
      return
    }
    kept.push(this)
    // Neither it nor its timer keeps the process from ending.
    this.#worker.unref()
    this.#timer = setTimeout(() => this.#leave(), KEPT_MILLISECONDS).unref()
    this.#closed?.()
  }

  #onDeath(cause: unknown): void {
    if (!this.#isEnding) this.#listener?.onDeath(threadError(this.#number, 'died', cause))
    this.#leave()
  }

  /** Nobody takes it any more. */
  #leave(): void {
    clearTimeout(this.#timer)
    const index = kept.indexOf(this)
    if (index === -1) return
    kept.splice(index, 1)
    void this.end('asked')
  }
}

function startWorker(number: number): Worker {
  try {
    return new Worker(WORKER_FILE, { name: `kilnix-${number}`, resourceLimits: LIMITS, stdout: true, stderr: true })
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
