/**
 * The LZ4 block encoder for the best ratio: the longest match of every position, then the cheapest way through the block.
 *
 * An LZ4 offset costs two bytes whatever it is, so of all matches at a position only the longest counts: every shorter
 * length can be had from it. That makes the parse exact: from the end backwards, the cheapest coding of the rest is
 * known when a position is reached. Only the match finder is bounded (SEARCH_DEPTH, NICE_LENGTH).
 */
import {
  equalLength,
  HASH_MULTIPLIER,
  LAST_LITERALS,
  LAST_MATCH_MARGIN,
  MATCH_MASK,
  MIN_MATCH,
  OFFSET_MASK,
  putLastLiterals,
  putLength,
  RUN_MASK,
} from './lz4-sequence'

/** Heads of the hash chains: 2^16 entries of 32 bits, a position plus 1 or 0 for none. */
const HASH_LOG: u32 = 16
const HEADS_SIZE: usize = 4 << 16
/** Links: for a position modulo 2^16, how far back the position before it in its chain is, or 0: 2^16 entries of 16 bits. */
const LINKS_SIZE: usize = 2 << 16
/** How many candidates are compared at a position. */
const SEARCH_DEPTH: u32 = 64
/** A match of this length is taken whole, and the positions within it are not searched. */
const NICE_LENGTH: usize = 64

function hashAt(address: usize): usize {
  return (<usize>((<u64>load<u32>(address) * HASH_MULTIPLIER) >> (64 - HASH_LOG))) << 2
}

/**
 * Compress one block. `work` has room for HEADS_SIZE + LINKS_SIZE + 12 bytes for each position of the block and 12 more:
 * lengths and offsets of the matches, then costs. Returns the compressed length.
 */
export function compressHigh(source: usize, length: usize, target: usize, work: usize): usize {
  if (length <= LAST_MATCH_MARGIN) return putLastLiterals(target, source, source + length) - target
  const lengths = work + HEADS_SIZE + LINKS_SIZE
  const offsets = lengths + ((length + 1) << 2)
  const costs = offsets + ((length + 1) << 2)
  findMatches(source, length, work, lengths, offsets)
  chooseLengths(length, lengths, costs)
  return putSequences(source, length, target, lengths, offsets)
}

/** The longest match at every position where one may start; length 0 where there is none. */
function findMatches(source: usize, length: usize, work: usize, lengths: usize, offsets: usize): void {
  const heads = work
  const links = work + HEADS_SIZE
  const matchEnd = source + length - LAST_LITERALS
  const starts = length - LAST_MATCH_MARGIN + 1
  memory.fill(heads, 0, HEADS_SIZE)
  memory.fill(lengths, 0, (length + 1) << 2)
  let best: usize = 0
  let bestOffset: u32 = 0
  for (let position: u32 = 0; position < <u32>starts; position++) {
    const cursor = source + position
    const head = heads + hashAt(cursor)
    const previous = load<u32>(head)
    const distance = position + 1 - previous
    const link = previous !== 0 && distance <= OFFSET_MASK ? distance : 0
    store<u32>(head, position + 1)
    store<u16>(links + ((position & OFFSET_MASK) << 1), <u16>link)

    // Inside a long match its rest is good enough.
    if (best > NICE_LENGTH) {
      best--
    } else {
      // The rest of the match before is known; only a longer one is of interest.
      best = best > MIN_MATCH ? best - 1 : MIN_MATCH - 1
      let offset = link
      let depth = SEARCH_DEPTH
      let step = link
      while (step !== 0 && offset <= OFFSET_MASK && depth !== 0) {
        const candidate = cursor - offset
        // Only what also agrees at the end of the best match so far can be longer.
        if (load<u32>(candidate + best - 3) === load<u32>(cursor + best - 3) && load<u32>(candidate) === load<u32>(cursor)) {
          const found = equalLength(cursor, candidate, matchEnd)
          if (found > best) {
            best = found
            bestOffset = offset
            if (found > NICE_LENGTH || cursor + found === matchEnd) break
          }
        }
        step = <u32>load<u16>(links + (((position - offset) & OFFSET_MASK) << 1))
        offset += step
        depth--
      }
    }
    if (best >= MIN_MATCH) {
      store<u32>(lengths + (position << 2), <u32>best)
      store<u32>(offsets + (position << 2), bestOffset)
    }
  }
}

/** Replace the longest length of every position by the one to take: 0 for a literal. */
function chooseLengths(length: usize, lengths: usize, costs: usize): void {
  let run: u32 = 0
  store<u32>(costs + (length << 2), 0)
  for (let position = length; position-- > 0; ) {
    // As a literal: one byte, and one more each time the run's length field grows.
    run++
    let cost = load<u32>(costs + ((position + 1) << 2)) + 1
    if (run >= <u32>RUN_MASK && (run - <u32>RUN_MASK) % 255 === 0) cost++
    let choice: u32 = 0
    const longest = load<u32>(lengths + (position << 2))
    // A match of 19 + 255 n bytes and more has n + 1 length bytes.
    for (let taken: u32 = longest > <u32>NICE_LENGTH ? longest : <u32>MIN_MATCH; taken <= longest; taken++) {
      const extra = taken - <u32>MIN_MATCH
      const lengthBytes: u32 = extra < <u32>MATCH_MASK ? 0 : (extra - <u32>MATCH_MASK) / 255 + 1
      const total: u32 = <u32>3 + lengthBytes + load<u32>(costs + ((position + taken) << 2))
      if (total <= cost) {
        cost = total
        choice = taken
      }
    }
    if (choice !== 0) run = 0
    store<u32>(lengths + (position << 2), choice)
    store<u32>(costs + (position << 2), cost)
  }
}

function putSequences(source: usize, length: usize, target: usize, lengths: usize, offsets: usize): usize {
  let out = target
  let anchor: usize = 0
  let position: usize = 0
  while (position < length) {
    const match = <usize>load<u32>(lengths + (position << 2))
    if (match === 0) {
      position++
      continue
    }
    const literals = position - anchor
    const extra = match - MIN_MATCH
    store<u8>(out++, <u8>((min(literals, RUN_MASK) << 4) | min(extra, MATCH_MASK)))
    if (literals >= RUN_MASK) out = putLength(out, literals - RUN_MASK)
    memory.copy(out, source + anchor, literals)
    out += literals
    store<u16>(out, <u16>load<u32>(offsets + (position << 2)))
    out += 2
    if (extra >= MATCH_MASK) out = putLength(out, extra - MATCH_MASK)
    position += match
    anchor = position
  }
  return putLastLiterals(out, source + anchor, source + length) - target
}
