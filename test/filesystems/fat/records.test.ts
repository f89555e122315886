import { describe, expect, it } from 'vitest'
import { fat } from '../../../src/filesystems/fat/index.ts'
import { fatTime } from '../../../src/filesystems/fat/time.ts'
import { directory, file, hole, imageBytes, MTIME, noise } from './support.ts'

const VOLUME = { label: 'EFIBOOT', volumeSerial: 0x12345678, hiddenSectors: 2048, mtimeSeconds: MTIME } as const

describe('fat: boot records against fatgen103', () => {
  it('writes the boot sector of FAT12', async () => {
    const image = await imageBytes(fat(directory({ A: file('a') }), { ...VOLUME, type: 12, size: 3 << 20, clusterSize: 2048 }))
    expect(image.toString('hex', 0, 3)).toBe('eb3c90')
    expect(image.toString('latin1', 3, 11)).toBe('MSWIN4.1')
    expect(image.readUInt16LE(11)).toBe(512)
    expect(image.readUInt8(13)).toBe(4)
    expect(image.readUInt16LE(14)).toBe(1)
    expect(image.readUInt8(16)).toBe(2)
    expect(image.readUInt16LE(17)).toBe(512)
    expect(image.readUInt16LE(19)).toBe(6144)
    expect(image.readUInt8(21)).toBe(0xf8)
    expect(image.readUInt16LE(22)).toBe(5)
    expect(image.readUInt16LE(24)).toBe(32)
    expect(image.readUInt16LE(26)).toBe(2)
    expect(image.readUInt32LE(28)).toBe(2048)
    expect(image.readUInt32LE(32)).toBe(0)
    expect(image.toString('hex', 36, 39)).toBe('800029')
    expect(image.readUInt32LE(39)).toBe(0x12345678)
    expect(image.toString('latin1', 43, 54)).toBe('EFIBOOT    ')
    expect(image.toString('latin1', 54, 62)).toBe('FAT12   ')
    expect(image.toString('hex', 510, 512)).toBe('55aa')
  })

  it('writes the 32-bit sector count from 65536 sectors on', async () => {
    const below = await imageBytes(fat(directory({}), { size: 65535 * 512 }))
    const above = await imageBytes(fat(directory({}), { size: 65536 * 512 }))
    expect([below.readUInt16LE(19), below.readUInt32LE(32)]).toEqual([65535, 0])
    expect([above.readUInt16LE(19), above.readUInt32LE(32)]).toEqual([0, 65536])
  })

  it.each([512, 4096] as const)('writes the boot record of FAT32 twice, sectors of %i bytes', async (sectorSize) => {
    const image = await imageBytes(fat(directory({ A: file('a') }), { ...VOLUME, type: 32, sectorSize }))
    for (const start of [0, 6 * sectorSize]) {
      const boot = image.subarray(start)
      expect(boot.toString('hex', 0, 3)).toBe('eb5890')
      expect(boot.readUInt16LE(11)).toBe(sectorSize)
      expect(boot.readUInt16LE(14)).toBe(32)
      expect(boot.readUInt16LE(17)).toBe(0)
      expect(boot.readUInt16LE(19)).toBe(0)
      expect(boot.readUInt16LE(22)).toBe(0)
      expect(boot.readUInt32LE(32)).toBe(image.length / sectorSize)
      expect(boot.readUInt32LE(36)).toBe(Math.ceil(((65542 + 2) * 4) / sectorSize))
      expect(boot.toString('hex', 40, 52)).toBe('000000000200000001000600')
      expect(boot.toString('hex', 52, 64)).toBe('00'.repeat(12))
      expect(boot.toString('hex', 64, 67)).toBe('800029')
      expect(boot.readUInt32LE(67)).toBe(0x12345678)
      expect(boot.toString('latin1', 71, 82)).toBe('EFIBOOT    ')
      expect(boot.toString('latin1', 82, 90)).toBe('FAT32   ')
      expect(boot.toString('hex', 510, 512)).toBe('55aa')
      const info = boot.subarray(sectorSize)
      expect(info.readUInt32LE(0)).toBe(0x41615252)
      expect(info.readUInt32LE(484)).toBe(0x61417272)
      expect(info.readUInt32LE(488)).toBe(65542 - 2)
      expect(info.readUInt32LE(492)).toBe(4)
      expect(info.readUInt32LE(508)).toBe(0xaa550000)
      expect(boot.subarray(2 * sectorSize).toString('hex', 510, 512)).toBe('55aa')
    }
  })

  it('names a cluster that exists as the next free one of a full FAT32', async () => {
    const image = await imageBytes(fat(directory({ FULL: hole(65541 * 512) }), { type: 32, clusterSize: 512 }))
    expect(image.readUInt32LE(512 + 488)).toBe(0)
    expect(image.readUInt32LE(512 + 492)).toBe(65542 + 1)
  })
})

