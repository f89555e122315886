/** A NAR that comes as a stream: what is in it, in order, with bounded memory. */

import { createHash, type Hash } from 'node:crypto'
import { throwIfAborted } from '../../errors.ts'
import type { NarHashAlgorithm } from './digest.ts'
import { badNar, type NarNodeEvent, narSteps } from './grammar.ts'

/** A file event is followed by the bytes of its content in chunks, as many as it says; an empty file by none. */
export type NarEvent = NarNodeEvent | { readonly kind: 'chunk'; readonly bytes: Uint8Array }

export interface ReadNarOptions {
  /** Names the NAR in errors. Default `NAR`. */
  readonly name?: string
  readonly signal?: AbortSignal
}

/**
 * What is in the NAR that `chunks` are. Chunks of contents lie in the memory of the input's. Throws BAD_INPUT for
 * anything the format does not allow, with the offset in the NAR and the path in it, also for bytes behind its end;
 * ABORTED; and what the input throws. A consumer that stops early closes the input.
 */
export async function* readNar(chunks: AsyncIterable<Uint8Array>, options: ReadNarOptions = {}): AsyncGenerator<NarEvent, void, undefined> {
  const { name = 'NAR', signal } = options
  const input = new ByteQueue(chunks, (position) => badNar(name, position, [], 'it ends here, too early; it is cut short'))
  const steps = narSteps(name)
  try {
    let step = steps.next()
    while (!step.done) {
      const { value } = step
      if (typeof value === 'number') {
        step = steps.next(input.takeNow(value) ?? (await input.take(value)))
        continue
      }
      yield value
      if (value.kind === 'file') {
        for (let rest = value.size; rest > 0; ) {
          throwIfAborted(signal)
          const bytes = await input.takeSome(rest)
          rest -= bytes.length
          yield { kind: 'chunk', bytes }
        }
      }
      step = steps.next(NOTHING)
    }
    if (!(await input.isAtEnd())) throw badNar(name, input.position, [], 'bytes follow behind its end')
  } finally {
    await input.close()
  }
}

/** Check every rule of the NAR that `chunks` are and hash it. Throws what `readNar` throws. */
export async function hashNarStream(
  chunks: AsyncIterable<Uint8Array>,
  options: ReadNarOptions & { readonly algorithm?: NarHashAlgorithm } = {},
): Promise<{ readonly hash: Uint8Array; readonly size: number }> {
  const hash = createHash(options.algorithm ?? 'sha256')
  let size = 0
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      hash.update(chunk)
      size += chunk.length
      yield chunk
    }
  }
  for await (const _event of readNar(hashed(), options));
  return { hash: new Uint8Array(hash.digest()), size }
}

const NOTHING = Buffer.alloc(0)

/** Bytes of a stream in pieces of the size that is wanted. */
export class ByteQueue {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #tooShort: (position: number) => Error
  #hash: Hash | undefined
  /** Of the chunk, what is hashed or is not to be. */
  #hashed = 0
  #chunk: Buffer = NOTHING
  #at = 0
  /** Of the first byte that is not taken. */
  position = 0

  /** `tooShort` is the error where more is wanted than there is. */
  constructor(chunks: AsyncIterable<Uint8Array>, tooShort: (position: number) => Error) {
    this.#chunks = chunks[Symbol.asyncIterator]()
    this.#tooShort = tooShort
  }

  /** Hash what is taken from here on, until the next call, by when it is done. */
  hash(hash: Hash | undefined): void {
    this.#finishHash()
    this.#hash = hash
  }

  /** Undefined where more has to be read for it. */
  takeNow(count: number): Buffer | undefined {
    const end = this.#at + count
    if (end > this.#chunk.length) return undefined
    const bytes = this.#chunk.subarray(this.#at, end)
    this.#at = end
    this.position += count
    return bytes
  }

  /** `count` bytes, which are few. */
  async take(count: number): Promise<Buffer> {
    const parts: Buffer[] = []
    for (let rest = count; rest > 0; ) {
      const part = await this.takeSome(rest)
      parts.push(part)
      rest -= part.length
    }
    return Buffer.concat(parts)
  }

  /** At least one byte and at most `limit`. */
  async takeSome(limit: number): Promise<Buffer> {
    if (!(await this.#fill())) throw this.#tooShort(this.position)
    const count = Math.min(limit, this.#chunk.length - this.#at)
    return this.takeNow(count) as Buffer
  }

  async isAtEnd(): Promise<boolean> {
    return !(await this.#fill())
  }

  async close(): Promise<void> {
    await this.#chunks.return?.()
  }

  /** False at the end of the input. */
  async #fill(): Promise<boolean> {
    while (this.#at === this.#chunk.length) {
      this.#finishHash()
      const step = await this.#chunks.next()
      if (step.done === true) return false
      const { value } = step
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      this.#at = 0
      this.#hashed = 0
    }
    return true
  }

  #finishHash(): void {
    if (this.#hash !== undefined && this.#at > this.#hashed) this.#hash.update(this.#chunk.subarray(this.#hashed, this.#at))
    this.#hashed = this.#at
  }
}
