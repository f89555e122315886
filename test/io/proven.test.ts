import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { bytesImage, type Image } from '../../src/io/image.ts'
import { PROOF_BLOCK_SIZE, Proof, provenImage, recordedImage } from '../../src/io/proven.ts'
import { imageSlice } from '../../src/io/slice.ts'
import { imageChunks } from '../../src/io/stream.ts'
import { randomNumbers } from '../faults/support.ts'
import { noise } from '../filesystems/squashfs/support.ts'

const SIZES = [0, 1, PROOF_BLOCK_SIZE - 1, PROOF_BLOCK_SIZE, PROOF_BLOCK_SIZE + 1, 3 * PROOF_BLOCK_SIZE, 200_000]
const other = (): Error => new Error('other bytes')

async function bytesOf(image: Image, buffer?: Uint8Array): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of imageChunks(image, buffer ? { buffer } : {})) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

function proofOf(bytes: Uint8Array): Proof {
  return new Proof(createHash('sha256').update(bytes).digest(), bytes.length)
}

/** Gives the bytes in chunks of any sizes, as files do that are read over a network. */
function choppy(bytes: Buffer, seed: number): Image {
  const random = randomNumbers(seed)
  async function* readRange(start: number, length: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < length; ) {
      const count = Math.min(length - at, 1 + Math.floor(random() * 100_000))
      yield bytes.subarray(start + at, start + at + count)
      at += count
    }
  }
  const { length } = bytes
  return { size: length, extents: length === 0 ? [] : [{ start: 0, length, read: () => readRange(0, length), readRange }] }
}

describe('a proven image', () => {
  it('gives the bytes, whole and in parts of any order', async () => {
    const random = randomNumbers(1)
    for (const size of SIZES) {
      const bytes = Buffer.from(noise(size, size + 1))
      for (const isPartFirst of [true, false]) {
        const image = provenImage(choppy(bytes, size), proofOf(bytes), other)
        if (!isPartFirst) expect((await bytesOf(image)).equals(bytes)).toBe(true)
        for (let round = 0; round < 20; round++) {
          const start = Math.floor(random() * size)
          const end = start + Math.floor(random() * (size - start + 1))
          const buffer = round % 2 === 0 ? undefined : new Uint8Array(1000 + Math.floor(random() * 200_000))
          expect((await bytesOf(imageSlice(image, start, end), buffer)).equals(bytes.subarray(start, end))).toBe(true)
        }
      }
      expect((await bytesOf(await recordedImage(bytesImage(bytes), other))).equals(bytes)).toBe(true)
    }
  })

  it('hands out no part with another byte, and not the last bytes of a whole', async () => {
    for (const size of SIZES.slice(1)) {
      const bytes = Buffer.from(noise(size, size + 1))
      for (const at of [0, size >> 1, size - 1]) {
        const bad = Buffer.from(bytes)
        bad[at] = (bad[at] ?? 0) ^ 1
        const proof = proofOf(bytes)
        const image = provenImage(choppy(bad, at), proof, other)
        await expect(bytesOf(image)).rejects.toThrow('other bytes')
        await expect(bytesOf(imageSlice(image, at, at + 1))).rejects.toThrow('other bytes')
        // Once the blocks are known others can still be read.
        await bytesOf(provenImage(choppy(bytes, at), proof, other))
        await expect(bytesOf(imageSlice(image, at, at + 1))).rejects.toThrow('other bytes')
        const block = Math.floor(at / PROOF_BLOCK_SIZE)
        const [start, end] = block === 0 ? [PROOF_BLOCK_SIZE, size] : [0, PROOF_BLOCK_SIZE]
        if (size > PROOF_BLOCK_SIZE && block !== Math.floor((end - 1) / PROOF_BLOCK_SIZE) && start < size) {
          expect((await bytesOf(imageSlice(image, start, end))).equals(bytes.subarray(start, end))).toBe(true)
        }
      }
    }
  })

  it('which is recorded may not change afterwards', async () => {
    const bytes = Buffer.from(noise(200_000, 1))
    const image = await recordedImage(bytesImage(bytes), other)
    bytes[100_000] = (bytes[100_000] ?? 0) ^ 1
    expect(await bytesOf(imageSlice(image, 0, 10))).toHaveLength(10)
    await expect(bytesOf(imageSlice(image, 99_999, 100_002))).rejects.toThrow('other bytes')
    await expect(bytesOf(image)).rejects.toThrow('other bytes')
  })
})
