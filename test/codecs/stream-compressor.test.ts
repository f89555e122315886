/** The compressor for worker threads: one stream after another, and one that was given up. */
import { constants, crc32, zstdDecompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { parseCodecSpec } from '../../src/codecs/open.ts'
import { streamFormat } from '../../src/codecs/stream/formats.ts'
import { openStreamCompressor, type StreamCompressor } from '../../src/codecs/stream/index.ts'
import { frameOptions, hasZstdThreads } from '../../src/codecs/stream/zstd.ts'
import { compressSerially } from '../../src/codecs/stream/zstd-serial.ts'
import { ImageError } from '../../src/errors.ts'
import { bytesImage } from '../../src/io/image.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { BufferTarget } from '../../src/io/target.ts'
import { readZstdFrame } from '../readers/zstd-frame-reader.ts'
import { compress, content, pack, SPECS } from './stream-support.ts'

const MIB = 1 << 20
const LARGE = content(3 * MIB + 777)
const CHUNK = 200_000

function stream(compressor: StreamCompressor, bytes: Uint8Array): Buffer {
  const parts: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += CHUNK) parts.push(compressor.push(bytes.subarray(at, at + CHUNK)).slice())
  return Buffer.concat([...parts, compressor.end().slice()])
}

describe.each(SPECS)('%s', (spec) => {
  it('makes the same stream whatever it made before', async () => {
    const compressor = await openStreamCompressor(parseCodecSpec(spec))
    const contents = [LARGE, LARGE.subarray(0, 10), LARGE.subarray(5), LARGE.subarray(0, 0), LARGE.subarray(0, MIB), LARGE]
    for (const bytes of contents) expect(stream(compressor, bytes).equals(await compress(bytes, spec, CHUNK))).toBe(true)
    compressor.close()
  })

  it('forgets what was begun', async () => {
    const compressor = await openStreamCompressor(parseCodecSpec(spec))
    const expected = await compress(LARGE, spec, CHUNK)
    for (const begun of [0, 1000, MIB + 5, LARGE.length]) {
      compressor.push(LARGE.subarray(LARGE.length - begun))
      compressor.reset()
      compressor.reset()
      expect(stream(compressor, LARGE).equals(expected)).toBe(true)
    }
    compressor.close()
  })

  it('does not pile up memory over many streams, nor when many are opened', async () => {
    const bytes = LARGE.subarray(0, 40_000)
    const compressor = await openStreamCompressor(parseCodecSpec(spec))
    const work = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        stream(compressor, bytes)
        await compress(bytes, spec, CHUNK)
      }
    }
    await work(5)
    const before = process.memoryUsage().rss
    await work(60)
    // Sixty of them would take 100 MiB and more with any codec if they kept their memory.
    expect(process.memoryUsage().rss - before).toBeLessThan(80 * MIB)
    compressor.close()
  })
})

describe('zstd without threads within reach', () => {
  const format = streamFormat({ name: 'zstd', level: 3 })

  it('this Node has them', () => {
    expect(hasZstdThreads()).toBe(true)
    expect(frameOptions(3, { contentSize: 64 * MIB, jobs: 4 }).params).toMatchObject({ [constants.ZSTD_c_nbWorkers]: 4 })
  })

  it('is one frame by the documented stream', async () => {
    if (format === undefined) throw new Error('zstd has no format')
    const target = new BufferTarget()
    const events: ProgressEvent[] = []
    const size = await compressSerially(bytesImage(LARGE), target, 100, format, { jobs: 2, onProgress: (event) => events.push(event) })
    const frame = Buffer.from(target.bytes.subarray(100))
    expect(readZstdFrame(frame)).toMatchObject({ hasChecksum: true, contentSize: LARGE.length, frameSize: size })
    expect(crc32(zstdDecompressSync(frame))).toBe(crc32(LARGE))
    expect(events[0]).toEqual({ kind: 'stage', stage: 'compress', totalBytes: LARGE.length })
    expect(events.at(-1)).toEqual({ kind: 'bytes', stage: 'compress', doneBytes: LARGE.length })
  })

  it('passes errors on', async () => {
    if (format === undefined) throw new Error('zstd has no format')
    const image = bytesImage(LARGE)
    const aborted = compressSerially(image, new BufferTarget(), 0, format, { jobs: 1, signal: AbortSignal.abort() })
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' })
    const full = new ImageError('WRITE_FAILED', 'full')
    const target = Object.assign(new BufferTarget(), { write: () => Promise.reject(full) })
    await expect(compressSerially(image, target, 0, format, { jobs: 1 })).rejects.toBe(full)
  })
})

it('xz streams of a thread share their memory', async () => {
  if (!SPECS.includes('xz:0')) return
  const [first, second] = await Promise.all(['xz:0', 'xz:0'].map((spec) => openStreamCompressor(parseCodecSpec(spec))))
  if (first === undefined || second === undefined) throw new Error('no compressor')
  const expected = await pack(LARGE, 'xz:0')
  const parts = { first: [] as Uint8Array[], second: [] as Uint8Array[] }
  for (let at = 0; at < LARGE.length; at += CHUNK) {
    parts.first.push(first.push(LARGE.subarray(at, at + CHUNK)).slice())
    parts.second.push(second.push(LARGE.subarray(at, at + CHUNK)).slice())
  }
  expect(Buffer.concat([...parts.first, first.end()]).equals(expected)).toBe(true)
  expect(Buffer.concat([...parts.second, second.end()]).equals(expected)).toBe(true)
})
