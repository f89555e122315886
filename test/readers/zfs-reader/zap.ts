/** ZAPs: maps of names (OpenZFS `include/sys/{zap_impl,zap_leaf}.h`, `module/zfs/{zap,zap_leaf,zap_micro}.c`). */
import { number64 } from './device.ts'
import { fatEntries } from './zap-fat.ts'

export interface ZapEntry {
  readonly name: Buffer
  /** Bytes of each number of the value. */
  readonly integerSize: number
  /** The numbers, big endian. */
  readonly value: Buffer
}

/** By name, one character a byte. */
export type Zap = ReadonlyMap<string, ZapEntry>

/** `U8_TEXTPREP_TOUPPER` and the forms of Unicode. */
const UPPER_CASE = 2
const FORMS: Readonly<Record<number, string>> = { 16: 'NFD', 32: 'NFKD', 80: 'NFC', 96: 'NFKC' }

/** A name as it is compared: `flags` are those of a ZAP. */
export function comparedName(name: Buffer, flags: number): Buffer {
  if (flags === 0) return name
  let text = name.toString()
  if ((flags & UPPER_CASE) !== 0)
    text = [...text].map((letter) => (letter.toUpperCase().length === letter.length ? letter.toUpperCase() : letter)).join('')
  const form = FORMS[flags & ~UPPER_CASE]
  if (form === undefined && flags !== UPPER_CASE) throw new Error(`names of the form ${flags}`)
  return Buffer.from(form === undefined ? text : text.normalize(form))
}

/** The flags of a map. */
export function normalizationOf(content: Buffer): number {
  return number64(content, content.readBigUInt64LE(0) === MICRO_TYPE ? 16 : 88)
}

/** The upper 28 bits of a CRC-64 by the reflected polynomial of ECMA-182, which starts with the salt. */
export type NameHash = (name: Buffer) => number

export const MICRO_TYPE = 0x8000000000000003n
const NAME_SIZE = 50
const MICRO_MAXIMUM = 128 << 10

/** Throws when a name could not be found, stands twice or has the place of another, or when counts are wrong. */
export function readZap(content: Buffer | undefined, blockSize: number): Zap {
  if (content === undefined) throw new Error('the map cannot be read')
  const places = new Set<string>()
  const zap = new Map<string, ZapEntry>()
  const add = (entry: ZapEntry, hash: number, differentiator: number): void => {
    const name = entry.name.toString('latin1')
    const place = `${hash} ${differentiator}`
    if (places.has(place)) throw new Error(`${name} has the hash and differentiator of another name`)
    if (zap.has(name) || name === '') throw new Error(`the name '${name}' stands twice or is empty`)
    places.add(place)
    zap.set(name, entry)
  }
  if (content.readBigUInt64LE(0) === MICRO_TYPE) microEntries(content, add)
  else fatEntries(content, blockSize, add)
  return zap
}

type Add = (entry: ZapEntry, hash: number, differentiator: number) => void

function microEntries(block: Buffer, add: Add): void {
  const hashOf = nameHash(block, 8, normalizationOf(block))
  if (block.length > MICRO_MAXIMUM) throw new Error('a micro ZAP that is too large')
  for (let at = 64; at < block.length; at += 64) {
    const end = block.indexOf(0, at + 14)
    if (end === at + 14) {
      if (block.subarray(at, at + 64).some((byte) => byte !== 0)) throw new Error('an entry has no name, but something else')
      continue
    }
    if (end < 0 || end >= at + 14 + NAME_SIZE || block.readUInt16LE(at + 12) !== 0) throw new Error('a name has no end')
    const name = block.subarray(at + 14, end)
    add({ name, integerSize: 8, value: Buffer.from(block.subarray(at, at + 8)).swap64() }, hashOf(name), block.readUInt32LE(at + 8))
  }
}

const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let crc = BigInt(byte)
  for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ ((crc & 1n) === 1n ? 0xc96c5795d7870f42n : 0n)
  return crc
})
const LOW = Uint32Array.from(TABLE, (crc) => Number(crc & 0xffffffffn))
const HIGH = Uint32Array.from(TABLE, (crc) => Number(crc >> 32n))

/** Of a map whose salt stands at `saltAt`. */
export function nameHash(block: Buffer, saltAt: number, flags: number): NameHash {
  const [saltLow, saltHigh] = [block.readUInt32LE(saltAt), block.readUInt32LE(saltAt + 4)]
  if (saltLow === 0 && saltHigh === 0) throw new Error('a ZAP without salt')
  return (name) => {
    let [low, high] = [saltLow, saltHigh]
    for (const byte of comparedName(name, flags)) {
      const index = (low ^ byte) & 0xff
      low = (((low >>> 8) | (high << 24)) ^ (LOW[index] as number)) >>> 0
      high = ((high >>> 8) ^ (HIGH[index] as number)) >>> 0
    }
    return high >>> 4
  }
}

/** One number of 64 bits. */
export function zapBits({ integerSize, value }: ZapEntry): bigint {
  if (integerSize !== 8 || value.length !== 8) throw new Error('the value is not one number')
  return value.readBigUInt64BE(0)
}

/** The number that a name has; throws when it has none. */
export function zapNumber(zap: Zap, name: string): number {
  const entry = zap.get(name)
  if (entry === undefined) throw new Error(`there is no ${name}`)
  return Number(zapBits(entry))
}

/** A text that ends with a zero byte. */
export function zapText({ integerSize, value }: ZapEntry): string {
  if (integerSize !== 1 || value.at(-1) !== 0) throw new Error('the value is no text')
  return value.subarray(0, -1).toString()
}
