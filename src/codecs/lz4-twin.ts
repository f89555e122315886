/**
 * The LZ4 block encoders of `native/assembly` in plain TypeScript, to the byte; the reasons stand there. They run where there is no
 * WebAssembly (`node --jitless`), and in the tests that hold both to each other.
 */

const MIN_MATCH = 4
const LAST_MATCH_MARGIN = 12
const LAST_LITERALS = 5
const OFFSET_MASK = 0xffff
const RUN_MASK = 15
const MATCH_MASK = 15
const SKIP_LOG = 6
const FAST_HASH_LOG = 13
const HIGH_HASH_LOG = 16
const SEARCH_DEPTH = 64
const NICE_LENGTH = 64
/** 2^64 divided by the golden ratio, in two halves. */
const HASH_MULTIPLIER_HIGH = 0x9e3779b9
const HASH_MULTIPLIER_LOW = 0x7f4a7c15

/** A word of four bytes, little-endian, as a signed integer. */
function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)
}

/** The top bits of the 64-bit product of five bytes (as the top of a 64-bit word) with the multiplier. */
function hashFive(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0
  const product = upperProduct(first << 24) + Math.imul(wordAt(bytes, at + 1), HASH_MULTIPLIER_LOW)
  return product >>> (32 - FAST_HASH_LOG)
}

/** The same of four bytes as the low half of the word. */
function hashFour(bytes: Uint8Array, at: number): number {
  return upperProduct(wordAt(bytes, at)) >>> (32 - HIGH_HASH_LOG)
}

/** Bits 32 to 63 of the product of a 32-bit word with the multiplier, as a signed integer. */
function upperProduct(word: number): number {
  const high = (word >>> 16) * HASH_MULTIPLIER_LOW
  const low = (word & 0xffff) * HASH_MULTIPLIER_LOW
  const carried = Math.floor((high + Math.floor(low / 0x10000)) / 0x10000)
  return (carried + Math.imul(word, HASH_MULTIPLIER_HIGH)) | 0
}

/** The largest result for a block of `length` bytes: all literals, and their length in bytes of 255. */
export function lz4Bound(length: number): number {
  return length + Math.ceil(length / 255) + 16
}

/** The fast encoder for blocks of at most `blockSize` bytes; a result is overwritten by the next call. */
export function lz4FastTwin(blockSize: number): (block: Uint8Array) => Uint8Array {
  const target = new Uint8Array(lz4Bound(blockSize))
  const table = new Uint16Array(1 << FAST_HASH_LOG)
  return (block) => target.subarray(0, compressFast(block, target, table))
}

function compressFast(source: Uint8Array, target: Uint8Array, table: Uint16Array): number {
  const end = source.length
  const lastMatchStart = end - LAST_MATCH_MARGIN
  const matchEnd = end - LAST_LITERALS
  let out = 0
  let anchor = 0
  if (end <= LAST_MATCH_MARGIN) return putSequence(target, out, source, anchor, end, 0, 0)
  table.fill(0)
  let cursor = 1
  while (true) {
    // Look for a match, in growing steps.
    let next = cursor
    let misses = 1 << SKIP_LOG
    let step = 1
    let offset = 0
    do {
      cursor = next
      next += step
      step = misses++ >> SKIP_LOG
      if (next > lastMatchStart) return putSequence(target, out, source, anchor, end, 0, 0)
      offset = lookUp(table, source, cursor)
    } while (offset === 0)
    while (cursor > anchor && cursor > offset && source[cursor - 1] === source[cursor - 1 - offset]) cursor--

    // One match after another, as long as the next begins where the last one ends.
    while (offset !== 0) {
      const literalEnd = cursor
      cursor += MIN_MATCH
      while (cursor < matchEnd && source[cursor] === source[cursor - offset]) cursor++
      out = putSequence(target, out, source, anchor, literalEnd, offset, cursor - literalEnd)
      anchor = cursor
      if (cursor > lastMatchStart) return putSequence(target, out, source, anchor, end, 0, 0)
      table[hashFive(source, cursor - 2)] = cursor - 2
      offset = lookUp(table, source, cursor)
    }
    cursor++
  }
}

/** The offset of a match of at least four bytes at `at`, or 0; notes `at` in the table. */
function lookUp(table: Uint16Array, source: Uint8Array, at: number): number {
  const slot = hashFive(source, at)
  const offset = (at - (table[slot] ?? 0)) & OFFSET_MASK
  table[slot] = at
  return wordAt(source, at) === wordAt(source, at - offset) ? offset : 0
}

