import { createHash, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  formatHash,
  formatHex,
  formatNix32,
  formatSha256,
  formatSri,
  parseNix32,
  parseSha256,
  parseTypedNix32,
  respelledHash,
} from '../../../src/nix/store/hash.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { scratchFolder } from '../scratch.ts'

const EMPTY = createHash('sha256').digest()

describe('SHA-256 spellings', () => {
  it('writes the digest of nothing as Nix does', () => {
    expect(formatNix32(EMPTY)).toBe('0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73')
    expect(formatSri(EMPTY)).toBe('sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=')
    expect(formatHex(EMPTY)).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  })

  it('reads every spelling it writes, for any bytes', () => {
    for (let round = 0; round < 500; round++) {
      const digest = new Uint8Array(randomBytes(32))
      const base64 = `sha256:${Buffer.from(digest).toString('base64')}`
      for (const text of [
        formatSha256(digest),
        formatNix32(digest),
        formatSri(digest),
        formatHex(digest),
        formatHex(digest).toUpperCase(),
        `sha256:${formatHex(digest)}`,
        base64,
      ]) {
        expect(parseSha256(text), text).toEqual({ digest })
      }
    }
  })

  it('writes what nix hash path prints, for any algorithm, and reads typed nix32 again', () => {
    expect(formatHash('sha256', EMPTY, 'sri')).toBe(formatSri(EMPTY))
    expect(formatHash('sha256', EMPTY, 'base16')).toBe(formatHex(EMPTY))
    expect(formatHash('sha256', EMPTY, 'base32')).toBe(formatNix32(EMPTY))
    expect(formatHash('sha256', EMPTY, 'base64')).toBe(EMPTY.toString('base64'))
    for (const algorithm of ['md5', 'sha1', 'sha256', 'sha512']) {
      const digest = createHash(algorithm).digest()
      const typed = respelledHash(formatHash(algorithm, digest, 'sri')) ?? ''
      expect(typed).toBe(`${algorithm}:${formatNix32(digest)}`)
      expect(parseTypedNix32(typed)).toEqual({ algorithm, digest: new Uint8Array(digest) })
    }
  })

  it.each([
    '',
    'sha256',
    'sha256-',
    'sha1-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
    'blake3-AAAA',
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=',
  ])('%j is no SRI hash that Nix knows', (text) => expect(respelledHash(text)).toBeUndefined())

  it.each(['', 'sha256:', 'sha1:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73', 'r:sha256:0', 'git:0'])(
    '%j is no typed nix32',
    (text) => expect(parseTypedNix32(text)).toBeUndefined(),
  )

  it('reads nix32 of any length', () => {
    for (let length = 1; length <= 64; length++) {
      const bytes = new Uint8Array(randomBytes(length))
      expect(parseNix32(formatNix32(bytes), length)).toEqual(bytes)
    }
  })

  it.each([
    ['', 'no SHA-256'],
    ['sha256:', 'no SHA-256'],
    ['md5:1fa7fwmxml3vpa6f1xpgb1gii1j4g6qx', 'a md5 hash'],
    ['sha512-AAAA', 'a sha512 hash'],
    [`sha256:${'e'.repeat(52)}`, 'no SHA-256'],
    // The first of 52 digits has one significant bit only.
    [`sha256:z${'0'.repeat(51)}`, 'no SHA-256'],
    [`sha256:2${'0'.repeat(51)}`, 'no SHA-256'],
    [`sha256:${'0'.repeat(51)}`, 'no SHA-256'],
    [`sha256:${'0'.repeat(53)}`, 'no SHA-256'],
    [`${'0'.repeat(63)}g`, 'no SHA-256'],
    ['sha256-jHcsW27c+WIEC0q92bF5RIYYX1jv9uCMunvQ2it3R7k', 'no SHA-256'],
    ['sha256-jHcsW27c+WIEC0q92bF5RIYYX1jv9uCMunvQ2it3R7l=', 'no SHA-256'],
    ['sha256-jHcsW27c-WIEC0q92bF5RIYYX1jv9uCMunvQ2it3R7k=', 'no SHA-256'],
    ['jHcsW27c+WIEC0q92bF5RIYYX1jv9uCMunvQ2it3R7k=', 'no SHA-256'],
    [`sha256-${'0'.repeat(52)}`, 'no SHA-256'],
    [` sha256:${'0'.repeat(52)}`, 'no SHA-256'],
  ])('refuses %j', (text, reason) => {
    const parsed = parseSha256(text)
    expect('reason' in parsed && parsed.reason).toContain(reason)
  })
})

const nix = oracle('nix-store')
describe.skipIf(nix.skip)('SHA-256 spellings by nix-hash', () => {
  const scratch = scratchFolder()

  it('agrees on files of several lengths', () => {
    for (const length of [0, 1, 100]) {
      const content = randomBytes(length)
      writeFileSync(scratch('file'), content)
      const digest = createHash('sha256').update(content).digest()
      expect(runOk('nix-hash', ['--flat', '--type', 'sha256', '--base32', scratch('file')]).text.trim()).toBe(formatNix32(digest))
      expect(runOk('nix-hash', ['--type', 'sha256', '--to-base16', formatNix32(digest)]).text.trim()).toBe(formatHex(digest))
    }
  })
})
