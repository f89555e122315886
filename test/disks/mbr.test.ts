import { describe, expect, it } from 'vitest'
import { chs, mbr, PARTITION_TYPE, protectiveMbr } from '../../src/disks/mbr/index.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('chs', () => {
  it.each([
    [0, '000100'],
    [62, '003f00'],
    [63, '010100'],
    [255 * 63, '000101'],
    [255 * 63 * 256, '004100'],
    [255 * 63 * 1024 - 1, 'feffff'],
    [255 * 63 * 1024, 'ffffff'],
    [2 ** 40, 'ffffff'],
  ])('sector %d is %s', (sector, bytes) => {
    expect(hex(chs(sector))).toBe(bytes)
  })

  it('takes other geometries', () => {
    expect(hex(chs(10239, { headsPerCylinder: 64, sectorsPerTrack: 32 }))).toBe('3f2004')
  })
})

describe('mbr', () => {
  it('has code, signature, four slots and 55 aa (UEFI 2.10, table 5.1)', () => {
    const bytes = mbr({
      bootCode: new Uint8Array(440).fill(0xcc),
      diskSignature: 0x12345678,
      partitions: [{ active: true, type: PARTITION_TYPE.efiSystem, startSector: 2048, sectorCount: 4096 }],
    })
    expect(bytes.length).toBe(512)
    expect(hex(bytes.subarray(438, 446))).toBe('cccc785634120000')
    expect(hex(bytes.subarray(446, 462))).toBe('80202100ef61210000080000' + '00100000')
    expect(bytes.subarray(462, 510).every((byte) => byte === 0)).toBe(true)
    expect(hex(bytes.subarray(510))).toBe('55aa')
  })

  it('refuses what does not fit', () => {
    const partition = { type: 0x83, startSector: 1, sectorCount: 1 }
    expect(() => mbr({ partitions: Array.from({ length: 5 }, () => partition) })).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    expect(() => mbr({ bootCode: new Uint8Array(441), partitions: [] })).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    expect(() => mbr({ partitions: [{ ...partition, startSector: 2 ** 32 }] })).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })
})

describe('protective mbr', () => {
  it('has one entry from sector 1 to the end (UEFI 2.10, 5.2.3)', () => {
    const bytes = protectiveMbr({ diskSectorCount: 6144 })
    expect(hex(bytes.subarray(446, 462))).toBe('00000200ee612100' + '01000000' + 'ff170000')
    expect(bytes.subarray(462, 510).every((byte) => byte === 0)).toBe(true)
  })

  it('says the largest number for disks beyond 2 TiB', () => {
    expect(hex(protectiveMbr({ diskSectorCount: 2 ** 33 }).subarray(446, 462))).toBe('00000200eeffffff01000000ffffffff')
  })

  it('has an active entry of type 0 where a BIOS asks for one, and never marks the protective entry', () => {
    const bytes = protectiveMbr({ diskSectorCount: 6144, forceBootable: true })
    expect(bytes[446]).toBe(0)
    expect(hex(bytes.subarray(462, 478))).toBe('80000100000001000000000001000000')
  })
})
