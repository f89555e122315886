import { deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { probablyIncompressible } from '../../src/codecs/incompressible.ts'
import { openCodec, parseCodecSpec } from '../../src/codecs/open.ts'
import { mixed, noise, randomWords, text } from './samples.ts'

/** Text without many repeats, so that its compressed form is long. */
function variedText(length: number): Uint8Array {
  const next = randomWords(11)
  let words = ''
  while (words.length < length) words += `${next().toString(36)} `
  return new TextEncoder().encode(words)
}

describe('probablyIncompressible', () => {
  it.each([4096, 65536, 131072, 2 ** 20])('knows noise and compressed data of %d bytes', (size) => {
    expect(probablyIncompressible(noise(size))).toBe(true)
    const packed = deflateSync(variedText(size * 3))
    expect(packed.length).toBeGreaterThan(size)
    expect(probablyIncompressible(packed.subarray(0, size))).toBe(true)
  })

  it.each([4096, 131072, 2 ** 20])('lets zeros, text and mixtures of %d bytes through', (size) => {
    for (const block of [new Uint8Array(size), text(size), mixed(size), variedText(size).subarray(0, size)]) {
      expect(probablyIncompressible(block)).toBe(false)
    }
  })

  it('lets noise through that repeats itself', () => {
    const block = new Uint8Array(131072)
    block.set(noise(65536))
    block.set(noise(65536), 65536)
    expect(probablyIncompressible(block)).toBe(false)
  })

  it('lets noise through of which a part is text', () => {
    const block = noise(131072)
    block.set(text(8192), 50_000)
    expect(probablyIncompressible(block)).toBe(false)
  })

  it('never judges blocks under 4 KiB', () => {
    expect(probablyIncompressible(noise(4095))).toBe(false)
    expect(probablyIncompressible(new Uint8Array(0))).toBe(false)
  })

  it('gives up less than a hundredth at zstd 19', async () => {
    const codec = await openCodec(parseCodecSpec('zstd'), 2 ** 20)
    const packed = gzipSync(variedText(2 ** 20))
    expect(probablyIncompressible(packed)).toBe(true)
    expect(codec.compress(packed).length).toBeGreaterThan(packed.length * 0.99)
  })
})
