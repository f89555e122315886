import { describe, expect, it } from 'vitest'
import { lz4FastNative, lz4HighNative } from '../../src/codecs/lz4.ts'
import { lz4Bound, lz4FastTwin, lz4HighTwin } from '../../src/codecs/lz4-twin.ts'
import { oracle, run } from '../oracles/tools.ts'
import { readLz4Block } from '../readers/lz4-reader.ts'
import { KINDS, mixed, noise, randomWords, text } from './samples.ts'

const BLOCK_SIZE = 2 ** 20

function modes() {
  return [
    { mode: 'fast', native: lz4FastNative(BLOCK_SIZE), twin: lz4FastTwin(BLOCK_SIZE) },
    { mode: 'hc', native: lz4HighNative(BLOCK_SIZE), twin: lz4HighTwin(BLOCK_SIZE) },
  ] as const
}

/** Blocks of every kind at sizes about the limits of the format. */
function* samples(): Generator<{ name: string; block: Uint8Array }> {
  const sizes = [...Array.from({ length: 40 }, (_, index) => index + 1), 255, 270, 271, 4095, 4096, 65535, 65536, 65537, 131072]
  for (const [kind, make] of Object.entries(KINDS)) {
    for (const size of sizes) yield { name: `${kind} of ${size}`, block: make(size) }
  }
  // Literal runs and match lengths about the steps of their length bytes.
  for (const length of [14, 15, 16, 18, 19, 20, 269, 270, 271, 273, 274, 275, 524, 525, 529, 530]) {
    const block = new Uint8Array(length * 2 + 40).fill(1)
    block.set(noise(length, length + 7))
    yield { name: `run of ${length}`, block }
  }
  for (const distance of [65534, 65535, 65536, 65537, 131072]) {
    const block = noise(distance + 200, distance)
    block.set(block.subarray(50, 150), 50 + distance)
    yield { name: `repeat at distance ${distance}`, block }
  }
}

describe.each(modes())('lz4 $mode', ({ mode, native, twin }) => {
  if (native === undefined) throw new Error('this test needs WebAssembly')

  it('module and twin make the same bytes, which decode to the block', () => {
    for (const { name, block } of samples()) {
      const expected = twin(block)
      const result = native(block)
      if (Buffer.compare(result, expected) !== 0) expect.fail(`${name}: module and twin differ`)
      if (Buffer.compare(readLz4Block(result, block.length).bytes, block) !== 0) expect.fail(`${name}: decoded to something else`)
      if (result.length > lz4Bound(block.length)) expect.fail(`${name}: ${result.length} bytes are more than the bound`)
    }
  })

  it.each(Object.keys(KINDS))('module and twin make the same bytes of 1 MiB of %s', (kind) => {
    const block = KINDS[kind]?.(BLOCK_SIZE) ?? new Uint8Array(1)
    const result = native(block)
    expect(Buffer.compare(result, twin(block))).toBe(0)
    expect(Buffer.compare(readLz4Block(result, block.length).bytes, block)).toBe(0)
  })

  it('module and twin make the same bytes of 400 random mixtures', () => {
    const next = randomWords(99)
    for (let round = 0; round < 400; round++) {
      const block = mixed(1 + (next() % 3000), next() | 1)
      const result = native(block)
      if (Buffer.compare(result, twin(block)) !== 0) expect.fail(`round ${round}: module and twin differ`)
      if (Buffer.compare(readLz4Block(result, block.length).bytes, block) !== 0) expect.fail(`round ${round}: decoded to something else`)
    }
  })

  it('reaches back 65535 bytes and no further', () => {
    for (const [distance, reached] of [
      [65535, true],
      [65536, false],
    ] as const) {
      const block = new Uint8Array(distance + 200)
      block.set(noise(100), 0)
      block.set(noise(100), distance)
      const found = readLz4Block(native(block), block.length).matches.some((match) => match.offset === distance)
      expect(found).toBe(reached)
    }
  })

  it('a block does not depend on the blocks before it', () => {
    const blocks = [text(70_000), mixed(70_000), noise(20), new Uint8Array(70_000), text(4096)]
    const first = blocks.map((block) => native(block).slice())
    for (const index of [4, 0, 3, 1, 2, 0, 4]) {
      expect(Buffer.compare(native(blocks[index] as Uint8Array), first[index] as Uint8Array)).toBe(0)
    }
  })

  it('a full block of noise keeps within the bound', () => {
    const { length } = native(noise(BLOCK_SIZE))
    expect(length).toBeGreaterThan(BLOCK_SIZE)
    expect(length).toBeLessThanOrEqual(lz4Bound(BLOCK_SIZE))
  })

  it('the reader refuses or changes every mutated block', () => {
    const block = mixed(500)
    const good = native(block).slice()
    for (let at = 0; at < good.length; at++) {
      const bad = good.slice()
      bad[at] = (bad[at] ?? 0) ^ 0x11
      let decoded: Uint8Array | undefined
      try {
        decoded = readLz4Block(bad, block.length).bytes
      } catch {}
      // An offset may point at another copy of the same bytes; anything else must show.
      if (decoded !== undefined && Buffer.compare(decoded, block) === 0) {
        const offsets = readLz4Block(bad, block.length).matches.map((match) => match.offset)
        expect(offsets).not.toEqual(readLz4Block(good, block.length).matches.map((match) => match.offset))
      }
    }
    expect(() => readLz4Block(good.subarray(0, good.length - 1), block.length)).toThrow()
    expect(() => readLz4Block(good, block.length - 1)).toThrow()
    expect(() => readLz4Block(good, block.length + 1)).toThrow('content is')
  })

  describe.skipIf(oracle('lz4').skip)('by the lz4 tool', () => {
    it('decodes the blocks in a legacy frame', () => {
      for (const block of [
        text(1),
        new Uint8Array(13),
        text(300),
        mixed(65537),
        noise(4096),
        mixed(BLOCK_SIZE),
        new Uint8Array(BLOCK_SIZE),
      ]) {
        const result = run('lz4', ['-d', '-c'], { input: legacyFrame(native(block)) })
        expect(result).toMatchObject({ status: 0, stderr: '' })
        expect(Buffer.compare(result.stdout, block)).toBe(0)
      }
    })

    it('refuses or changes a mutated block', () => {
      const frame = legacyFrame(native(text(5000)))
      frame[20] = (frame[20] ?? 0) ^ 0xff
      const result = run('lz4', ['-d', '-c'], { input: frame })
      expect(result.status !== 0 || Buffer.compare(result.stdout, text(5000)) !== 0).toBe(true)
    })

    it('is not far behind the tool in size', () => {
      const block = mixed(BLOCK_SIZE, 17)
      const tool = run('lz4', [mode === 'fast' ? '-1' : '-12', '-BD', '-B6', '-c'], { input: block })
      expect(native(block).length).toBeLessThan(tool.stdout.length * 1.02)
    })
  })
})

/** Magic number 0x184C2102, then the size of the block and the block (LZ4 Frame Format, "Legacy frame"). */
function legacyFrame(block: Uint8Array): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt32LE(0x184c2102, 0)
  header.writeUInt32LE(block.length, 4)
  return Buffer.concat([header, block])
}
