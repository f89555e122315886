/**
 * bzip2 streams (no specification by its author; "BZIP2: Format Specification" by J. Tsai, 2016). Every block and every stream is compared
 * with its checksum.
 */

import { PackedBytes } from './bytes.ts'
import { damaged } from './damaged.ts'

const BLOCK_MARK = [0x314159, 0x265359] as const
const END_MARK = [0x177245, 0x385090] as const

/** Symbols between two choices of a table. */
const GROUP_SIZE = 50
const CODE_LENGTH_LIMIT = 20

/** No block of 900,000 symbols takes more, with 20 bits a symbol and its tables; bytes. */
const BLOCK_LIMIT = 2_400_000

/** Bytes of runs that are handed on at a time. */
const CHUNK_SIZE = 64 << 10

export async function* unpackBzip2(packed: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
  const input = new PackedBytes(packed)
  try {
    for (let isFirst = true; isFirst || (await input.ahead(1)).length > 0; isFirst = false) yield* unpackOne(input, what)
  } finally {
    await input.close()
  }
}

/** One stream, up to the byte behind it. */
async function* unpackOne(input: PackedBytes, what: string): AsyncGenerator<Uint8Array> {
  const header = await input.take(4)
  const level = (header?.[3] ?? 0) - 0x30
  if (header?.toString('latin1', 0, 3) !== 'BZh' || level < 1 || level > 9) throw damaged(what, 'it is no bzip2 stream')
  let skippedBits = 0
  let combined = 0
  while (true) {
    const bits = new Bits(await input.ahead(BLOCK_LIMIT), skippedBits, what)
    const [high, low, crc] = [bits.take(24), bits.take(24), bits.word()]
    if (high === END_MARK[0] && low === END_MARK[1]) {
      if (crc !== combined) throw damaged(what, 'the checksum of the stream is another one')
      input.skip(Math.ceil(bits.at / 8))
      return
    }
    if (high !== BLOCK_MARK[0] || low !== BLOCK_MARK[1]) throw damaged(what, 'a block does not begin with its mark')
    const block = readBlock(bits, level * 100_000, what)
    input.skip(bits.at >> 3)
    skippedBits = bits.at & 7
    let actual = 0xffffffff
    for (const chunk of plainBytes(block)) {
      for (const byte of chunk) actual = ((actual << 8) ^ (CRC_TABLE[(actual >>> 24) ^ byte] as number)) | 0
      yield chunk
    }
    if (~actual >>> 0 !== crc) throw damaged(what, 'the checksum of a block is another one')
    combined = (((combined << 1) | (combined >>> 31)) ^ crc) >>> 0
  }
}

/** CRC-32 with the highest bit first, polynomial 0x04c11db7. */
const CRC_TABLE = Int32Array.from({ length: 256 }, (_, value) => {
  let crc = value << 24
  for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc < 0 ? 0x04c11db7 : 0)
  return crc
})

class Bits {
  readonly #bytes: Uint8Array
  readonly #what: string
  /** In bits. */
  at: number

  constructor(bytes: Uint8Array, at: number, what: string) {
    this.#bytes = bytes
    this.#what = what
    this.at = at
  }

