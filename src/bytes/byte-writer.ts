/** A growing byte buffer for tables whose length is known only when they are finished. */
export class ByteWriter {
  #buffer = new Uint8Array(4096)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Reserve `count` zero bytes and return where they start; write them through `at`. */
  reserve(count: number): number {
    const start = this.#length
    this.#grow(start + count)
    this.#length = start + count
    return start
  }

  bytes(value: Uint8Array): void {
    const start = this.reserve(value.length)
    this.#buffer.set(value, start)
  }

  /** Zero bytes up to the next multiple of `unit`. */
  padTo(unit: number): void {
    const rest = this.#length % unit
    if (rest !== 0) this.reserve(unit - rest)
  }

  /** The bytes so far, without a copy; valid until the next write. */
  view(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  #grow(needed: number): void {
    if (needed <= this.#buffer.length) return
    let size = this.#buffer.length
    while (size < needed) size *= 2
    const next = new Uint8Array(size)
    next.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = next
  }
}
