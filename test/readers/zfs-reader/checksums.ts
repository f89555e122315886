/** Checksums of blocks and labels (OpenZFS `module/zcommon/zfs_fletcher.c`, `module/zfs/{sha256,zio_checksum}.c`). */
import { createHash } from 'node:crypto'

export const CHECKSUM_OFF = 2
const EMBEDDED_MAGIC = 0x0210da7ab10c7a11n
const EMBEDDED_SIZE = 40

/** The four words of a checksum as they stand in a block pointer; undefined for an algorithm that is not known here. */
export function checksumOf(algorithm: number, bytes: Buffer): Buffer | undefined {
  if (algorithm === 7) return fletcher4(bytes)
  if (algorithm === 8) return sha256(bytes)
  if (algorithm === CHECKSUM_OFF) return Buffer.alloc(32)
  return undefined
}

/** The fourth sum over so many words is below 2^32 times 67 over 4, which a number holds exactly. */
const EXACT_WORDS = 64
const TWO_64 = 1n << 64n

/** Four sums over words of 32 bits, each modulo 2^64: in numbers over some words, and these sums in large ones. */
function fletcher4(bytes: Buffer): Buffer {
  const words = new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
  let [a, b, c, d] = [0n, 0n, 0n, 0n]
  for (let start = 0; start < words.length; start += EXACT_WORDS) {
    const end = Math.min(words.length, start + EXACT_WORDS)
    let [ownA, ownB, ownC, ownD] = [0, 0, 0, 0]
    for (let index = start; index < end; index++) {
      ownA += words[index] as number
      ownB += ownA
      ownC += ownB
      ownD += ownC
    }
    // What stood in the sums before is counted once more with each word.
    const n = BigInt(end - start)
    const [two, three] = [(n * (n + 1n)) / 2n, (n * (n + 1n) * (n + 2n)) / 6n]
    d = (d + n * c + two * b + three * a + BigInt(ownD)) % TWO_64
    c = (c + n * b + two * a + BigInt(ownC)) % TWO_64
    b = (b + n * a + BigInt(ownB)) % TWO_64
    a = (a + BigInt(ownA)) % TWO_64
  }
  const sum = Buffer.alloc(32)
  for (const [index, word] of [a, b, c, d].entries()) sum.writeBigUInt64LE(word, 8 * index)
  return sum
}

/** The digest's words are big endian, and stored little endian. */
function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest().swap64()
}

/** What the end of a part of a label must hold that lies at `place` of the device. */
export function labelChecksum(part: Buffer, place: number): Buffer {
  const copy = Buffer.from(part)
  const at = part.length - EMBEDDED_SIZE
  copy.writeBigUInt64LE(EMBEDDED_MAGIC, at)
  copy.fill(0, at + 8)
  copy.writeBigUInt64LE(BigInt(place), at + 8)
  const seal = Buffer.alloc(EMBEDDED_SIZE)
  seal.writeBigUInt64LE(EMBEDDED_MAGIC)
  sha256(copy).copy(seal, 8)
  return seal
}

export function isSealed(part: Buffer, place: number): boolean {
  return part.subarray(part.length - EMBEDDED_SIZE).equals(labelChecksum(part, place))
}

/** Write the seal. */
export function seal(part: Buffer, place: number): void {
  labelChecksum(part, place).copy(part, part.length - EMBEDDED_SIZE)
}
