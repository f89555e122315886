/** Compressed streams: one each, as the kernel's unpacker wants them, and the same whoever makes them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, inflateRawSync, constants as zlib, zstdCompressSync } from 'node:zlib'
import { ungzip } from 'pako'
import { describe, expect, it } from 'vitest'
import { parseCodecSpec } from '../../src/codecs/open.ts'
import { compressedImage } from '../../src/codecs/stream/index.ts'
import { bytesImage } from '../../src/io/image.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { readLz4LegacyFrame } from '../readers/lz4-legacy-reader.ts'
import { readXzStream } from '../readers/xz-stream-reader.ts'
import { readZstdFrame } from '../readers/zstd-frame-reader.ts'
import { KINDS, noise, text } from './samples.ts'
import { codecName, compress, content, decompress, pack, SPECS, TOOLS } from './stream-support.ts'
import { hasXz } from './xz-package.ts'

const MIB = 1 << 20
/** More than one block of every format but lz4, and a block that is not full. */
const LARGE = content(3 * MIB + 12_345)
const LAST = { isLastMember: true }
/** Around the blocks of the formats: 256 KiB, 1 MiB. */
const SIZES = [0, 1, 5, 4096, 256 << 10, (256 << 10) + 1, MIB, MIB + 1, 2 * MIB]

interface ZstdDecoder {
  decompress(bytes: Uint8Array): Uint8Array | null
}

/** The package has no type declarations. */
const { ZstdCodec } = createRequire(import.meta.url)('zstd-codec') as {
  ZstdCodec: { run(ready: (zstd: { Simple: new () => ZstdDecoder }) => void): void }
}
const zstdCodec = await new Promise<ZstdDecoder>((resolve) => ZstdCodec.run(({ Simple }) => resolve(new Simple())))

/** What a tool lists of a stream, which it wants as a file. */
function listedBy([tool, ...args]: [string, ...string[]], stream: Buffer): string {
  const folder = mkdtempSync(join(tmpdir(), 'kilnix-stream-'))
  try {
    writeFileSync(join(folder, 'stream'), stream)
    return runOk(tool, [...args, join(folder, 'stream')]).text
  } finally {
    rmSync(folder, { recursive: true })
  }
}

describe.each(SPECS)('%s', (spec) => {
  const tool = TOOLS[codecName(spec)]?.[0] ?? ''

  it('does not depend on the number of workers, on the thread, or on where it lies', async () => {
    const one = await pack(LARGE, spec, { jobs: 1 })
    for (const jobs of [2, 7]) expect((await pack(LARGE, spec, { jobs })).equals(one)).toBe(true)
    expect((await pack(LARGE, spec, { threads: 'none' })).equals(one)).toBe(true)
    expect((await pack(LARGE, spec, {}, {}, 4097)).equals(one)).toBe(true)
  })

  it('does not depend on how the image is cut into extents and chunks', async () => {
    const start = 300_000
    const chunks = [1, 70_000, 65_537, 0, 1_000_000, LARGE.length]
    async function* read(): AsyncGenerator<Uint8Array> {
      let at = 0
      for (const length of chunks) {
        yield LARGE.subarray(at, at + length)
        at = Math.min(LARGE.length, at + length)
      }
    }
    const whole = Buffer.concat([Buffer.alloc(start), LARGE, Buffer.alloc(MIB)])
    const image = { size: whole.length, extents: [{ start, length: LARGE.length, read }] }
    expect((await pack(image, spec)).equals(await pack(whole, spec))).toBe(true)
  })

  it.skipIf(oracle(tool).skip)(`${tool} reads contents of all sizes, and of all kinds`, async () => {
    for (const size of SIZES) {
      const bytes = LARGE.subarray(0, size)
      expect(decompress(spec, await pack(bytes, spec, {}, LAST)).equals(bytes), `${size} bytes`).toBe(true)
    }
    for (const [kind, make] of Object.entries(KINDS)) {
      const bytes = make(MIB + 1000)
      expect(decompress(spec, await pack(bytes, spec, {}, LAST)).equals(bytes), kind).toBe(true)
    }
  })

  it.skipIf(oracle(tool).skip)(`${tool} sees when a byte is another, is missing, or is one too many`, async () => {
    const bytes = text(2 * MIB)
    const good = await pack(bytes, spec, {}, LAST)
    const half = good.length >> 1
    // In the first bytes, in a block, and in the end; an lz4 frame has no end.
    for (const at of [0, half, ...(codecName(spec) === 'lz4' ? [] : [good.length - 1])]) {
      const bad = Buffer.from(good)
      bad[at] = (bad[at] ?? 0) ^ 0x55
      let read: Buffer | undefined
      try {
        read = decompress(spec, bad)
      } catch {}
      expect(read?.equals(bytes), `byte ${at}`).not.toBe(true)
    }
    for (const bad of [good.subarray(0, -1), Buffer.concat([good, Buffer.from('x')])]) expect(() => decompress(spec, bad)).toThrow()
  })

  it('keeps within its limit for content that cannot be compressed', async () => {
    const bytes = Buffer.concat([noise(MIB), noise(MIB, 7), noise(300_000, 9)])
    for (const size of [0, 1, 1000, MIB, bytes.length]) {
      const codec = parseCodecSpec(spec)
      const stream = await pack(bytes.subarray(0, size), spec)
      const { sizeLimit } = compressedImage(bytesImage(bytes.subarray(0, size)), { codec })
      expect(stream.length).toBeLessThanOrEqual(sizeLimit)
    }
  })

  it('is one of what a compressor makes, in chunks of any size', async () => {
    // zstd has other bytes above a block.
    const bytes = codecName(spec) === 'zstd' ? LARGE.subarray(0, MIB) : LARGE
    const packed = await pack(bytes, spec)
    for (const chunkSize of [997, 65_536, MIB, 5 * MIB]) {
      const size = chunkSize < 1000 ? 400_000 : bytes.length
      const expected = size === bytes.length ? packed : await pack(bytes.subarray(0, size), spec)
      expect((await compress(bytes.subarray(0, size), spec, chunkSize)).equals(expected), `chunks of ${chunkSize}`).toBe(true)
    }
    expect((await compress(Buffer.alloc(0), spec, 1)).equals(await pack(Buffer.alloc(0), spec))).toBe(true)
  })
})

