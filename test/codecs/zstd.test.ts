import { describe, expect, it } from 'vitest'
import { openCodec } from '../../src/codecs/open.ts'
import { readZstdFrame } from '../readers/zstd-frame-reader.ts'
import { mixed, text } from './samples.ts'

const LEVELS = Array.from({ length: 22 }, (_, index) => index + 1)
const BLOCK_LOGS = [9, 12, 13, 14, 15, 16, 17, 18, 19, 20]

describe('zstd frames', () => {
  it.each(LEVELS)('level %d: one frame, content size, no checksum, window within the block', async (level) => {
    for (const log of BLOCK_LOGS) {
      const blockSize = 2 ** log
      const codec = await openCodec({ name: 'zstd', level }, blockSize)
      for (const length of [1, 300, blockSize / 2 + 1, blockSize - 1, blockSize]) {
        if (length > blockSize) continue
        const result = codec.compress(new Uint8Array(length).fill(7))
        const frame = readZstdFrame(result)
        expect(frame.windowSize).toBeLessThanOrEqual(Math.max(blockSize, 1024))
        expect(frame).toMatchObject({ contentSize: length, hasChecksum: false, dictionaryId: 0, frameSize: result.length })
      }
    }
  })

  it('asks for no larger window for content with far repeats', async () => {
    const blockSize = 2 ** 20
    const repeat = text(blockSize / 2)
    const block = new Uint8Array(blockSize)
    block.set(repeat)
    block.set(repeat, blockSize / 2)
    for (const level of [1, 3, 9, 19, 22]) {
      const frame = readZstdFrame((await openCodec({ name: 'zstd', level }, blockSize)).compress(block))
      expect(frame).toMatchObject({ windowSize: blockSize, singleSegment: true })
    }
  })

  it.each([1, 3, 9, 15, 19])(
    'level %d: the context that is kept makes the bytes of the documented call, whatever came before',
    async (level) => {
      const { constants, zstdCompressSync } = await import('node:zlib')
      for (const blockSize of [4096, 131072]) {
        const codec = await openCodec({ name: 'zstd', level }, blockSize)
        const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_windowLog]: Math.log2(blockSize) }
        for (const block of [
          text(blockSize),
          mixed(blockSize),
          new Uint8Array(blockSize),
          text(77),
          mixed(blockSize - 1),
          text(blockSize),
        ]) {
          expect(Buffer.compare(codec.compress(block), zstdCompressSync(block, { params }))).toBe(0)
        }
      }
    },
  )

  it('the frame reader sees a larger window, a checksum, and a second frame', async () => {
    const { constants, zstdCompressSync } = await import('node:zlib')
    const params = { [constants.ZSTD_c_contentSizeFlag]: 0, [constants.ZSTD_c_windowLog]: 22, [constants.ZSTD_c_checksumFlag]: 1 }
    const frame = zstdCompressSync(mixed(100_000), { params })
    expect(readZstdFrame(frame)).toMatchObject({ contentSize: undefined, hasChecksum: true, frameSize: frame.length })
    expect(readZstdFrame(frame).windowSize).toBeGreaterThan(65536)
    expect(readZstdFrame(Buffer.concat([frame, frame])).frameSize).toBe(frame.length)
  })
})