/** A sequence: token, literal length, literals, and unless it is the last (offset 0) offset and match length. Returns the new end. */
function putSequence(
  target: Uint8Array,
  start: number,
  source: Uint8Array,
  from: number,
  to: number,
  offset: number,
  match: number,
): number {
  const literals = to - from
  const extra = offset === 0 ? 0 : match - MIN_MATCH
  let out = start
  target[out++] = (Math.min(literals, RUN_MASK) << 4) | Math.min(extra, MATCH_MASK)
  if (literals >= RUN_MASK) out = putLength(target, out, literals - RUN_MASK)
  target.set(source.subarray(from, to), out)
  out += literals
  if (offset === 0) return out
  target[out++] = offset & 0xff
  target[out++] = offset >> 8
  return extra >= MATCH_MASK ? putLength(target, out, extra - MATCH_MASK) : out
}

function putLength(target: Uint8Array, start: number, length: number): number {
  let out = start
  let rest = length
  for (; rest >= 255; rest -= 255) target[out++] = 255
  target[out++] = rest
  return out
}

/** The high-compression encoder for blocks of at most `blockSize` bytes; a result is overwritten by the next call. */
export function lz4HighTwin(blockSize: number): (block: Uint8Array) => Uint8Array {
  const target = new Uint8Array(lz4Bound(blockSize))
  const work: HighWork = {
    heads: new Uint32Array(1 << HIGH_HASH_LOG),
    links: new Uint16Array(1 << 16),
    lengths: new Uint32Array(blockSize + 1),
    offsets: new Uint16Array(blockSize + 1),
    costs: new Uint32Array(blockSize + 1),
  }
  return (block) => {
    work.lengths.fill(0, 0, block.length + 1)
    if (block.length > LAST_MATCH_MARGIN) {
      findMatches(block, work)
      chooseLengths(block.length, work)
    }
    let out = 0
    let anchor = 0
    let position = 0
    while (position < block.length) {
      const match = work.lengths[position] ?? 0
      if (match > 0) out = putSequence(target, out, block, anchor, position, work.offsets[position] ?? 0, match)
      position += match > 0 ? match : 1
      if (match > 0) anchor = position
    }
    return target.subarray(0, putSequence(target, out, block, anchor, block.length, 0, 0))
  }
}

interface HighWork {
  readonly heads: Uint32Array
  readonly links: Uint16Array
  readonly lengths: Uint32Array
  readonly offsets: Uint16Array
  readonly costs: Uint32Array
}

function findMatches(source: Uint8Array, work: HighWork): void {
  const { heads, links, lengths, offsets } = work
  const matchEnd = source.length - LAST_LITERALS
  heads.fill(0)
  let best = 0
  let bestOffset = 0
  for (let position = 0; position <= source.length - LAST_MATCH_MARGIN; position++) {
    const slot = hashFour(source, position)
    const previous = heads[slot] ?? 0
    const distance = position + 1 - previous
    const link = previous !== 0 && distance <= OFFSET_MASK ? distance : 0
    heads[slot] = position + 1
    links[position & OFFSET_MASK] = link
    if (best > NICE_LENGTH) {
      best--
    } else {
      best = best > MIN_MATCH ? best - 1 : MIN_MATCH - 1
      let offset = link
      let step = link
      for (let depth = SEARCH_DEPTH; step !== 0 && offset <= OFFSET_MASK && depth > 0; depth--) {
        const candidate = position - offset
        if (wordAt(source, candidate + best - 3) === wordAt(source, position + best - 3)) {
          let found = 0
          while (position + found < matchEnd && source[candidate + found] === source[position + found]) found++
          if (found > best) {
            best = found
            bestOffset = offset
            if (found > NICE_LENGTH || position + found === matchEnd) break
          }
        }
        step = links[candidate & OFFSET_MASK] ?? 0
        offset += step
      }
    }
    if (best >= MIN_MATCH) {
      lengths[position] = best
      offsets[position] = bestOffset
    }
  }
}

function chooseLengths(length: number, work: HighWork): void {
  const { lengths, costs } = work
  let run = 0
  costs[length] = 0
  for (let position = length - 1; position >= 0; position--) {
    run++
    let cost = (costs[position + 1] ?? 0) + 1
    if (run >= RUN_MASK && (run - RUN_MASK) % 255 === 0) cost++
    let choice = 0
    const longest = lengths[position] ?? 0
    for (let taken = longest > NICE_LENGTH ? longest : MIN_MATCH; taken <= longest; taken++) {
      const extra = taken - MIN_MATCH
      const lengthBytes = extra < MATCH_MASK ? 0 : Math.floor((extra - MATCH_MASK) / 255) + 1
      const total = 3 + lengthBytes + (costs[position + taken] ?? 0)
      if (total <= cost) {
        cost = total
        choice = taken
      }
    }
    if (choice !== 0) run = 0
    lengths[position] = choice
    costs[position] = cost
  }
}
