/** The workers of one packing run: threads, or the caller's own thread. */

import type { Worker } from 'node:worker_threads'
import { startWorker, workerError, workerFile } from '../../../io/worker-file.ts'
import type { CompressTask, ReadTask, Result, Task, WorkSetup } from './protocol.ts'

const WORKER_FILE = workerFile(import.meta.url)

/** Workers make much short-lived memory; a small nursery has it collected before it adds up. */
const WORKER_LIMITS = { maxYoungGenerationSizeMb: 4 }

export interface PoolListener {
  onResult(worker: number, result: Result): void
  /** A worker died or could not begin. Nothing more will come. */
  onFailure(error: unknown): void
}

/** Each worker answers its tasks in the order in which they were sent, never before `send` returns. */
export interface Pool {
  readonly size: number
  /** Tasks that were sent to a worker and not yet answered. */
  inFlight(worker: number): number
  send(worker: number, task: ReadTask | CompressTask): void
  /** No result comes any more; afterwards no file is open and no thread runs. */
  close(): Promise<void>
}

export class ThreadPool implements Pool {
  readonly #workers: Worker[] = []
  readonly #inFlight: number[]
  readonly #exits: Promise<void>[] = []
  readonly #stopFlag = new SharedArrayBuffer(4)
  #closed = false

  constructor(setup: Omit<WorkSetup, 'stopFlag'>, count: number, listener: PoolListener) {
    this.#inFlight = Array.from({ length: count }, () => 0)
    try {
      for (let index = 0; index < count; index++) this.#workers.push(this.#start({ ...setup, stopFlag: this.#stopFlag }, index, listener))
    } catch (cause) {
      void this.close()
      throw workerError(this.#workers.length + 1, 'cannot be started', cause)
    }
  }

  get size(): number {
    return this.#workers.length
  }

  inFlight(worker: number): number {
    return this.#inFlight[worker] ?? 0
  }

  send(worker: number, task: ReadTask | CompressTask): void {
    this.#inFlight[worker] = this.inFlight(worker) + 1
    const transfer = task.kind === 'read' ? [task.segments.buffer, task.text.buffer] : []
    this.#workers[worker]?.postMessage(task, transfer)
  }

  /**
   * End the threads, each after the block it has in hand. They are not terminated: a thread that is
   * terminated inside zlib can take the whole process with it (an assertion of Node 24).
   */
  async close(): Promise<void> {
    this.#closed = true
    Atomics.store(new Int32Array(this.#stopFlag), 0, 1)
    for (const worker of this.#workers) worker.postMessage({ kind: 'stop' } satisfies Task)
    await Promise.all(this.#exits)
  }

  #start(setup: WorkSetup, index: number, listener: PoolListener): Worker {
    const worker = startWorker(WORKER_FILE, { workerData: setup, name: `kilnix-${index}`, resourceLimits: WORKER_LIMITS })
    worker.on('message', (result: Result) => {
      this.#inFlight[index] = this.inFlight(index) - 1
      if (!this.#closed) listener.onResult(index, result)
    })
    const died = (cause: unknown): void => {
      if (this.#closed) return
      this.#closed = true
      listener.onFailure(workerError(index + 1, 'died', cause))
    }
    worker.on('error', (error) => died(error))
    worker.on('exit', (code) => died(new Error(`exit code ${code}`)))
    this.#exits.push(new Promise((resolve) => worker.once('exit', () => resolve())))
    return worker
  }
}
