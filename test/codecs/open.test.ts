import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import { inflateSync, zstdDecompressSync } from 'node:zlib'
import { inflate } from 'pako'
import { describe, expect, it } from 'vitest'
import type { Codec } from '../../src/codecs/codec.ts'
import { openCodec, parseCodecSpec } from '../../src/codecs/open.ts'
import { oracle, run } from '../oracles/tools.ts'
import { readLz4Block } from '../readers/lz4-reader.ts'
import { KINDS, mixed, noise, text } from './samples.ts'
import { hasXz } from './xz-package.ts'

type Decode = (result: Uint8Array, size: number) => Uint8Array

const SPECS = ['none', 'gzip:1', 'gzip', 'zstd:1', 'zstd:3', 'zstd', 'lz4', 'lz4:hc', ...(hasXz ? ['xz:0', 'xz'] : [])]
const SIZES = [1, 2, 100, 4095, 4096, 4097, 65536, 131072, 2 ** 20]

interface ZstdDecoder {
  decompress(bytes: Uint8Array): Uint8Array | null
}

/** The package has no type declarations. */
const { ZstdCodec } = createRequire(import.meta.url)('zstd-codec') as {
  ZstdCodec: { run(ready: (zstd: { Simple: new () => ZstdDecoder }) => void): void }
}
const zstdCodec = await new Promise<ZstdDecoder>((resolve) => {
  ZstdCodec.run(({ Simple }) => resolve(new Simple()))
})

/** Decoders that share no code with the encoders; two where there are two. */
const DECODERS: Readonly<Record<string, Readonly<Record<string, Decode>>>> = {
  none: { itself: (result) => result },
  gzip: { zlib: (result) => inflateSync(result), pako: (result) => inflate(result) },
  zstd: {
    libzstd: (result) => zstdDecompressSync(result),
    'zstd-codec': (result) => {
      const bytes = zstdCodec.decompress(result)
      if (bytes === null) throw new Error('zstd-codec refuses the frame')
      return bytes
    },
  },
  lz4: { reader: (result, size) => readLz4Block(result, size).bytes },
  xz: oracle('xz').skip ? {} : { xz: (result) => piped('xz', ['-dc', '-T1'], result) },
}

function piped(tool: string, args: string[], input: Uint8Array): Uint8Array {
  const result = run(tool, args, { input })
  if (result.status !== 0) throw new Error(`${tool}: ${result.stderr}`)
  return result.stdout
}

function decodersOf(codec: Codec): [string, Decode][] {
  return Object.entries(DECODERS[codec.spec.name] ?? {})
}

describe.each(SPECS)('%s', (spec) => {
  it('blocks of all sizes and kinds come back', async () => {
    for (const blockSize of [131072, 2 ** 20]) {
      const codec = await openCodec(parseCodecSpec(spec), blockSize)
      expect(codec).toMatchObject({ spec: parseCodecSpec(spec), blockSize })
      for (const size of SIZES) {
        // The larger codec proves itself at the sizes only it takes, and at one below.
        if (size > blockSize || (blockSize > 131072 && size !== 4097 && size < blockSize)) continue
        for (const [kind, make] of Object.entries(KINDS)) {
          const block = make(size)
          const before = block.slice()
          const result = codec.compress(block)
          for (const [name, decode] of decodersOf(codec)) {
            if (Buffer.compare(decode(result, size), before) !== 0) expect.fail(`${kind} of ${size}: ${name} reads something else`)
          }
          expect(Buffer.compare(block, before)).toBe(0)
        }
      }
    }
  })

  it('is deterministic: a second codec, another thread, other blocks before', async () => {
    const blockSize = 65536
    const blocks = [text(65536), mixed(65536), new Uint8Array(65536), noise(1000), text(1), mixed(30_000), text(65536)]
    const first = await openCodec(parseCodecSpec(spec), blockSize)
    const second = await openCodec(parseCodecSpec(spec), blockSize)
    const results = blocks.map((block) => new Uint8Array(first.compress(block)))
    for (const index of [6, 2, 5, 0, 3, 4, 1]) {
      const block = blocks[index] as Uint8Array
      expect(Buffer.compare(second.compress(block), results[index] as Uint8Array)).toBe(0)
      expect(Buffer.compare(first.compress(block), results[index] as Uint8Array)).toBe(0)
    }
    const threads = await Promise.all([inThread(spec, blockSize, blocks), inThread(spec, blockSize, blocks.toReversed())])
    expect(threads[0]?.map(hex)).toEqual(results.map(hex))
    expect(threads[1]?.toReversed().map(hex)).toEqual(results.map(hex))
  })

  it('takes a block that is a part of a larger buffer', async () => {
    const codec = await openCodec(parseCodecSpec(spec), 4096)
    const buffer = mixed(10_000)
    const whole = new Uint8Array(codec.compress(buffer.slice(777, 777 + 4096)))
    expect(Buffer.compare(codec.compress(buffer.subarray(777, 777 + 4096)), whole)).toBe(0)
  })

  it('a mutated result does not decode to the block', async () => {
    const codec = await openCodec(parseCodecSpec(spec), 4096)
    const block = text(4096)
    const good = new Uint8Array(codec.compress(block))
    for (const [name, decode] of decodersOf(codec)) {
      for (const at of [0, good.length >> 1]) {
        const bad = good.slice()
        bad[at] = (bad[at] ?? 0) ^ 0x55
        let decoded: Uint8Array | undefined
        try {
          decoded = decode(bad, block.length)
        } catch {}
        if (decoded !== undefined && Buffer.compare(decoded, block) === 0) expect.fail(`${name} overlooks byte ${at}`)
      }
    }
  })
})

describe.each(['gzip:1', 'zstd:1'])('%s', (spec) => {
  it('does not pile up its results', async () => {
    const codec = await openCodec(parseCodecSpec(spec), 2 ** 20)
    const block = new Uint8Array(2 ** 20)
    codec.compress(block)
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < 20; i++) codec.compress(block)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 2 ** 20)
  })
})

describe('ratio', () => {
  it('a higher level is not worse on text', async () => {
    const sizes: Record<string, number> = {}
    for (const spec of SPECS) sizes[spec] = (await openCodec(parseCodecSpec(spec), 131072)).compress(text(131072)).length
    expect(sizes['none']).toBe(131072)
    expect(sizes['gzip']).toBeLessThan(sizes['gzip:1'] ?? 0)
    expect(sizes['zstd']).toBeLessThan(sizes['zstd:1'] ?? 0)
    expect(sizes['lz4:hc']).toBeLessThan(sizes['lz4'] ?? 0)
    expect(sizes['zstd']).toBeLessThan(sizes['gzip'] ?? 0)
  })
})

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

async function inThread(spec: string, blockSize: number, blocks: Uint8Array[]): Promise<Uint8Array[]> {
  const worker = new Worker(new URL('./codec-worker.ts', import.meta.url))
  try {
    return await new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
      worker.postMessage({ spec, blockSize, blocks })
    })
  } finally {
    await worker.terminate()
  }
}
