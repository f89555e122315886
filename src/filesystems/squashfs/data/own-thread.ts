/** A pool of one worker that is the caller's own thread, for many small images, each too small to start threads for. */
import type { Pool, PoolListener } from './pool.ts'
import type { CompressTask, ReadTask, WorkSetup } from './protocol.ts'
import { openWork, type Work } from './work.ts'

export class OwnThreadPool implements Pool {
  readonly size = 1
  readonly #listener: PoolListener
  readonly #opened: Promise<void>
  readonly #tasks: (ReadTask | CompressTask)[] = []
  #work: Work | undefined
  #isScheduled = false
  #closed = false

  constructor(setup: Omit<WorkSetup, 'stopFlag'>, listener: PoolListener) {
    this.#listener = listener
    this.#opened = openWork({ ...setup, stopFlag: new SharedArrayBuffer(4) }).then(
      (work) => {
        this.#work = work
        this.#schedule()
      },
      (error: unknown) => {
        if (!this.#closed) listener.onFailure(error)
      },
    )
  }

  inFlight(): number {
    return this.#tasks.length
  }

  send(_worker: number, task: ReadTask | CompressTask): void {
    this.#tasks.push(task)
    this.#schedule()
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#opened
    this.#work?.close()
  }

  /** One task a turn of the event loop, so that a signal is heard between two. */
  #schedule(): void {
    if (this.#isScheduled || this.#work === undefined || this.#tasks.length === 0) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#runNext()
      this.#schedule()
    })
  }

  #runNext(): void {
    const task = this.#closed ? undefined : this.#tasks[0]
    const result = task && this.#work?.run(task)
    this.#tasks.shift()
    if (result !== undefined) this.#listener.onResult(0, result)
  }
}
