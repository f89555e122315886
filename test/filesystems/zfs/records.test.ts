/** Records and checksums against values that OpenZFS itself made, or the sources define. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/bytes/text.ts'
import { storedPointer } from '../../../src/filesystems/zfs/block-pointer.ts'
import { CHECKSUM, COMPRESSION } from '../../../src/filesystems/zfs/constants.ts'
import { fletcher4 } from '../../../src/filesystems/zfs/fletcher4.ts'
import { geometryOf } from '../../../src/filesystems/zfs/geometry.ts'
import { encodeNvlist, nvFlag, nvNumber, nvText } from '../../../src/filesystems/zfs/nvlist.ts'
import { openPacking } from '../../../src/filesystems/zfs/packing.ts'
import { spaceMapBlockSize, spaceMapBonus, spaceMapEntries } from '../../../src/filesystems/zfs/space-map.ts'
import { hashedEntries, zapEntry, zapHash } from '../../../src/filesystems/zfs/zap/entries.ts'
import { fatZap } from '../../../src/filesystems/zfs/zap/fat.ts'
import { zapBlocks } from '../../../src/filesystems/zfs/zap/index.ts'
import { compressZle } from '../../../src/filesystems/zfs/zle.ts'
import { readFatZap, readMicroZap } from '../../readers/zap-reader.ts'
import { readSpaceMap } from '../../readers/zfs-reader/check-space.ts'
import { noise } from './support.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** The four sums, word by word with integers. */
function slowFletcher4(bytes: Uint8Array): bigint[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const sums = [0n, 0n, 0n, 0n]
  for (let at = 0; at < bytes.length; at += 4) {
    let carry = BigInt(view.getUint32(at, true))
    for (const index of sums.keys()) {
      sums[index] = ((sums[index] ?? 0n) + carry) & 0xffffffffffffffffn
      carry = sums[index] ?? 0n
    }
  }
  return sums
}

describe('checksums', () => {
  it.each([4, 256, 260, 512, 4096, 131072])('fletcher4 of %i bytes of noise, and of all ones', (size) => {
    for (const bytes of [noise(size, size), new Uint8Array(size).fill(0xff)]) {
      const view = new DataView(fletcher4(bytes).buffer)
      expect([0, 8, 16, 24].map((at) => view.getBigUint64(at, true))).toEqual(slowFletcher4(bytes))
    }
  })

  it('reads words where the memory is not aligned', () => {
    const bytes = noise(1025, 3)
    expect(fletcher4(bytes.subarray(1))).toEqual(fletcher4(bytes.slice(1)))
  })
})

describe('nvlist', () => {
  it('has the bytes of RFC 4506 and the sizes that a reader takes memory by', () => {
    const bytes = encodeNvlist([
      ['txg', nvNumber(31)],
      ['name', nvText('rp')],
      ['on', nvFlag],
    ])
    const expected = [
      '01010000 00000000 00000001',
      '00000020 00000020 00000003 74786700 00000008 00000001 00000000 0000001f',
      '00000020 00000020 00000004 6e616d65 00000009 00000001 00000002 72700000',
      '00000018 00000018 00000002 6f6e0000 00000001 00000000',
      '00000000 00000000',
    ]
    expect(hex(bytes)).toBe(expected.join('').replaceAll(' ', ''))
  })
})

describe('block pointers', () => {
  it('has places and sizes in sectors', () => {
    const pointer = storedPointer(
      { type: 20, level: 1, birthTxg: 4, fill: 7 },
      { logical: 131072, physical: 4096, onDisk: 8192 },
      [0x39000, 0x4039000],
      { compression: COMPRESSION.lz4, checksum: CHECKSUM.fletcher4, checksumWords: new Uint8Array(32).fill(1) },
    )
    const view = new DataView(pointer.bytes.buffer)
    expect([view.getUint32(0, true), view.getBigUint64(8, true), view.getBigUint64(24, true)]).toEqual([16, 0x1c8n, 0x201c8n])
    // Bits of the word as spa.h draws it: sizes, lz4, fletcher4, directory, level 1, little endian.
    expect(view.getBigUint64(48, true)).toBe((0x81n << 56n) | (20n << 48n) | (7n << 40n) | (15n << 32n) | (7n << 16n) | 255n)
    expect(pointer).toMatchObject({ used: 16384, compressed: 4096, uncompressed: 4096 })
  })
})

