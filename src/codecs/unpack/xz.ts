/** xz streams (The .xz File Format 1.2.1), by liblzma as WebAssembly: `lzma_stream_decoder` and `lzma_code` (liblzma, `lzma/base.h`). */
import { loadLzma } from '../xz.ts'
import { damaged } from './damaged.ts'

/** The part of the Emscripten module that is used here; pointers are offsets in HEAPU8. */
interface LzmaDecoder {
  readonly HEAPU8: Uint8Array<ArrayBuffer>
  _malloc(size: number): number
  _free(address: number): void
  _lzma_stream_decoder(stream: number, memoryLimit: bigint, flags: number): number
  _lzma_code(stream: number, action: number): number
  _lzma_end(stream: number): void
}

/** Where the fields of an `lzma_stream` with pointers of 32 bits are, each of four bytes. */
const FIELD = { nextInput: 0, inputLeft: 4, nextOutput: 16, outputLeft: 20 } as const
/** All of it, with what is reserved. */
const STREAM_SIZE = 96

const INPUT_SIZE = 64 << 10
const OUTPUT_SIZE = 256 << 10

/** `xz -9` has a dictionary of 64 MiB; the module itself has 256 MiB at most. */
const MEMORY_LIMIT = 192n << 20n

const LZMA_CONCATENATED = 8
const ACTION = { run: 0, finish: 3 } as const
const STATUS: Readonly<Record<number, string>> = {
  5: 'out of memory',
  6: 'it asks for more than 192 MiB of memory',
  7: 'it is no xz stream',
  8: 'it has options that liblzma does not know',
  9: 'its data are damaged',
  10: 'it is cut short',
}
const [OK, STREAM_END] = [0, 1] as const

export async function* unpackXz(packed: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
  const decoder = new Decoder(await loadLzma<LzmaDecoder>(), what)
  try {
    for await (const chunk of packed) {
      for (let at = 0; at < chunk.length; at += INPUT_SIZE) yield* decoder.take(chunk.subarray(at, at + INPUT_SIZE))
    }
    yield* decoder.finish()
  } finally {
    decoder.close()
  }
}

class Decoder {
  readonly #module: LzmaDecoder
  readonly #what: string
  readonly #stream: number
  readonly #input: number
  readonly #output: number

  constructor(module: LzmaDecoder, what: string) {
    this.#module = module
    this.#what = what
    this.#stream = this.#allocate(STREAM_SIZE)
    this.#input = this.#allocate(INPUT_SIZE)
    this.#output = this.#allocate(OUTPUT_SIZE)
    this.#check(module._lzma_stream_decoder(this.#stream, MEMORY_LIMIT, LZMA_CONCATENATED))
  }

  *take(bytes: Uint8Array): Generator<Uint8Array> {
    this.#module.HEAPU8.set(bytes, this.#input)
    this.#set('nextInput', this.#input)
    this.#set('inputLeft', bytes.length)
    yield* this.#code(ACTION.run)
  }

  *finish(): Generator<Uint8Array> {
    this.#set('inputLeft', 0)
    yield* this.#code(ACTION.finish)
  }

  close(): void {
    this.#module._lzma_end(this.#stream)
    for (const address of [this.#stream, this.#input, this.#output]) this.#module._free(address)
  }

  *#code(action: number): Generator<Uint8Array> {
    while (true) {
      this.#set('nextOutput', this.#output)
      this.#set('outputLeft', OUTPUT_SIZE)
      const status = this.#module._lzma_code(this.#stream, action)
      const outputLeft = this.#get('outputLeft')
      const isStuck = status === 10 && action === ACTION.run
      if (!isStuck) this.#check(status)
      if (outputLeft < OUTPUT_SIZE) yield this.#module.HEAPU8.subarray(this.#output, this.#output + OUTPUT_SIZE - outputLeft)
      if (status === STREAM_END || isStuck) return
      if (action === ACTION.run && this.#get('inputLeft') === 0 && outputLeft > 0) return
    }
  }

  #check(status: number): void {
    if (status !== OK && status !== STREAM_END) throw damaged(this.#what, STATUS[status] ?? `liblzma says ${status}`)
  }

  #allocate(size: number): number {
    const address = this.#module._malloc(size)
    if (address === 0) throw damaged(this.#what, STATUS[5] as string)
    this.#module.HEAPU8.fill(0, address, address + size)
    return address
  }

  /** The module's memory may have grown, and moved, since the last call. */
  #view(): DataView {
    return new DataView(this.#module.HEAPU8.buffer, this.#stream, STREAM_SIZE)
  }

  #get(field: keyof typeof FIELD): number {
    return this.#view().getUint32(FIELD[field], true)
  }

  #set(field: keyof typeof FIELD, value: number): void {
    this.#view().setUint32(FIELD[field], value, true)
  }
}
