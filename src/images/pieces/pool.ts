/** Threads that do tasks for one build: started when there is more to do than threads, at most as many as allowed. */

import type { Worker } from 'node:worker_threads'
import { ImageError } from '../../errors.ts'
import { startWorker, workerError, workerFile } from '../../io/worker-file.ts'
import type { Failure, PieceResult, PieceTask, TaskAnswer, ThreadMessage, ThreadRequest, ThreadSetup } from './protocol.ts'

const WORKER_FILE = workerFile(import.meta.url)

interface Assignment {
  readonly task: PieceTask
  readonly onProgress: (doneBytes: number) => void
  readonly resolve: (result: PieceResult) => void
  readonly reject: (error: unknown) => void
}

export class TaskPool {
  readonly #threadLimit: number
  readonly #stopFlag = new SharedArrayBuffer(4)
  readonly #waiting: Assignment[] = []
  /** What each thread has in hand; undefined while it has nothing to do. */
  readonly #threads = new Map<Worker, Assignment | undefined>()
  readonly #exits: Promise<void>[] = []
  #error: unknown

  constructor(threadLimit: number) {
    this.#threadLimit = threadLimit
  }

  /**
   * Have a task done; tasks begin in the order of the calls. Rejects with what `fail` was told, with WORKER_DIED, or
   * with the error that the task ended with.
   */
  async run(task: PieceTask, onProgress: (doneBytes: number) => void = () => undefined): Promise<TaskAnswer> {
    const result = await new Promise<PieceResult>((resolve, reject) => {
      this.#waiting.push({ task, onProgress, resolve, reject })
      this.#dispatch()
    })
    if (result.kind === 'failure') throw taskError(result)
    return result
  }

  /** Reject all tasks, now and later. Those in hand end soon. */
  fail(error: unknown): void {
    this.#error ??= error
    Atomics.store(new Int32Array(this.#stopFlag), 0, 1)
    for (const { reject } of this.#waiting.splice(0)) reject(this.#error)
    for (const [thread, assignment] of this.#threads) {
      this.#threads.set(thread, undefined)
      assignment?.reject(this.#error)
    }
  }

  /** Ask all threads to end, and wait until they have: then none writes any more. */
  async close(): Promise<void> {
    this.fail(new ImageError('ABORTED', 'cancelled'))
    for (const thread of this.#threads.keys()) thread.postMessage({ kind: 'stop' } satisfies ThreadRequest)
    await Promise.all(this.#exits)
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      if (this.#error !== undefined) {
        this.#waiting.shift()?.reject(this.#error)
        continue
      }
      const idle = [...this.#threads].find(([, assignment]) => assignment === undefined)?.[0]
      if (idle === undefined && this.#threads.size >= this.#threadLimit) return
      const thread = idle ?? this.#start()
      const assignment = thread && this.#waiting.shift()
      if (!thread || !assignment) continue
      this.#threads.set(thread, assignment)
      thread.postMessage(assignment.task)
    }
  }

  /** Undefined, and everything has failed, when the system gives no thread. */
  #start(): Worker | undefined {
    const number = this.#threads.size + 1
    let thread: Worker
    try {
      const workerData: ThreadSetup = { stopFlag: this.#stopFlag }
      thread = startWorker(WORKER_FILE, { workerData, name: `kilnix-piece-${number}` })
    } catch (cause) {
      this.fail(workerError(number, 'cannot be started', cause))
      return undefined
    }
    const died = (cause: unknown): void => this.fail(workerError(number, 'died', cause))
    thread.on('message', (message: ThreadMessage) => this.#onMessage(thread, message))
    thread.on('error', died)
    this.#exits.push(
      new Promise((resolve) => {
        thread.once('exit', (code) => {
          died(new Error(`exit code ${code}`))
          resolve()
        })
      }),
    )
    this.#threads.set(thread, undefined)
    return thread
  }

  #onMessage(thread: Worker, message: ThreadMessage): void {
    const assignment = this.#threads.get(thread)
    if (message.kind === 'progress') {
      try {
        assignment?.onProgress(message.doneBytes)
      } catch (error) {
        this.fail(error)
      }
      return
    }
    this.#threads.set(thread, undefined)
    assignment?.resolve(message)
    this.#dispatch()
  }
}

/** The error that a task ended with, as it was in its thread. */
export function taskError({ code, message, path }: Failure): ImageError {
  return new ImageError(code, message, path === undefined ? {} : { path })
}
