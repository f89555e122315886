/**
 * The LZ4 block encoder (LZ4 Block Format Description 1.6): greedy, with one table of recent positions.
 *
 * AssemblyScript, compiled by `scripts/build-native.ts` into `src/codecs/native-module.ts`.
 * `src/codecs/lz4-twin.ts` is the same algorithm in plain TypeScript; tests hold both to the same bytes.
 *
 * The memory belongs to the caller. Loads and stores touch up to 16 bytes past the end of the source and
 * of the target, so both need that much room behind them.
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

/** After 2^6 misses in a row every second position is looked up, after 2^7 every third, and so on. */
const SKIP_LOG: u32 = 6

/** 2^13 entries of 16 bits: 16 KiB, which the first-level cache holds. */
const HASH_LOG: u32 = 13

/** Where in the table the five bytes at `address` belong: a byte offset. */
function hashAt(address: usize): usize {
  return (<usize>(((load<u64>(address) << 24) * HASH_MULTIPLIER) >> (64 - HASH_LOG))) << 1
}

/** Copy in steps of 8 bytes: may write up to 7 bytes too many. */
function copyLoosely(target: usize, source: usize, length: usize): void {
  const end = target + length
  do {
    store<u64>(target, load<u64>(source))
    target += 8
    source += 8
  } while (target < end)
}

/**
 * Compress one block.
 *
 * `table` has 2^HASH_LOG u16 entries: the position in the source, modulo 65536, where a hash was seen last. An entry that
 * has grown too old names some other position inside the window; the comparison of the bytes finds that out.
 * Returns the compressed length.
 */
export function compressFast(source: usize, length: usize, target: usize, table: usize): usize {
  let out = target
  let anchor = source
  const end = source + length
  if (length > LAST_MATCH_MARGIN) {
    const lastMatchStart = end - LAST_MATCH_MARGIN
    const matchEnd = end - LAST_LITERALS
    memory.fill(table, 0, 2 << HASH_LOG)
    let cursor = source + 1
    let nextHash = hashAt(cursor)
    while (true) {
      let next = cursor
      let misses: u32 = 1 << SKIP_LOG
      let step: u32 = 1
      let offset: u32 = 0
      while (true) {
        const slot = table + nextHash
        cursor = next
        next += step
        step = misses++ >> SKIP_LOG
        if (next > lastMatchStart) return putLastLiterals(out, anchor, end) - target
        const position = <u32>(cursor - source)
        offset = (position - <u32>load<u16>(slot)) & OFFSET_MASK
        nextHash = hashAt(next)
        store<u16>(slot, <u16>position)
        if (load<u32>(cursor - offset) === load<u32>(cursor) && offset !== 0) break
      }
      let match = cursor - offset
      while (cursor > anchor && match > source && load<u8>(cursor - 1) === load<u8>(match - 1)) {
        cursor--
        match--
      }

      // The sequence: token, literal length, literals, offset, match length.
      let token = out++
      const literals = cursor - anchor
      let run: u32 = 0
      if (literals < RUN_MASK) {
        run = (<u32>literals) << 4
        store<u64>(out, load<u64>(anchor))
        store<u64>(out, load<u64>(anchor, 8), 8)
      } else {
        run = <u32>(RUN_MASK << 4)
        out = putLength(out, literals - RUN_MASK)
        copyLoosely(out, anchor, literals)
      }
      out += literals

      while (true) {
        store<u16>(out, <u16>offset)
        out += 2
        cursor += MIN_MATCH
        const extra = equalLength(cursor, cursor - offset, matchEnd)
        cursor += extra
        if (extra < MATCH_MASK) {
          store<u8>(token, <u8>(run | <u32>extra))
        } else {
          store<u8>(token, <u8>(run | <u32>MATCH_MASK))
          out = putLength(out, extra - MATCH_MASK)
        }
        anchor = cursor
        if (cursor > lastMatchStart) return putLastLiterals(out, anchor, end) - target

        // Where one match ends another often begins: then the sequence has no literals.
        store<u16>(table + hashAt(cursor - 2), <u16>(cursor - 2 - source))
        const slot = table + hashAt(cursor)
        const position = <u32>(cursor - source)
        offset = (position - <u32>load<u16>(slot)) & OFFSET_MASK
        store<u16>(slot, <u16>position)
        if (load<u32>(cursor - offset) !== load<u32>(cursor) || offset === 0) break
        token = out++
        run = 0
      }
      cursor++
      nextHash = hashAt(cursor)
    }
  }
  return putLastLiterals(out, anchor, end) - target
}
