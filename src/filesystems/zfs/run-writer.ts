/**
 * Gathers blocks that lie behind each other into large writes, which go on while the next blocks are made. Nothing waits
 * here but `drained`; writes follow each other in the order of their buffers.
 */
import type { Target } from '../../io/target.ts'

const BUFFER_SIZE = 1 << 20
/** So many full buffers may wait before whoever makes blocks has to. */
const WAITING_MAXIMUM = 8

/** Writes buffers to a target, one at a time. */
export class WriteQueue {
  readonly #target: Target
  readonly #origin: number
  readonly #free: Uint8Array[] = []
  /** What is not written yet, in order. */
  readonly #waiting: Promise<void>[] = []
  #error: { readonly cause: unknown } | undefined

  /** Positions count from `origin` of the target. */
  constructor(target: Target, origin: number) {
    this.#target = target
    this.#origin = origin
  }

  buffer(): Uint8Array {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BUFFER_SIZE)
  }

  /** Write the first `length` bytes of a buffer from `buffer`, which comes back to the queue. */
  put(position: number, buffer: Uint8Array, length: number): void {
    const write = async (): Promise<void> => {
      try {
        if (this.#error === undefined) await this.#target.write(this.#origin + position, buffer.subarray(0, length))
      } catch (cause) {
        this.#error = { cause }
      }
      this.#waiting.shift()
      if (this.#free.length < WAITING_MAXIMUM) this.#free.push(buffer)
    }
    this.#waiting.push((this.#waiting.at(-1) ?? Promise.resolve()).then(write))
  }

  /** Undefined when more may be put at once. Throws what the target threw. */
  drained(): Promise<void> | undefined {
    if (this.#error !== undefined) throw this.#error.cause
    return this.#waiting.length <= WAITING_MAXIMUM ? undefined : this.#settled(this.#waiting.length - WAITING_MAXIMUM / 2)
  }

  /** Resolves when all is written. Throws what the target threw. */
  finish(): Promise<void> {
    return this.#settled(this.#waiting.length)
  }

  /** What has not begun is not written any more; resolves when nothing is under way. */
  async abandon(cause: unknown): Promise<void> {
    this.#error ??= { cause }
    await this.#waiting.at(-1)
  }

  /** When the next `count` buffers are written. */
  async #settled(count: number): Promise<void> {
    await this.#waiting[count - 1]
    if (this.#error !== undefined) throw this.#error.cause
  }
}

export class RunWriter {
  readonly #queue: WriteQueue
  readonly #unit: number
  #buffer: Uint8Array
  #start = 0
  #length = 0

  /** Positions are multiples of `unit`. */
  constructor(queue: WriteQueue, unit: number) {
    this.#queue = queue
    this.#unit = unit
    this.#buffer = queue.buffer()
  }

  /** Take a copy of `bytes`; they are written now or later. A gap of less than a unit before them reads as zero. */
  write(position: number, bytes: Uint8Array): void {
    const gap = position - (this.#start + this.#length)
    if (this.#length > 0 && (gap < 0 || gap >= this.#unit || this.#length + gap >= this.#buffer.length)) this.flush()
    if (this.#length === 0) this.#start = position
    else this.#buffer.fill(0, this.#length, this.#length + gap)
    let at = position - this.#start
    for (let done = 0; done < bytes.length; ) {
      const count = Math.min(bytes.length - done, this.#buffer.length - at)
      this.#buffer.set(bytes.subarray(done, done + count), at)
      done += count
      at += count
      this.#length = at
      if (at < this.#buffer.length) continue
      this.flush()
      this.#start = position + done
      at = 0
    }
  }

  flush(): void {
    if (this.#length > 0) {
      this.#queue.put(this.#start, this.#buffer, this.#length)
      this.#buffer = this.#queue.buffer()
    }
    this.#length = 0
  }
}