describe('gzip', () => {
  it('is one member with a plain header: no flags, no time (RFC 1952)', async () => {
    for (const [spec, extraFlags] of [
      ['gzip:1', 4],
      ['gzip:6', 0],
      ['gzip:9', 2],
    ] as const) {
      const stream = await pack(LARGE, spec)
      expect([...stream.subarray(0, 10)]).toEqual([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extraFlags, 255])
      const { buffer, engine } = inflateRawSync(stream.subarray(10), { info: true }) as unknown as {
        readonly buffer: Buffer
        readonly engine: { readonly bytesWritten: number }
      }
      expect(buffer.equals(LARGE)).toBe(true)
      // Of what is left, eight bytes are the trailer.
      expect(stream.length - 10 - engine.bytesWritten).toBe(8)
      expect(stream.readUInt32LE(stream.length - 8)).toBe(crc32(LARGE))
      expect(stream.readUInt32LE(stream.length - 4)).toBe(LARGE.length)
    }
  })

  it('is read by pako', async () => {
    const bytes = LARGE.subarray(0, MIB)
    expect(Buffer.compare(ungzip(await pack(bytes, 'gzip:9')), bytes)).toBe(0)
  })

  it('looks back over the seams of its blocks', async () => {
    const tile = noise(20_000)
    const bytes = Buffer.concat(Array.from({ length: 60 }, () => tile))
    // Each of the four seams would cost a tile.
    expect((await pack(bytes, 'gzip:9')).length).toBeLessThan(2 * tile.length)
  })
})

