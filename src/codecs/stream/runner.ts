/** Where blocks are encoded: in worker threads, or in the caller's own. */

import { setImmediate } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { ImageError } from '../../errors.ts'
import { startWorker, workerError, workerFile } from '../../io/worker-file.ts'
import type { EncoderSetup, StreamFormat } from './format.ts'
import type { BlockTask, Result, Task, WorkerSetup } from './protocol.ts'

const WORKER_FILE = workerFile(import.meta.url)

/** Workers make much short-lived memory; a small nursery has it collected before it adds up. */
const WORKER_LIMITS = { maxYoungGenerationSizeMb: 4 }

/** From here on, in bytes, a block takes so long that a worker need not have the next one in hand. */
const LARGE_BLOCK = 4 << 20

export interface Runner {
  /** Encode a block of the shared slots; the bytes are the caller's, and fill their buffer. */
  encode(task: BlockTask): Promise<Uint8Array>
  /** Afterwards no thread runs, and every promise is settled. */
  close(): Promise<void>
}

/** Slots that keep `threadCount` workers busy while others are filled and written. */
export function slotCount(format: StreamFormat, threadCount: number): number {
  return format.isSequential ? 8 : threadCount * inHand(format) + Math.min(threadCount, 4) + 1
}

/** Blocks that a worker has in hand. */
function inHand(format: StreamFormat): number {
  if (format.isSequential) return 6
  return format.blockSize >= LARGE_BLOCK ? 1 : 2
}

/** The caller's own thread; `slots` has one slot. A block a turn of the event loop, so that a signal is heard between two. */
export async function ownThreadRunner(format: StreamFormat, slots: Uint8Array, setup: EncoderSetup): Promise<Runner> {
  const encoder = await format.openEncoder(setup)
  let isClosed = false
  return {
    async encode({ start, length, historyLength, isLast }) {
      await setImmediate()
      if (isClosed) throw new ImageError('ABORTED', 'cancelled')
      return new Uint8Array(encoder.encode(slots.subarray(start, start + length), slots.subarray(start - historyLength, start), isLast))
    },
    async close() {
      isClosed = true
      encoder.close()
    },
  }
}

interface Job {
  readonly task: BlockTask
  resolve(bytes: Uint8Array): void
  reject(error: ImageError): void
}

interface Thread {
  readonly worker: Worker
  /** In the order in which they were sent. */
  readonly jobs: Job[]
  readonly exit: Promise<void>
}

/** Worker threads, started with the first block. The first failure fails everything. */
export class ThreadRunner implements Runner {
  readonly #format: StreamFormat
  readonly #setup: WorkerSetup
  readonly #count: number
  readonly #onFailure: (error: ImageError) => void
  readonly #threads: Thread[] = []
  readonly #waiting: Job[] = []
  #failure: ImageError | undefined
  #closed = false

  constructor(
    format: StreamFormat,
    slots: SharedArrayBuffer,
    count: number,
    encoder: EncoderSetup,
    onFailure: (error: ImageError) => void,
  ) {
    this.#format = format
    this.#setup = { codec: format.spec, encoder, slots, stopFlag: new SharedArrayBuffer(4) }
    this.#count = count
    this.#onFailure = onFailure
  }

  encode(task: BlockTask): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, resolve, reject })
      if (this.#failure === undefined && this.#threads.length < this.#count) this.#start()
      if (this.#failure !== undefined) this.#rejectAll(this.#failure)
      else this.#send()
    })
  }

  /**
   * Threads are asked to end, each after the block it has in hand: a thread that is terminated inside zlib can take the whole
   * process with it (an assertion of Node 24). What is not zlib's is terminated where a block is in hand.
   */
  async close(): Promise<void> {
    this.#closed = true
    Atomics.store(new Int32Array(this.#setup.stopFlag), 0, 1)
    for (const { worker, jobs } of this.#threads) {
      if (jobs.length > 0 && this.#format.isTerminable) void worker.terminate()
      else worker.postMessage({ kind: 'stop' } satisfies Task)
    }
    await Promise.all(this.#threads.map(({ exit }) => exit))
    this.#rejectAll(this.#failure ?? new ImageError('ABORTED', 'cancelled'))
  }

  #start(): void {
    const number = this.#threads.length + 1
    const died = (cause: unknown): void => this.#fail(workerError(number, 'died', cause))
    try {
      const worker = startWorker(WORKER_FILE, { workerData: this.#setup, name: `kilnix-${number}`, resourceLimits: WORKER_LIMITS })
      const jobs: Job[] = []
      worker.on('message', (result: Result) => {
        if (result.kind === 'failure') this.#fail(new ImageError(result.code, result.message))
        else jobs.shift()?.resolve(result.bytes)
        this.#send()
      })
      worker.on('error', died)
      worker.on('exit', (code) => died(new Error(`exit code ${code}`)))
      this.#threads.push({ worker, jobs, exit: new Promise((resolve) => worker.once('exit', () => resolve())) })
    } catch (cause) {
      this.#fail(workerError(number, 'cannot be started', cause))
    }
  }

  /** The oldest block goes to the worker with the least in hand. */
  #send(): void {
    while (!this.#closed && this.#failure === undefined && this.#waiting.length > 0) {
      const idlest = this.#threads.reduce((least, thread) => (thread.jobs.length < least.jobs.length ? thread : least))
      if (idlest.jobs.length >= inHand(this.#format)) return
      const job = this.#waiting.shift()
      if (job === undefined) return
      idlest.jobs.push(job)
      idlest.worker.postMessage(job.task)
    }
  }

  #fail(error: ImageError): void {
    if (this.#closed || this.#failure !== undefined) return
    this.#failure = error
    this.#rejectAll(error)
    this.#onFailure(error)
  }

  #rejectAll(error: ImageError): void {
    for (const job of this.#waiting.splice(0)) job.reject(error)
    for (const { jobs } of this.#threads) for (const job of jobs) job.reject(error)
  }
}
