/** Streams that Node's own zlib unpacks: gzip (RFC 1952), Zstandard (RFC 8878) and Brotli (RFC 7932). */
import type { Duplex } from 'node:stream'
import type { Zlib } from 'node:zlib'
import { damaged } from './damaged.ts'

type Unpacking = Duplex & Zlib

/** What `packed` holds; `open` gives a decompressor for each frame where Node stops at the end of one. */
export async function* unpackZlib(packed: AsyncIterable<Uint8Array>, open: () => Unpacking, what: string): AsyncGenerator<Uint8Array> {
  let current = new OneStream(open(), what)
  try {
    for await (const chunk of packed) {
      for (let rest = chunk; rest.length > 0; ) {
        const before = current.consumed
        yield* current.take(rest)
        rest = rest.subarray(current.consumed - before)
        if (rest.length === 0) break
        // Node ends with the frame; the rest of what it was given begins another one.
        if (current.consumed === 0) throw damaged(what, 'a frame without bytes')
        current.close()
        current = new OneStream(open(), what)
      }
    }
    yield* current.finish()
  } finally {
    current.close()
  }
}

class OneStream {
  readonly #stream: Unpacking
  readonly #what: string
  #error: Error | undefined
  #wake: () => void = () => undefined
  #isEnded = false

  constructor(stream: Unpacking, what: string) {
    this.#stream = stream
    this.#what = what
    stream.on('readable', () => this.#wake())
    stream.on('end', () => {
      this.#isEnded = true
      this.#wake()
    })
    stream.on('error', (error) => {
      this.#error = error
      this.#wake()
    })
  }

  /** Bytes of the input that were used. */
  get consumed(): number {
    return this.#stream.bytesWritten
  }

  async *take(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
    let isTaken = false
    this.#stream.write(bytes, () => {
      isTaken = true
      this.#wake()
    })
    yield* this.#output(() => isTaken || this.#isEnded)
  }

  async *finish(): AsyncGenerator<Uint8Array> {
    this.#stream.end()
    yield* this.#output(() => this.#isEnded)
  }

  async *#output(isDone: () => boolean): AsyncGenerator<Uint8Array> {
    while (true) {
      if (this.#error !== undefined) throw damaged(this.#what, this.#error.message, this.#error)
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      const bytes = this.#stream.read() as Uint8Array | null
      if (bytes !== null) yield bytes
      else if (isDone()) return
      else if (this.#error === undefined) await woken
    }
  }

  close(): void {
    this.#stream.destroy()
  }
}
