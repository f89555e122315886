/** The bytes of a stream, so many at a time. */
export class PackedBytes {
  readonly #chunks: AsyncIterator<Uint8Array>
  #bytes: Buffer = Buffer.alloc(0)
  #isOver = false

  constructor(packed: AsyncIterable<Uint8Array>) {
    this.#chunks = packed[Symbol.asyncIterator]()
  }

  /** What is there, `count` bytes at least unless the stream ends before. */
  async ahead(count: number): Promise<Buffer> {
    if (this.#bytes.length >= count || this.#isOver) return this.#bytes
    const parts: Uint8Array[] = [this.#bytes]
    for (let have = this.#bytes.length; have < count; ) {
      const step = await this.#chunks.next()
      if (step.done === true) {
        this.#isOver = true
        break
      }
      // The memory of a chunk is whose it came from.
      parts.push(Buffer.from(step.value))
      have += step.value.length
    }
    this.#bytes = Buffer.concat(parts)
    return this.#bytes
  }

  /** Undefined where the stream ends before. */
  async take(count: number): Promise<Buffer | undefined> {
    const bytes = await this.ahead(count)
    if (bytes.length < count) return undefined
    this.skip(count)
    return bytes.subarray(0, count)
  }

  /** Bytes that were looked at ahead. */
  skip(count: number): void {
    this.#bytes = this.#bytes.subarray(count)
  }

  async close(): Promise<void> {
    await this.#chunks.return?.()
  }
}
