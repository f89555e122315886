/** What ZAPs ("ZFS attribute processor", maps from names to integers) hold, and how names are hashed. */
import { deriveBytes } from '../../../bytes/guid.ts'
import { utf8 } from '../../../bytes/text.ts'

/** Several integers of one size. */
export interface ZapArray {
  /** Bytes of an integer. */
  readonly integerSize: 1 | 2 | 8
  /** The integers, big endian. */
  readonly bytes: Uint8Array
}

export interface ZapEntry {
  /** Without its final zero byte. */
  readonly name: Uint8Array
  readonly value: number | bigint | ZapArray
  /** What is hashed in place of the name, where names are normalized. */
  readonly hashedName?: Uint8Array
}

export function zapEntry(name: string, value: ZapEntry['value']): ZapEntry {
  return { name: utf8(name), value }
}

/** A text with its final zero byte, as properties are stored. */
export function zapText(text: string): ZapArray {
  return { integerSize: 1, bytes: utf8(`${text}\0`) }
}

/** Numbers of 16 bits. */
export function zapShorts(values: readonly number[]): ZapArray {
  return { integerSize: 2, bytes: Uint8Array.from(values.flatMap((value) => [value >> 8, value & 0xff])) }
}

/** A salt for the ZAP that serves a purpose; 0 would hash the empty name to nothing. */
export function zapSalt(seed: string, purpose: string): bigint {
  const bytes = deriveBytes(seed, `zfs zap salt ${purpose}`, 8)
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0) | 1n
}

/** A hash has so many bits; they are the upper ones of 64 (OpenZFS `zap_impl.h`, `ZAP_HASHBITS`). */
export const HASH_BITS = 28

/** CRC-64 of ECMA-182, reflected. */
const POLYNOMIAL_HIGH = 0xc96c5795
const POLYNOMIAL_LOW = 0xd7870f42

const TABLE_HIGH = new Int32Array(256)
const TABLE_LOW = new Int32Array(256)
for (let index = 0; index < 256; index++) {
  let [high, low] = [0, index]
  for (let bit = 0; bit < 8; bit++) {
    const isOdd = (low & 1) === 1
    low = (low >>> 1) | (high << 31)
    high >>>= 1
    if (isOdd) {
      high ^= POLYNOMIAL_HIGH
      low ^= POLYNOMIAL_LOW
    }
  }
  TABLE_HIGH[index] = high
  TABLE_LOW[index] = low
}

/** The hash of a name: its upper 28 bits as a number. */
export function zapHash(name: Uint8Array, salt: bigint): number {
  let high = Number(salt >> 32n) | 0
  let low = Number(salt & 0xffffffffn) | 0
  for (const byte of name) {
    const index = (low ^ byte) & 0xff
    low = ((low >>> 8) | (high << 24)) ^ (TABLE_LOW[index] as number)
    high = (high >>> 8) ^ (TABLE_HIGH[index] as number)
  }
  return high >>> (32 - HASH_BITS)
}

export interface HashedEntry extends ZapEntry {
  readonly hash: number
  /** Tells names with the same hash apart; a kernel panics over two that are alike. */
  readonly collisionDifferentiator: number
}

/** The entries by their hashes. */
export function hashedEntries(entries: readonly ZapEntry[], salt: bigint): HashedEntry[] {
  const hashed = entries.map((entry) => ({ ...entry, hash: zapHash(entry.hashedName ?? entry.name, salt), collisionDifferentiator: 0 }))
  hashed.sort((a, b) => a.hash - b.hash)
  for (let index = 1; index < hashed.length; index++) {
    const [before, entry] = [hashed[index - 1], hashed[index]]
    if (before !== undefined && entry !== undefined && before.hash === entry.hash) {
      entry.collisionDifferentiator = before.collisionDifferentiator + 1
    }
  }
  return hashed
}
