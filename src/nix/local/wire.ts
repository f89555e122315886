/** The words of Nix' worker protocol on a stream: 64-bit numbers in little endian, texts with their length and zeros up to a multiple of 8. */
import type { Socket } from 'node:net'
import { systemErrorCode } from '../../errors.ts'
import { NoWayError, TEXT_LIMIT } from './source.ts'

const WORD = 8

/** What was sent without a pause may be as large as this before it is read; more is read later. */
const BUFFER_LIMIT = 4 << 20

export class Wire {
  readonly #socket: Socket
  readonly #timeoutMilliseconds: number
  #chunks: Buffer[] = []
  #length = 0
  #failure: Error | undefined
  #wake: (() => void) | undefined

  /** Reading fails where nothing comes for `timeoutMilliseconds`. */
  constructor(socket: Socket, timeoutMilliseconds: number) {
    this.#socket = socket
    this.#timeoutMilliseconds = timeoutMilliseconds
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk)
      this.#length += chunk.length
      if (this.#length > BUFFER_LIMIT) socket.pause()
      this.#wake?.()
    })
    const fail = (message: string, cause?: unknown): void => {
      this.#failure ??= new NoWayError(message, { cause })
      this.#wake?.()
    }
    socket.on('error', (error) => fail(`the connection broke (${systemErrorCode(error) ?? String(error)})`, error))
    socket.on('end', () => fail('the connection ended in the middle of an answer'))
    socket.on('close', () => fail('the connection was closed in the middle of an answer'))
  }

  /** `parts` are numbers and texts. */
  send(parts: readonly (number | string)[]): void {
    this.#socket.write(Buffer.concat(parts.map((part) => (typeof part === 'number' ? wordOf(part) : textOf(part)))))
  }

  /** A number below 2^53. Throws NoWayError, as all of these do. */
  async number(what: string): Promise<number> {
    const value = (await this.#take(WORD)).readBigUInt64LE()
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new NoWayError(`${what} is ${value}, which cannot be`)
    return Number(value)
  }

  /** A text of at most `TEXT_LIMIT` bytes. */
  async text(what: string): Promise<string> {
    const length = await this.number(`the length of ${what}`)
    if (length > TEXT_LIMIT) throw new NoWayError(`${what} is ${length} bytes long, which cannot be`)
    const padded = await this.#take(Math.ceil(length / WORD) * WORD)
    if (padded.subarray(length).some((byte) => byte !== 0)) throw new NoWayError(`${what} is not padded with zeros`)
    return padded.toString('utf8', 0, length)
  }

  async texts(what: string, limit: number): Promise<string[]> {
    const count = await this.number(`the number of ${what}`)
    if (count > limit) throw new NoWayError(`there are ${count} ${what}, which cannot be`)
    const texts: string[] = []
    for (let index = 0; index < count; index++) texts.push(await this.text(what))
    return texts
  }

  async #take(count: number): Promise<Buffer> {
    while (this.#length < count) {
      if (this.#failure !== undefined) throw this.#failure
      await this.#more()
    }
    if (count === 0) return Buffer.alloc(0)
    let first = this.#chunks[0] as Buffer
    if (first.length < count) {
      first = Buffer.concat(this.#chunks)
      this.#chunks = [first]
    }
    const taken = first.subarray(0, count)
    if (first.length === count) this.#chunks.shift()
    else this.#chunks[0] = first.subarray(count)
    this.#length -= count
    return taken
  }

  #more(): Promise<void> {
    this.#socket.resume()
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#failure ??= new NoWayError(`there was no answer for ${this.#timeoutMilliseconds / 1000} seconds`)
        this.#wake?.()
      }, this.#timeoutMilliseconds)
      this.#wake = () => {
        clearTimeout(timer)
        this.#wake = undefined
        resolve()
      }
    })
  }
}

function wordOf(value: number): Buffer {
  const bytes = Buffer.alloc(WORD)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function textOf(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([wordOf(bytes.length), bytes, Buffer.alloc(-bytes.length & (WORD - 1))])
}
