/** Records and names against the text of the specifications. */
import { describe, expect, it } from 'vitest'
import { recordingDate, volumeDate } from '../../../src/filesystems/iso9660/disk.ts'
import { bootCatalog, efiSectorCount, patchBootInfoTable } from '../../../src/filesystems/iso9660/el-torito.ts'
import { gptRecords, isohybridGeometry, nixpkgsRecords, type SystemRecord } from '../../../src/filesystems/iso9660/hybrid.ts'
import { compareIdentifiers, type Identifier, isoIdentifiers, jolietIdentifiers } from '../../../src/filesystems/iso9660/names.ts'
import { linkFields } from '../../../src/filesystems/iso9660/rock-ridge.ts'
import { BOOT, BOOT_CODE, bytesOf, DISK_GUID } from './volumes.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const named = (...names: string[]): { name: Uint8Array; isDirectory: boolean }[] =>
  names.map((name) => ({ name: bytesOf(name.replace(/\/$/, '')), isDirectory: name.endsWith('/') }))
const iso = (...names: string[]): string[] => isoIdentifiers(named(...names)).map(({ bytes }) => Buffer.from(bytes).toString())
const joliet = (...names: string[]): string[] =>
  jolietIdentifiers(named(...names)).map(({ bytes }) => Buffer.from(bytes).swap16().toString('utf16le'))

describe('identifiers (ECMA-119 7.5, 7.6)', () => {
  it.each([
    ['readme.txt', 'README.TXT;1'],
    ['nix-store.squashfs', 'NIX_STORE.SQUASHFS;1'],
    ['.boot.cat', '_BOOT.CAT;1'],
    ['.profile', '_PROFILE.;1'],
    ['two.dots.gz', 'TWO_DOTS.GZ;1'],
    ['none', 'NONE.;1'],
    ['trailing.', 'TRAILING.;1'],
    ['\xdf\xff', '__.;1'],
    ['x'.repeat(40), `${'X'.repeat(30)}.;1`],
    [`${'x'.repeat(40)}.longextension`, `${'X'.repeat(22)}.LONGEXTE;1`],
    [`${'d.'.repeat(20)}/`, `${'D_'.repeat(16)}`.slice(0, 31)],
  ])('%s becomes %s', (name, identifier) => {
    expect(iso(name)).toEqual([identifier])
  })

  it('numbers those that collide, in the order of their names', () => {
    expect(iso('b-c', 'b+c', 'b_c', 'b?c')).toEqual(['B_C001.;1', 'B_C.;1', 'B_C003.;1', 'B_C002.;1'])
    expect(iso('foo', 'Foo/')).toEqual(['FOO001.;1', 'FOO'])
    expect(iso('a', 'A', 'a001')).toEqual(['A002.;1', 'A.;1', 'A001.;1'])
    expect(iso(`${'x'.repeat(40)}1`, `${'x'.repeat(40)}2`)).toEqual([`${'X'.repeat(30)}.;1`, `${'X'.repeat(27)}001.;1`])
  })

  it('sorts by name, then extension, each padded with spaces (ECMA-119 9.3)', () => {
    const identifiers = isoIdentifiers(named('a.b', 'a', 'a0', 'a_', 'a.0', 'aa/', 'ab.c', 'a0.x'))
    const sorted = [...identifiers]
      .sort((a: Identifier, b: Identifier) => compareIdentifiers(a, b))
      .map(({ bytes }) => Buffer.from(bytes).toString())
    expect(sorted).toEqual(['A.;1', 'A.0;1', 'A.B;1', 'A0.;1', 'A0.X;1', 'AA', 'AB.C;1', 'A_.;1'])
  })

  it('Joliet: keeps what UCS-2 holds, and the extension of what it cuts', () => {
    expect(joliet('nix-store.squashfs', 'a:b*c', '\xc3\xa9t\xc3\xa9', '\xf0\x9f\x92\xbf', '\xff', 'tab\t')).toEqual([
      'nix-store.squashfs',
      'a_b_c',
      'été',
      '_',
      '_001',
      'tab_',
    ])
    expect(joliet(`${'n'.repeat(80)}.tar`, `${'n'.repeat(81)}.tar`)).toEqual([`${'n'.repeat(60)}.tar`, `${'n'.repeat(57)}001.tar`])
  })
})

describe('dates', () => {
  it('has seven bytes in a record (ECMA-119 9.1.5)', () => {
    expect([...recordingDate(Date.UTC(2024, 1, 29, 12, 34, 56) / 1000, '')]).toEqual([124, 2, 29, 12, 34, 56, 0])
    expect([...recordingDate(1, '')]).toEqual([70, 1, 1, 0, 0, 1, 0])
    expect(() => recordingDate(Date.UTC(2156, 0, 1) / 1000, '/a')).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    expect(() => recordingDate(Date.UTC(1899, 11, 31) / 1000, '/a')).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    expect(() => recordingDate(Number.NaN, '/a')).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })

  it('has seventeen in a descriptor (ECMA-119 8.4.26.1)', () => {
    expect(Buffer.from(volumeDate(315532800)).toString('latin1')).toBe('1980010100000000\0')
    expect(Buffer.from(volumeDate(undefined)).toString('latin1')).toBe('0000000000000000\0')
  })
})

