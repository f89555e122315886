/**
 * The LZ4 block format (LZ4 Block Format Description 1.6): a block is a list of sequences; a sequence is a token (length of
 * the literals and of the match, four bits each), more length bytes, the literals, the offset, more length bytes.
 */

/** A match has at least this many bytes ("minmatch"). */
export const MIN_MATCH: usize = 4
/** The last match starts at least this many bytes before the end of the block ("end of block conditions"). */
export const LAST_MATCH_MARGIN: usize = 12
/** The last bytes of a block are always literals. */
export const LAST_LITERALS: usize = 5
/** Offsets are 16 bits, and 0 is invalid. */
export const OFFSET_MASK: u32 = 0xffff
/** A field of the token that holds 15 goes on in bytes of 255. */
export const RUN_MASK: usize = 15
export const MATCH_MASK: usize = 15
/** 2^64 divided by the golden ratio, in two halves. */
export const HASH_MULTIPLIER: u64 = ((<u64>0x9e3779b9) << 32) | 0x7f4a7c15

/** How many bytes at `left` and `right` are equal, up to `end` (an address on the left). */
export function equalLength(left: usize, right: usize, end: usize): usize {
  const start = left
  const wide = end - 7
  while (left < wide) {
    const difference = load<u64>(left) ^ load<u64>(right)
    if (difference !== 0) return left - start + <usize>(ctz(difference) >> 3)
    left += 8
    right += 8
  }
  while (left < end && load<u8>(left) === load<u8>(right)) {
    left++
    right++
  }
  return left - start
}

/** Write the bytes of a length field after its four bits were 15; `rest` is the length less 15. */
export function putLength(out: usize, rest: usize): usize {
  while (rest >= 255) {
    store<u8>(out++, 255)
    rest -= 255
  }
  store<u8>(out++, <u8>rest)
  return out
}

/** The last sequence: literals only. Returns the end of the output. */
export function putLastLiterals(start: usize, anchor: usize, end: usize): usize {
  let out = start
  const literals = end - anchor
  if (literals >= RUN_MASK) {
    store<u8>(out++, <u8>(RUN_MASK << 4))
    out = putLength(out, literals - RUN_MASK)
  } else {
    store<u8>(out++, <u8>(literals << 4))
  }
  memory.copy(out, anchor, literals)
  return out + literals
}
