/** The slots of memory that are free, and those who wait for one. */

interface Waiter {
  resolve(slot: number): void
  reject(error: unknown): void
}

export class Slots {
  readonly count: number
  readonly #free: number[]
  readonly #waiting: Waiter[] = []
  #failure: { readonly error: unknown } | undefined
  readonly #failed = Promise.withResolvers<never>()

  constructor(count: number) {
    this.count = count
    this.#failed.promise.catch(() => undefined)
    this.#free = Array.from({ length: count }, (_, index) => index)
  }

  /** A free slot as soon as there is one; throws what `fail` was given. */
  async take(): Promise<number> {
    this.throwIfFailed()
    return this.#free.shift() ?? new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  release(slot: number): void {
    const waiter = this.#waiting.shift()
    if (waiter === undefined) this.#free.push(slot)
    else waiter.resolve(slot)
  }

  /** Rejects with what `fail` is given. */
  get failed(): Promise<never> {
    return this.#failed.promise
  }

  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** Nobody gets a slot any more. The first error counts. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#failed.reject(this.#failure.error)
    for (const waiter of this.#waiting.splice(0)) waiter.reject(this.#failure.error)
  }
}