describe('symbolic links (RRIP 4.1.3)', () => {
  it.each([
    ['/', '534c0701000800'],
    ['..', '534c0701000400'],
    ['./a', '534c0a0100020000' + '0161'],
    ['/ab', '534c0b0100' + '0800' + '0002' + '6162'],
    ['a/', '534c0a0100' + '000161' + '0000'],
  ])('%s', (target, bytes) => {
    expect(linkFields(bytesOf(target)).map(hex)).toEqual([bytes])
  })

  it('goes on in the next field in the middle of a component', () => {
    const fields = linkFields(bytesOf(`${'a'.repeat(240)}/${'b'.repeat(100)}`))
    expect(fields.map((field) => field.length)).toEqual([255, 5 + 2 + 94])
    expect([fields[0]?.[4], fields[1]?.[4]]).toEqual([1, 0])
    // The component of `b`: six bytes of it fit, with the CONTINUE flag.
    expect([...(fields[0]?.subarray(247, 249) ?? [])]).toEqual([1, 6])
  })
})

describe('El Torito', () => {
  it('has a validation entry, a BIOS entry and an EFI section', () => {
    const catalog = bootCatalog(BOOT, { bios: { block: 757, size: 38912 }, efi: { block: 37, size: 1474560 } })
    expect(hex(catalog.subarray(0, 128))).toBe(
      [
        '0100000000000000000000000000000000000000000000000000000' + '0aa5555aa',
        `8800000000000400f5020000${'00'.repeat(20)}`,
        `91ef0100${'00'.repeat(28)}`,
        `880000000000400b25000000${'00'.repeat(20)}`,
      ].join(''),
    )
    expect(catalog.subarray(128).every((byte) => byte === 0)).toBe(true)
  })

  it('has EFI as its default entry when that is alone', () => {
    const catalog = bootCatalog({ catalogPath: 'c', efi: { path: 'e' } }, { bios: undefined, efi: { block: 34, size: 4096 } })
    expect(catalog[1]).toBe(0xef)
    expect(hex(catalog.subarray(32, 44))).toBe('880000000000080022000000')
  })

  it('counts sectors of whole blocks, 0 when they do not fit', () => {
    expect([1, 2048, 2049, 65535 * 512 - 4096, 65535 * 512].map(efiSectorCount)).toEqual([4, 4, 8, 65528, 0])
  })

  it('writes 56 bytes of boot info and sums the words behind them', () => {
    const bytes = new Uint8Array(70).fill(1)
    patchBootInfoTable(bytes, 0x1234, 16, '/x')
    expect(hex(bytes.subarray(0, 64))).toBe(`${'01'.repeat(8)}10000000341200004600000002020101${'00'.repeat(40)}`)
    expect(() => {
      patchBootInfoTable(new Uint8Array(63), 1, 16, '/x')
    }).toThrow(expect.objectContaining({ code: 'BAD_INPUT' }))
  })
})

describe('isohybrid geometry', () => {
  it.each([
    [1 << 20, 64, 32, 1 << 20],
    [2 ** 30, 64, 32, 1 << 20],
    [2 ** 30 + 1, 68, 32, 68 * 32 * 512],
    [4 * 2 ** 30, 132, 63, 132 * 63 * 512],
    [20 * 2 ** 30, 255, 63, 2048],
  ])('%d bytes', (size, headsPerCylinder, sectorsPerTrack, alignment) => {
    expect(isohybridGeometry(size)).toEqual({ headsPerCylinder, sectorsPerTrack, alignment })
  })
})

describe('hybrid records', () => {
  const at = {
    totalBlocks: 2560,
    isoPartitionBlocks: 2032,
    geometry: isohybridGeometry(2560 * 2048),
    bios: { block: 757, size: 38912 },
    efi: { block: 37, size: 1474560 },
  }
  const bootRecord = (records: readonly SystemRecord[]): Buffer => Buffer.from(records[0]?.bytes ?? [])

  it('nixpkgs: code with the sector of isolinux.bin, an active slot over everything, one for the EFI image', () => {
    const records = nixpkgsRecords({ kind: 'nixpkgs', diskGuid: DISK_GUID, bootCode: BOOT_CODE, mbrId: 0x7d475c2b }, at)
    const bytes = bootRecord(records)
    expect(bytes.subarray(0, 432).equals(BOOT_CODE)).toBe(true)
    // As xorriso 1.5.4 writes them for the same addresses.
    expect(bytes.toString('hex', 432, 478)).toBe(
      'd40b0000000000002b5c477d000080000100003f20040000000000280000' + '00feffffeffeffff94000000400b0000',
    )
    expect(records.map(({ position }) => position)).toEqual([0, 512, 1024, (10240 - 63) * 512, 10239 * 512])
  })

  it('nixpkgs without EFI image: type 0x17 and no GPT', () => {
    const records = nixpkgsRecords({ kind: 'nixpkgs', diskGuid: DISK_GUID, bootCode: BOOT_CODE }, { ...at, efi: undefined })
    expect(records.length).toBe(1)
    expect(bootRecord(records)[450]).toBe(0x17)
    expect(
      bootRecord(records)
        .subarray(462, 510)
        .every((byte) => byte === 0),
    ).toBe(true)
  })

  it('gpt: a protective MBR, strictly by the specification when there is no boot code', () => {
    const plain = bootRecord(gptRecords({ kind: 'gpt', diskGuid: DISK_GUID }, at))
    expect(plain.subarray(0, 446).every((byte) => byte === 0)).toBe(true)
    expect(plain[450]).toBe(0xee)
    expect(plain.subarray(462, 510).every((byte) => byte === 0)).toBe(true)
    const bootable = bootRecord(gptRecords({ kind: 'gpt', diskGuid: DISK_GUID, bootCode: BOOT_CODE }, at))
    expect(bootable.readUInt32LE(432)).toBe(757 * 4)
    expect([bootable[446], bootable[450], bootable[462], bootable[466]]).toEqual([0, 0xee, 0x80, 0])
  })
})
