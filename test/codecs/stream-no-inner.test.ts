/** zstd in a Node that does not have the handle inside its streams: the documented calls alone. */
import { zstdDecompressSync } from 'node:zlib'
import { expect, it, vi } from 'vitest'
import { openStreamCompressor } from '../../src/codecs/stream/index.ts'
import { hasZstdThreads } from '../../src/codecs/stream/zstd.ts'
import { readZstdFrame } from '../readers/zstd-frame-reader.ts'
import { compress, content, pack, withWorkers } from './stream-support.ts'

vi.mock(import('node:zlib'), async (original) => {
  const real = await original()
  const bare = { on: () => bare }
  const createZstdCompress = (options: Parameters<typeof real.createZstdCompress>[0]) =>
    // A stream that is used as one is asked for with its chunk size.
    options?.chunkSize === undefined ? (bare as never) : real.createZstdCompress(options)
  return { ...real, createZstdCompress, default: { ...real, createZstdCompress } }
})

const LARGE = content((3 << 20) + 5)

function expectFrame(frame: Buffer, bytes: Uint8Array): void {
  expect(readZstdFrame(frame)).toMatchObject({ hasChecksum: true, frameSize: frame.length })
  expect(Buffer.compare(zstdDecompressSync(frame), bytes)).toBe(0)
}

it('packs in this process, one frame each', async () => {
  expect(hasZstdThreads()).toBe(false)
  const { workers } = await withWorkers(async () => {
    for (const size of [0, 1000, 1 << 20, LARGE.length]) {
      const bytes = LARGE.subarray(0, size)
      expectFrame(await pack(bytes, 'zstd:3', { jobs: 4 }), bytes)
    }
  })
  expect(workers).toHaveLength(0)
})

it('compresses, and forgets what was begun', async () => {
  const expected = await compress(LARGE, 'zstd:3', 100_000)
  expectFrame(expected, LARGE)
  const compressor = await openStreamCompressor({ name: 'zstd', level: 3 })
  compressor.push(LARGE)
  compressor.reset()
  const begun = Buffer.from(compressor.push(LARGE))
  expect(Buffer.concat([begun, compressor.end()]).equals(expected)).toBe(true)
  compressor.close()
})
