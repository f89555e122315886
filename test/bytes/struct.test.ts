/** Records: every type at its limits, and what does not fit. */
import { describe, expect, it } from 'vitest'
import { struct } from '../../src/bytes/struct.ts'

const record = struct('record', 64, {
  u8: [1, 'u8'],
  u16le: [2, 'u16le'],
  u16be: [4, 'u16be'],
  u32le: [6, 'u32le'],
  u32be: [10, 'u32be'],
  i64le: [14, 'i64le'],
  u64le: [22, 'u64le'],
  u64be: [30, 'u64be'],
  u16both: [38, 'u16both'],
  u32both: [42, 'u32both'],
  bytes: [50, 'bytes', 5],
})

type Name = Exclude<keyof typeof record.fields, 'bytes'>

/** What DataView writes for it. */
function expected(name: Name, value: number | bigint): Buffer {
  const bytes = Buffer.alloc(record.size, 0xee)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const at = record.fields[name][0]
  const [number, bits] = [Number(value), BigInt(value)]
  const write: Record<Name, () => void> = {
    u8: () => view.setUint8(at, number),
    u16le: () => view.setUint16(at, number, true),
    u16be: () => view.setUint16(at, number),
    u32le: () => view.setUint32(at, number, true),
    u32be: () => view.setUint32(at, number),
    i64le: () => view.setBigInt64(at, bits, true),
    u64le: () => view.setBigUint64(at, bits, true),
    u64be: () => view.setBigUint64(at, bits),
    u16both: () => {
      view.setUint16(at, number, true)
      view.setUint16(at + 2, number)
    },
    u32both: () => {
      view.setUint32(at, number, true)
      view.setUint32(at + 4, number)
    },
  }
  write[name]()
  return bytes
}

const [U8, U16, U32] = [
  [0, 1, 0x80, 0xff],
  [0, 0x1234, 0x8001, 0xffff],
  [0, 0x12345678, 0x80000001, 0xffffffff],
]
const U64 = [0, 0x80000001, 2 ** 32, 0x123456789abcd, Number.MAX_SAFE_INTEGER, 2n ** 53n, 2n ** 63n + 1n, 2n ** 64n - 1n]
const I64 = [0, -1, -0x123456789abcd, 2 ** 40 + 3, -(2n ** 63n), 2n ** 63n - 1n]
const VALUES: Readonly<Record<Name, readonly (number | bigint)[]>> = {
  u8: U8,
  u16le: U16,
  u16be: U16,
  u32le: U32,
  u32be: U32,
  i64le: I64,
  u64le: U64,
  u64be: U64,
  u16both: U16,
  u32both: U32,
}
const NAMES = Object.keys(VALUES) as Name[]

describe('a record', () => {
  it.each(NAMES)('has a number in its place, and nothing else changes: %s', (name) => {
    for (const value of VALUES[name]) {
      const bytes = Buffer.alloc(record.size, 0xee)
      record.write(bytes, 0, { [name]: value })
      expect(bytes, `${value}`).toEqual(expected(name, value))
    }
  })

  it('takes small bigints where it takes numbers', () => {
    const bytes = Buffer.alloc(record.size, 0xee)
    record.write(bytes, 0, { u32le: 7n as unknown as number })
    expect(bytes).toEqual(expected('u32le', 7))
  })

  it.each(NAMES)('has nothing that does not fit: %s', (name) => {
    const largest = { u8: 8, u16le: 16, u16be: 16, u32le: 32, u32be: 32, i64le: 63, u64le: 64, u64be: 64, u16both: 16, u32both: 32 }[name]
    const least = name === 'i64le' ? -(2n ** 63n) : 0n
    for (const value of [2n ** BigInt(largest), least - 1n, 0.5, Number.NaN, 2 ** 53]) {
      if (value === 2 ** 53 && largest < 53) continue
      const bytes = Buffer.alloc(record.size)
      expect(() => record.write(bytes, 0, { [name]: value })).toThrow(
        `record: ${name} is ${value}, the field holds ${least} to ${2n ** BigInt(largest) - 1n}`,
      )
      expect(bytes.equals(Buffer.alloc(record.size))).toBe(true)
    }
  })

  it('has bytes with zeros behind them, and no more than there is room for', () => {
    const bytes = Buffer.alloc(record.size, 0xee)
    record.write(bytes, 0, { bytes: Buffer.from('abc') })
    expect(bytes.subarray(49, 56)).toEqual(Buffer.from([0xee, 0x61, 0x62, 0x63, 0, 0, 0xee]))
    expect(() => record.write(bytes, 0, { bytes: Buffer.alloc(6) })).toThrow('record: bytes is 6 bytes, the field holds 5')
  })
})
