/**
 * The worker threads of one run over batches of blocks. What is done with a batch is the business of the threads' own
 * file, which answers with `answerBatches`; blocks lie in shared memory, and messages name places in it.
 */
import type { Worker } from 'node:worker_threads'
import { ImageError } from '../../errors.ts'
import { startWorker, workerError } from '../../io/worker-file.ts'
import type { FromWorker, ToWorker, WorkerSetup } from './protocol.ts'

/** Workers make much short-lived memory; a small nursery has it collected before it adds up. */
const WORKER_LIMITS = { maxYoungGenerationSizeMb: 4 }

interface Waiting<Result> {
  readonly worker: number
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

export class BatchPool<Batch, Result> {
  readonly #workerFile: URL
  readonly #workers: Worker[] = []
  readonly #inFlight: number[]
  readonly #exits: Promise<void>[] = []
  readonly #waiting = new Map<number, Waiting<Result>>()
  readonly #stopFlag = new SharedArrayBuffer(4)
  #taskCount = 0
  #error: unknown
  #closed = false

  /** `count` threads that run `workerFile` with `setup`. Throws WORKER_DIED when one cannot be started. */
  constructor(workerFile: URL, setup: object, count: number) {
    this.#workerFile = workerFile
    this.#inFlight = Array.from({ length: count }, () => 0)
    try {
      for (let index = 0; index < count; index++) this.#workers.push(this.#start({ setup, stopFlag: this.#stopFlag }, index))
    } catch (cause) {
      void this.close()
      throw workerError(this.#workers.length + 1, 'cannot be started', cause)
    }
  }

  /** Have a batch worked on by the worker that has least to do. */
  run(batch: Batch): Promise<Result> {
    const result = new Promise<Result>((resolve, reject) => {
      if (this.#error !== undefined) return reject(this.#error)
      const worker = this.#inFlight.indexOf(Math.min(...this.#inFlight))
      const id = this.#taskCount++
      this.#waiting.set(id, { worker, resolve, reject })
      this.#inFlight[worker] = (this.#inFlight[worker] ?? 0) + 1
      this.#workers[worker]?.postMessage({ kind: 'batch', id, batch } satisfies ToWorker<Batch>)
    })
    // It counts when it is awaited, and that may be never.
    result.catch(() => undefined)
    return result
  }

  /** Every task that was given, and any to come, ends with `error`. */
  fail(error: unknown): void {
    this.#error ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#error)
    this.#waiting.clear()
  }

  /**
   * End the threads, each after the block it has in hand. They are not terminated: a thread that is terminated inside
   * zlib can take the whole process with it (an assertion of Node 24).
   */
  async close(): Promise<void> {
    this.#closed = true
    Atomics.store(new Int32Array(this.#stopFlag), 0, 1)
    for (const worker of this.#workers) worker.postMessage({ kind: 'stop' } satisfies ToWorker<Batch>)
    await Promise.all(this.#exits)
  }

  #start(workerData: WorkerSetup, index: number): Worker {
    const worker = startWorker(this.#workerFile, { workerData, name: `kilnix-blocks-${index}`, resourceLimits: WORKER_LIMITS })
    worker.on('message', (message: FromWorker<Result>) => {
      if (message.kind === 'failure') return this.fail(new ImageError(message.code, message.message))
      const waiting = this.#waiting.get(message.id)
      if (waiting === undefined) return
      this.#waiting.delete(message.id)
      this.#inFlight[waiting.worker] = (this.#inFlight[waiting.worker] ?? 0) - 1
      waiting.resolve(message.result)
    })
    const died = (cause: unknown): void => {
      if (!this.#closed) this.fail(workerError(index + 1, 'died', cause))
    }
    worker.on('error', died)
    worker.on('exit', (code) => died(new Error(`exit code ${code}`)))
    this.#exits.push(new Promise((resolve) => worker.once('exit', () => resolve())))
    return worker
  }
}