describe('fat: file allocation tables against fatgen103', () => {
  const tree = directory({ A: file(noise(1200)), B: file(noise(600)), EMPTY: file(''), C: file('c') })

  it('packs 12-bit entries', async () => {
    const image = await imageBytes(fat(tree, { type: 12, clusterSize: 512 }))
    // Media and end mark; 2 -> 3 -> 4 -> end; 5 -> 6 -> end; 7 end.
    const entries = [0xff8, 0xfff, 3, 4, 0xfff, 6, 0xfff, 0xfff]
    const packed = Buffer.alloc(12)
    for (let i = 0; i < entries.length; i += 2) packed.writeUIntLE(((entries[i + 1] ?? 0) << 12) | (entries[i] ?? 0), (i / 2) * 3, 3)
    expect(image.subarray(512, 524)).toEqual(packed)
    expect(image.subarray(524, 1024).every((byte) => byte === 0)).toBe(true)
    expect(image.subarray(1024, 1536)).toEqual(image.subarray(512, 1024))
  })

  it('writes 16-bit and 32-bit entries', async () => {
    const fat16 = await imageBytes(fat(tree, { type: 16, clusterSize: 512 }))
    expect(Array.from({ length: 9 }, (_, i) => fat16.readUInt16LE(512 + i * 2))).toEqual([
      0xfff8, 0xffff, 3, 4, 0xffff, 6, 0xffff, 0xffff, 0,
    ])
    const fat32 = await imageBytes(fat(tree, { type: 32, clusterSize: 512 }))
    const end = 0x0fffffff
    expect(Array.from({ length: 9 }, (_, i) => fat32.readUInt32LE(32 * 512 + i * 4))).toEqual([
      0x0ffffff8,
      end,
      end,
      4,
      5,
      end,
      7,
      end,
      end,
    ])
  })
})

describe('fat: directory entries against fatgen103', () => {
  it('writes label, short and long entries', async () => {
    const image = await imageBytes(
      fat(directory({ 'The quick brown.fox': file('abc') }), { ...VOLUME, type: 12, clusterSize: 512, rootEntryCount: 16 }),
    )
    const root = image.subarray(3 * 512)
    expect(root.toString('latin1', 0, 11)).toBe('EFIBOOT    ')
    expect(root[11]).toBe(0x08)
    // The example of fatgen103, "FAT Long Directory Entries": two long entries before THEQUI~1.FOX.
    expect(root.toString('hex', 32, 64)).toBe('4277006e002e0066006f000f000778000000ffffffffffffffff0000ffffffff')
    expect(root.toString('hex', 64, 96)).toBe('01540068006500200071000f00077500690063006b0020006200000072006f00')
    expect(root.toString('latin1', 96, 107)).toBe('THEQUI~1FOX')
    expect(root[107]).toBe(0x20)
    expect(root[108]).toBe(0)
    expect(root.readUInt16LE(96 + 26)).toBe(2)
    expect(root.readUInt32LE(96 + 28)).toBe(3)
    const { date, time } = fatTime(MTIME)
    expect([root.readUInt16LE(96 + 14), root.readUInt16LE(96 + 22)]).toEqual([time, time])
    expect([root.readUInt16LE(96 + 16), root.readUInt16LE(96 + 18), root.readUInt16LE(96 + 24)]).toEqual([date, date, date])
    expect(root.subarray(128, 512).every((byte) => byte === 0)).toBe(true)
  })

  it('splits cluster numbers above 65535 and writes cluster 0 for the root in ".."', async () => {
    const tree = directory({ BIG: hole(70_000 * 512), SUB: directory({ SUB: directory({ X: file('x') }) }) })
    const image = await imageBytes(fat(tree, { type: 32, clusterSize: 512 }))
    const dataStart = (32 + 2 * image.readUInt32LE(36)) * 512
    const cluster = (n: number) => image.subarray(dataStart + (n - 2) * 512)
    expect([cluster(2).readUInt16LE(20), cluster(2).readUInt16LE(26)]).toEqual([0, 5])
    expect(cluster(3).toString('latin1', 32, 43)).toBe('..         ')
    expect(cluster(3).readUInt16LE(32 + 26)).toBe(0)
    expect(cluster(4).readUInt16LE(32 + 26)).toBe(3)
    const x = cluster(4).subarray(64)
    expect(x.readUInt16LE(20) * 65536 + x.readUInt16LE(26)).toBe(5 + 70_000)
  })
})

describe('fat: times', () => {
  it.each([
    ['1980-01-01T00:00:00Z', 0x0021, 0],
    ['2021-05-06T07:08:11Z', (41 << 9) | (5 << 5) | 6, (7 << 11) | (8 << 5) | 5],
    ['2107-12-31T23:59:59Z', (127 << 9) | (12 << 5) | 31, (23 << 11) | (59 << 5) | 29],
    ['1970-01-01T00:00:01Z', 0x0021, 0],
    ['2200-01-01T00:00:00Z', (127 << 9) | (12 << 5) | 31, (23 << 11) | (59 << 5) | 29],
  ])('writes %s', (text, date, time) => {
    expect(fatTime(Date.parse(text) / 1000)).toEqual({ date, time })
  })
})