describe('zstd', () => {
  it.each([1, 10, 19, 22])('level %d: one frame, a checksum, a window within 2^27', async (level) => {
    const bytes = content(level > 15 ? 1.2 * MIB : 20 * MIB)
    const stream = await pack(bytes, `zstd:${level}`)
    const frame = readZstdFrame(stream)
    expect(frame).toMatchObject({ hasChecksum: true, dictionaryId: 0, contentSize: bytes.length, frameSize: stream.length })
    expect(frame.windowSize).toBeLessThanOrEqual(2 ** 27)
    const made = await compress(bytes, `zstd:${level}`, 300_000)
    const other = readZstdFrame(made)
    expect(other).toMatchObject({ hasChecksum: true, dictionaryId: 0, contentSize: undefined, frameSize: made.length })
    expect(other.windowSize).toBeLessThanOrEqual(2 ** 27)
    if (oracle('zstd').skip) return
    for (const one of [stream, made]) expect(decompress('zstd', one).equals(bytes)).toBe(true)
    const listed = listedBy(['zstd', '-lv'], stream)
    expect(listed).toMatch(/Number of files listed: 1|# Zstandard Frames: 1/)
    expect(listed).toContain('Check: XXH64')
  })

  it('has the same bytes from any number of threads, over several jobs of theirs', async () => {
    const bytes = content(26 * MIB)
    const streams = await Promise.all([1, 2, 4].map((jobs) => pack(bytes, 'zstd:3', { jobs })))
    for (const stream of streams) expect(stream.equals(streams[0] as Buffer)).toBe(true)
    expect((await pack(bytes, 'zstd:3', { threads: 'none' })).equals(streams[0] as Buffer)).toBe(true)
  })

  it('is the frame of the documented call for a content of one block', async () => {
    const params = { [zlib.ZSTD_c_compressionLevel]: 10, [zlib.ZSTD_c_checksumFlag]: 1 }
    for (const size of [0, 1, 1000, MIB]) {
      const bytes = LARGE.subarray(0, size)
      expect((await pack(bytes, 'zstd:10')).equals(zstdCompressSync(bytes, { params, chunkSize: 2 * MIB }))).toBe(true)
    }
  })

  it('is read by zstd-codec', async () => {
    const bytes = LARGE.subarray(0, 2 * MIB)
    expect(Buffer.compare(zstdCodec.decompress(await pack(bytes, 'zstd:3')) ?? Buffer.alloc(0), bytes)).toBe(0)
  })
})

describe('lz4', () => {
  const bytes = content(17 * MIB)

  it.each(['lz4', 'lz4:hc'])('%s: a legacy frame of blocks of 8 MiB, and four zeros', async (spec) => {
    const source = spec === 'lz4' ? bytes : Buffer.concat([text(100_000), Buffer.alloc(8 * MIB), text(100_000)])
    const stream = await pack(source, spec)
    const frame = readLz4LegacyFrame(stream, source.length)
    expect(Buffer.compare(frame.content, source)).toBe(0)
    expect(frame).toMatchObject({ endsWithZeros: true, size: stream.length - 4 })
    expect(frame.blockSizes.slice(0, -1).every((size) => size === 8 * MIB)).toBe(true)
    const last = await pack(source, spec, {}, LAST)
    expect(last.equals(stream.subarray(0, -4))).toBe(true)
    if (!oracle('lz4').skip) expect(decompress(spec, last).equals(source)).toBe(true)
  })

  it('the reader refuses a frame without an end, and a block that is another', async () => {
    const stream = await pack(text(100_000), 'lz4')
    expect(() => readLz4LegacyFrame(stream.subarray(0, -5), 100_000)).toThrow()
    expect(() => readLz4LegacyFrame(stream, 100_001)).toThrow()
    stream[0] = 3
    expect(() => readLz4LegacyFrame(stream, 100_000)).toThrow('magic')
  })
})

describe.skipIf(!hasXz)('xz', () => {
  it('is one Stream of Blocks with CRC32 and LZMA2 alone', async () => {
    const stream = await pack(LARGE, 'xz:0')
    const read = readXzStream(stream)
    expect(read).toMatchObject({ checkType: 1, size: stream.length })
    expect(read.blocks.map(({ uncompressedSize }) => uncompressedSize)).toEqual([MIB, MIB, MIB, 12_345])
    for (const { dictionarySize, filterId } of read.blocks) expect([dictionarySize, filterId]).toEqual([MIB, 0x21])
    expect(readXzStream(await pack(Buffer.alloc(0), 'xz:0'))).toEqual({ checkType: 1, blocks: [], size: 32 })
    if (oracle('xz').skip) return
    expect(listedBy(['xz', '--robot', '--list'], stream)).toMatch(
      new RegExp(`^file\t1\t4\t${stream.length}\t${LARGE.length}\t[0-9.]+\tCRC32\t0$`, 'm'),
    )
  })

  it.each([
    [2, 2],
    [4, 4],
    [6, 8],
    [9, 16],
  ])('level %d: a dictionary of %d MiB, as large as a block', async (level, mebibytes) => {
    const { blocks } = readXzStream(await pack(text(1000), `xz:${level}`))
    expect(blocks).toEqual([{ uncompressedSize: 1000, dictionarySize: mebibytes * MIB, filterId: 0x21 }])
  })

  it('the reader refuses a Stream with any of its structure changed', async () => {
    const stream = await pack(LARGE.subarray(0, MIB + 1000), 'xz:0')
    // Magic, flags, a Block Header, the Index, the Stream Footer.
    for (const at of [0, 7, 13, stream.length - 20, stream.length - 8, stream.length - 1]) {
      const bad = Buffer.from(stream)
      bad[at] = (bad[at] ?? 0) ^ 0x11
      expect(() => readXzStream(bad), `byte ${at}`).toThrow()
    }
  })
})

describe('none', () => {
  it('is the image as it is', async () => {
    expect((await pack(LARGE, 'none')).equals(LARGE)).toBe(true)
    expect((await compress(LARGE, 'none', 100_000)).equals(LARGE)).toBe(true)
  })
})

it('refuses a level that the codec does not have, before anything is packed', () => {
  expect(() => compressedImage(bytesImage(LARGE), { codec: { name: 'gzip', level: 12 } })).toThrow(
    expect.objectContaining({ code: 'USAGE' }),
  )
})