describe('compression', () => {
  it('stores what does not save an eighth as it is, and pads to units', async () => {
    const spec = { compression: { id: COMPRESSION.lz4 }, checksum: CHECKSUM.fletcher4, blockSize: 131072, unit: 4096, embeds: true }
    const pack = await openPacking(spec)
    const output = new Uint8Array(131072).fill(0xff)
    const bytes = noise(131072)
    expect(pack(bytes, output, true)).toEqual({ compression: COMPRESSION.off, bytes, checksumWords: fletcher4(bytes) })
    const zeros = new Uint8Array(4096)
    expect(pack(zeros, output, true)).toMatchObject({ compression: COMPRESSION.lz4, checksumWords: undefined })
    expect(pack(zeros, output, false)).toEqual({ compression: COMPRESSION.off, bytes: zeros, checksumWords: fletcher4(zeros) })
    const packed = pack(Buffer.alloc(131072, 'words '), output, true)
    expect(packed.checksumWords).toEqual(fletcher4(packed.bytes))
    expect(packed.bytes.length).toBe(4096)
    const length = new DataView(packed.bytes.buffer, packed.bytes.byteOffset).getUint32(0)
    expect(packed.bytes.subarray(4 + length).every((byte) => byte === 0)).toBe(true)
  })

  it('encodes zeros', () => {
    const out = new Uint8Array(64)
    expect(hex(compressZle(Uint8Array.of(1, 2, 0, 0, 0, 3), out) ?? out)).toBe('010102420003')
    expect(compressZle(noise(64), out.subarray(0, 32))).toBeUndefined()
  })
})

describe('ZAPs', () => {
  it('hashes by CRC-64 from the salt on', () => {
    // The check value of CRC-64 of ECMA-182, reflected, without its final complement, from all ones: 0x995dc9bbdf1939fa inverted.
    expect(zapHash(utf8('123456789'), 0xffffffffffffffffn)).toBe(Number((0x995dc9bbdf1939fan ^ 0xffffffffffffffffn) >> 36n))
  })

  it('tells names with the same hash apart', () => {
    const nameOf = (index: number): string => createHash('sha256').update(String(index)).digest('hex').slice(0, 20)
    const names = Array.from({ length: 60_000 }, (_, index) => zapEntry(nameOf(index), index))
    const twins = hashedEntries(names, 0x1234567n).filter(({ collisionDifferentiator }) => collisionDifferentiator > 0)
    expect(twins.length).toBeGreaterThan(0)
    const seen = new Set(hashedEntries(names, 0x1234567n).map(({ hash, collisionDifferentiator }) => `${hash} ${collisionDifferentiator}`))
    expect(seen.size).toBe(names.length)
  })

  it.each([0, 1, 7, 2047])('has %i names in one block', (count) => {
    const entries = Array.from({ length: count }, (_, index) => zapEntry(`name ${index}`, index))
    const zap = zapBlocks(entries, 5n)
    expect(zap.blockCount).toBe(1)
    expect(readMicroZap([...zap.blocks()][0] as Uint8Array)).toEqual(
      new Map(entries.map(({ name, value }) => [Buffer.from(name).toString(), BigInt(value as number)])),
    )
  })

  it.each([0, 1, 2048, 20_000, 60_000])('has %i names in leaves', (count) => {
    const entries = Array.from({ length: count }, (_, index) => zapEntry(`a name that is longer than others ${index}`, index))
    const zap = fatZap(entries, 7n)
    const blocks = [...zap.blocks()]
    expect(blocks.length).toBe(zap.blockCount)
    expect(readFatZap(blocks)).toEqual(new Map(entries.map(({ name, value }) => [Buffer.from(name).toString(), BigInt(value as number)])))
  })

  it('throws LIMIT for more names than its table of leaves can tell apart', () => {
    const value = { integerSize: 1, bytes: new Uint8Array(65535) } as const
    const entries = Array.from({ length: 40 }, (_, index) => zapEntry(`x${index}`, value))
    // Forty values of which two fill a leaf, with names whose hashes begin alike.
    const alike = hashedEntries(
      Array.from({ length: 400_000 }, (_, index) => zapEntry(`x${index}`, value)),
      1n,
    ).slice(0, 40)
    expect(() => fatZap(alike, 1n)).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    expect(fatZap(entries, 1n).blockCount).toBeGreaterThan(20)
  })
})

