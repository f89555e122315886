import { randomFillSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { NIX32_ALPHABET } from '../../../src/nix/store/hash.ts'
import { referenceScanner } from '../../../src/nix/store/reference-scan.ts'

function digits(length: number): string {
  return [...randomFillSync(Buffer.alloc(length))].map((byte) => NIX32_ALPHABET[byte & 31]).join('')
}

function scan(names: readonly string[], bytes: Buffer): string[] {
  const found = new Set<string>()
  referenceScanner(names).scan(bytes, found)
  return [...found].sort()
}

describe('referenceScanner', () => {
  const names = Array.from({ length: 50 }, (_, index) => `${digits(32)}-n${index}`)

  it('finds exactly what a search for each hash part finds', () => {
    for (let round = 0; round < 300; round++) {
      const bytes = Buffer.alloc(600)
      // Text of digits alone, of digits with gaps, and of any bytes.
      if (round % 3 === 0) bytes.write(digits(600), 'latin1')
      else if (round % 3 === 1) for (let at = 0; at < 600; at += 40) bytes.write(`${digits(39)} `, at, 'latin1')
      else randomFillSync(bytes)
      for (let count = round % 4; count > 0; count--)
        bytes.write((names[(round * 7 + count * 13) % 50] ?? '').slice(0, 32), (round * 31 + count * 97) % 569, 'latin1')
      expect(scan(names, bytes)).toEqual(names.filter((name) => bytes.includes(name.slice(0, 32))).sort())
    }
  })

  it('finds a hash part at every offset, and none that lacks a byte', () => {
    const [name = ''] = names
    for (let offset = 0; offset < 80; offset++) {
      const bytes = Buffer.alloc(offset + 32, 0x2f)
      bytes.write(name.slice(0, 32), offset, 'latin1')
      expect(scan(names, bytes)).toEqual([name])
      expect(scan(names, bytes.subarray(0, -1))).toEqual([])
      bytes[offset + (offset % 32)] = 0x65
      expect(scan(names, bytes)).toEqual([])
    }
    expect(scan(names, Buffer.alloc(31, 'a'))).toEqual([])
    expect(scan(names, Buffer.alloc(0))).toEqual([])
  })
})