  /** Up to 24. */
  take(count: number): number {
    const index = this.at >> 3
    const end = this.at + count
    if (end > this.#bytes.length * 8) throw damaged(this.#what, 'it is cut short')
    const bytes = this.#bytes
    const word = ((bytes[index] ?? 0) << 24) | ((bytes[index + 1] ?? 0) << 16) | ((bytes[index + 2] ?? 0) << 8) | (bytes[index + 3] ?? 0)
    const value = (word << (this.at & 7)) >>> (32 - count)
    this.at = end
    return value
  }

  word(): number {
    return this.take(16) * 0x10000 + this.take(16)
  }
}

/** The last column of the sorted rotations, and which row is the text. */
interface Block {
  /** In the low 8 bits the byte, above them where the next one is. */
  readonly links: Uint32Array
  readonly start: number
}

function readBlock(bits: Bits, limit: number, what: string): Block {
  if (bits.take(1) !== 0) throw damaged(what, 'its blocks are randomised, as bzip2 made them before 0.9.5')
  const origin = bits.take(24)
  const symbols = readSymbolMap(bits)
  const tables = readSelectors(bits, what)
  const codes = Array.from({ length: tables.count }, () => readCode(bits, symbols.length + 2, what))
  const links = new Uint32Array(limit)
  const counts = new Uint32Array(256)
  const end = symbols.length + 1
  let size = 0
  let run = 0
  let runWeight = 1
  let left = 0
  let group = 0
  let code = codes[0] as Code
  while (true) {
    if (left === 0) {
      const selector = tables.selectors[group++]
      if (selector === undefined) throw damaged(what, 'a block has more symbols than it has tables for')
      code = codes[selector] as Code
      left = GROUP_SIZE
    }
    left--
    const symbol = readSymbol(bits, code, what)
    if (symbol < 2) {
      run += runWeight << symbol
      runWeight *= 2
      if (run > limit) throw damaged(what, 'a run is longer than a block')
      continue
    }
    if (run > 0) {
      const byte = symbols[0] as number
      if (size + run > limit) throw damaged(what, 'a block is too long')
      links.fill(byte, size, size + run)
      counts[byte] = (counts[byte] as number) + run
      size += run
      run = 0
      runWeight = 1
    }
    if (symbol === end) break
    if (size === limit) throw damaged(what, 'a block is too long')
    const byte = symbols[symbol - 1] as number
    symbols.copyWithin(1, 0, symbol - 1)
    symbols[0] = byte
    counts[byte] = (counts[byte] as number) + 1
    links[size++] = byte
  }
  if (origin >= size) throw damaged(what, 'a block begins behind its end')
  return { links: linked(links.subarray(0, size), counts), start: origin }
}

/** The bytes that occur, in their order. */
function readSymbolMap(bits: Bits): Uint8Array {
  const rows = bits.take(16)
  const symbols: number[] = []
  for (let row = 0; row < 16; row++) {
    if ((rows & (0x8000 >> row)) === 0) continue
    const columns = bits.take(16)
    for (let column = 0; column < 16; column++) if ((columns & (0x8000 >> column)) !== 0) symbols.push(row * 16 + column)
  }
  return Uint8Array.from(symbols)
}

function readSelectors(bits: Bits, what: string): { readonly count: number; readonly selectors: Uint8Array } {
  const count = bits.take(3)
  const selectors = new Uint8Array(bits.take(15))
  if (count < 2 || count > 6 || selectors.length === 0) throw damaged(what, 'a block has no tables')
  const recent = [0, 1, 2, 3, 4, 5]
  for (let index = 0; index < selectors.length; index++) {
    let place = 0
    while (bits.take(1) !== 0) if (++place >= count) throw damaged(what, 'a table is chosen that there is not')
    const [chosen = 0] = recent.splice(place, 1)
    recent.unshift(chosen)
    selectors[index] = chosen
  }
  return { count, selectors }
}

/** A canonical Huffman code: by length the first code behind those of it, and what to take off a code for its symbol's place. */
interface Code {
  readonly limits: Int32Array
  readonly bases: Int32Array
  readonly symbols: Uint16Array
}

function readCode(bits: Bits, symbolCount: number, what: string): Code {
  const lengths = new Uint8Array(symbolCount)
  let length = bits.take(5)
  for (let symbol = 0; symbol < symbolCount; symbol++) {
    while (true) {
      if (length < 1 || length > CODE_LENGTH_LIMIT) throw damaged(what, 'a code has a length that is not possible')
      if (bits.take(1) === 0) break
      length += bits.take(1) === 0 ? 1 : -1
    }
    lengths[symbol] = length
  }
  const limits = new Int32Array(CODE_LENGTH_LIMIT + 1)
  const bases = new Int32Array(CODE_LENGTH_LIMIT + 1)
  const symbols = new Uint16Array(symbolCount)
  let next = 0
  let first = 0
  for (let size = 1; size <= CODE_LENGTH_LIMIT; size++) {
    first <<= 1
    bases[size] = first - next
    for (let symbol = 0; symbol < symbolCount; symbol++) {
      if (lengths[symbol] !== size) continue
      symbols[next++] = symbol
      first++
    }
    limits[size] = first
  }
  return { limits, bases, symbols }
}

function readSymbol(bits: Bits, { limits, bases, symbols }: Code, what: string): number {
  let code = 0
  for (let size = 1; size <= CODE_LENGTH_LIMIT; size++) {
    code = (code << 1) | bits.take(1)
    if (code < (limits[size] as number)) {
      const place = code - (bases[size] as number)
      const symbol = symbols[place]
      if (place >= 0 && symbol !== undefined) return symbol
      break
    }
  }
  throw damaged(what, 'a code stands for nothing')
}

/** From the last column to where each byte's follower is: the inverse of Burrows and Wheeler's transform. */
function linked(links: Uint32Array, counts: Uint32Array): Uint32Array {
  const starts = new Uint32Array(256)
  for (let byte = 1; byte < 256; byte++) starts[byte] = (starts[byte - 1] as number) + (counts[byte - 1] as number)
  for (let index = 0; index < links.length; index++) {
    const byte = (links[index] as number) & 0xff
    const place = starts[byte] as number
    starts[byte] = place + 1
    links[place] = (links[place] as number) | (index << 8)
  }
  return links
}

/** Four equal bytes are followed by how many more there are of them. */
function* plainBytes({ links, start }: Block): Generator<Uint8Array> {
  let chunk = Buffer.allocUnsafe(CHUNK_SIZE)
  let used = 0
  let previous = -1
  let repeats = 0
  let position = (links[start] as number) >>> 8
  for (let count = 0; count < links.length; count++) {
    const link = links[position] as number
    const byte = link & 0xff
    position = link >>> 8
    if (used + 256 > CHUNK_SIZE) {
      yield chunk.subarray(0, used)
      chunk = Buffer.allocUnsafe(CHUNK_SIZE)
      used = 0
    }
    if (repeats === 4) {
      chunk.fill(previous, used, used + byte)
      used += byte
      repeats = 0
      previous = -1
      continue
    }
    repeats = byte === previous ? repeats + 1 : 1
    previous = byte
    chunk[used++] = byte
  }
  yield chunk.subarray(0, used)
}