describe('geometry and space maps', () => {
  it.each([
    [64 << 20, 24],
    [1071644672, 26],
    [4 * 2 ** 30, 28],
    [64 * 2 ** 30, 29],
    [2 ** 40, 33],
  ])('divides %i bytes into metaslabs as OpenZFS does', (size, shift) => {
    expect(geometryOf(size, 12).metaslabShift).toBe(shift)
  })

  it('describes a run in words of 32,768 units', () => {
    const form = { ashift: 12, metaslabShift: 29, hasTwoWordEntries: false, hasHistogram: false }
    expect(hex(spaceMapEntries(0x8001 * 4096, form))).toBe('ff7f0000000000000000008000000000')
  })

  it('describes a longer run in two words where the feature is', () => {
    const form = { ashift: 12, metaslabShift: 29, hasTwoWordEntries: true, hasHistogram: true }
    expect(hex(spaceMapEntries(0x8000 * 4096, form))).toBe('ff7f000000000000')
    // Bits as space_map.h draws them: the prefix 3, the run less one from bit 24 on, no device; and the offset.
    expect(hex(spaceMapEntries(0x8001 * 4096, form))).toBe('00000000800000c00000000000000000')
  })

  it.each([
    [9, 24, true, 4096],
    [9, 34, true, 4096],
    [9, 33, false, 4096],
    [9, 34, false, 8192],
    [12, 34, false, 4096],
  ])(
    'has a block that describes any metaslab: ashift %i, 2^%i bytes, two words: %s',
    (ashift, metaslabShift, hasTwoWordEntries, blockSize) => {
      const form = { ashift, metaslabShift, hasTwoWordEntries, hasHistogram: true }
      expect(spaceMapBlockSize(form)).toBe(blockSize)
      const metaslabSize = 2 ** metaslabShift
      for (const used of [2 ** ashift, metaslabSize / 2 + 2 ** ashift, metaslabSize]) {
        const content = Buffer.alloc(blockSize)
        content.set(spaceMapEntries(used, form))
        const map = { object: 7, blockSize, content, bonus: Buffer.from(spaceMapBonus({ ...form, object: 7, used })) }
        const problems: string[] = []
        const read = (): unknown => readSpaceMap(map, { metaslabSize, ashift }, (what) => problems.push(what))
        expect(read()).toEqual([{ start: 0, end: used }])
        expect(problems).toEqual([])
        content[1] = (content[1] ?? 0) ^ 1
        content[3] = (content[3] ?? 0) ^ 1
        read()
        expect(problems).not.toEqual([])
      }
    },
  )

  it('has a histogram only where the feature is', () => {
    const facts = { object: 134, used: 1 << 20, metaslabShift: 26, ashift: 12, hasTwoWordEntries: true }
    const bonus = spaceMapBonus({ ...facts, hasHistogram: true })
    expect(bonus.length).toBe(320)
    // 63 MiB are free: bucket 13 stands for 2^25 bytes and more.
    expect(new DataView(bonus.buffer).getBigUint64(64 + 8 * 13, true)).toBe(1n)
    expect(spaceMapBonus({ ...facts, hasHistogram: false }).length).toBe(24)
  })
})
