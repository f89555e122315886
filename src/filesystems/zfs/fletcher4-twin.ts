/**
 * Fletcher's checksum with four sums of 64 bits over words of 32 (OpenZFS `module/zcommon/zfs_fletcher.c`), in plain
 * TypeScript, as `native/assembly/fletcher4.ts` has it.
 *
 * The sums of a short run of words are exact in doubles: with n words none exceeds 2^32 times n(n+1)(n+2)(n+3)/24.
 * Only their union with what came before needs 64 bits.
 */

/** The most words whose four sums stay below 2^53. */
const RUN_WORDS = 64
const MASK = 0xffffffffffffffffn

/** The 32 bytes of the checksum as a block pointer has them. The length of `bytes` is a multiple of 4. */
export function fletcher4Twin(bytes: Uint8Array): Uint8Array {
  const words = wordsOf(bytes)
  const count = words.length
  let [a, b, c, d] = [0n, 0n, 0n, 0n]
  for (let start = 0; start < count; start += RUN_WORDS) {
    const end = Math.min(start + RUN_WORDS, count)
    let [first, second, third, fourth] = [0, 0, 0, 0]
    for (let at = start; at < end; at++) {
      first += words[at] as number
      second += first
      third += second
      fourth += third
    }
    const n = end - start
    const pairs = (n * (n + 1)) / 2
    const triples = BigInt((pairs * (n + 2)) / 3)
    const length = BigInt(n)
    d = (d + length * c + BigInt(pairs) * b + triples * a + BigInt(fourth)) & MASK
    c = (c + length * b + BigInt(pairs) * a + BigInt(third)) & MASK
    b = (b + length * a + BigInt(second)) & MASK
    a = (a + BigInt(first)) & MASK
  }
  const sums = new Uint8Array(32)
  const view = new DataView(sums.buffer)
  for (const [index, sum] of [a, b, c, d].entries()) view.setBigUint64(8 * index, sum, true)
  return sums
}

/** Words in the order of the disk; a view where the memory is aligned, which needs a little-endian machine. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1
  if (isLittleEndian && bytes.byteOffset % 4 === 0) return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Uint32Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(4 * index, true))
}
