import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/bytes/text.ts'
import { assignShortNames, caseKey, decodeName, shortNameChecksum } from '../../../src/filesystems/fat/names.ts'

const aliases = (...names: string[]) =>
  assignShortNames(names).map(({ short, longEntryCount }) => `${short.slice(0, 8).trim()}.${short.slice(8).trim()} ${longEntryCount}`)

describe('fat: 8.3 aliases', () => {
  it('needs no long entry for an upper-case 8.3 name', () => {
    expect(aliases('BOOTX64.EFI', 'A', 'README', "A$%'-_@~.!(", '1234567.123')).toEqual([
      'BOOTX64.EFI 0',
      'A. 0',
      'README. 0',
      "A$%'-_@~.!( 0",
      '1234567.123 0',
    ])
  })

  it('keeps an 8.3 name that has lower case, with a long entry', () => {
    expect(aliases('grub.cfg', 'Loader')).toEqual(['GRUB.CFG 1', 'LOADER. 1'])
  })

  it('gives tails to all others', () => {
    expect(
      aliases('The quick brown.fox', 'The quick.fox', 'a.b.c', '.profile', 'x.conf', 'a b', 'a+b', 'ünï', 'name.', '😀😀').slice(0, 8),
    ).toEqual(['THEQUI~1.FOX 2', 'THEQUI~2.FOX 1', 'AB~1.C 1', 'PROFIL~1. 1', 'X~1.CON 1', 'AB~1. 1', 'A_B~1. 1', '_N_~1. 1'])
  })

  it('lets no alias take the name of another file, whatever the order', () => {
    expect(aliases('foo bar.txt', 'FOOBAR~1.TXT', 'foobar~2.txt')).toEqual(['FOOBAR~3.TXT 1', 'FOOBAR~1.TXT 0', 'FOOBAR~2.TXT 1'])
  })

  it('counts on to 10 and to 100000 with a shorter name', () => {
    const names = Array.from({ length: 100_000 }, (_, i) => `long name ${i}.txt`)
    const assigned = assignShortNames(names)
    expect([0, 8, 9, 98, 99, 99_999].map((i) => assigned[i]?.short)).toEqual([
      'LONGNA~1TXT',
      'LONGNA~9TXT',
      'LONGN~10TXT',
      'LONGN~99TXT',
      'LONG~100TXT',
      'L~100000TXT',
    ])
    expect(new Set(assigned.map(({ short }) => short)).size).toBe(names.length)
  })

  it('fills 20 long entries with 255 units', () => {
    expect(assignShortNames(['x'.repeat(255)])[0]?.longEntryCount).toBe(20)
    expect(assignShortNames(['x'.repeat(26)])[0]?.longEntryCount).toBe(2)
    expect(assignShortNames(['x'.repeat(27)])[0]?.longEntryCount).toBe(3)
  })

  it('computes the checksum of fatgen103', () => {
    expect(shortNameChecksum('THEQUI~1FOX')).toBe(0x07)
    expect(shortNameChecksum('           ')).toBe(0xf7)
  })
})

describe('fat: names that are refused', () => {
  it.each([
    ['a:b', /holds ':'/],
    ['a\\b', /FAT allows none/],
    ['a\tb', /control character/],
    ['a?', /holds '\?'/],
    ['dot.', /ends with a dot or a blank/],
    ['blank ', /ends with a dot or a blank/],
    ['..', /no name/],
    ['', /no name/],
  ])('%j', (name, message) => {
    expect(() => decodeName(utf8(name), '/dir')).toThrow(message)
    expect(() => decodeName(utf8(name), '/dir')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  })

  it('not UTF-8', () => {
    expect(() => decodeName(Uint8Array.of(0x61, 0xff), '/')).toThrow('fat: /a\\xff: the name is not UTF-8')
  })

  it('256 UTF-16 units, surrogates counted as two', () => {
    expect(decodeName(utf8('😀'.repeat(127)), '/')).toHaveLength(254)
    expect(() => decodeName(utf8('😀'.repeat(128)), '/')).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })

  it('keeps a byte order mark, which is a character like others here', () => {
    expect(decodeName(utf8('\ufeffx'), '/')).toBe('\ufeffx')
  })

  it('compares without case, a unit at a time', () => {
    expect(caseKey('Straße')).not.toBe(caseKey('STRASSE'))
    expect(caseKey('ÄÖü')).toBe(caseKey('äöÜ'))
  })
})
