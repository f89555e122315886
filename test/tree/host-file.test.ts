import { appendFileSync, mkdtempSync, readdirSync, rmSync, symlinkSync, truncateSync, unlinkSync, writeFileSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import type { Image } from '../../src/io/image.ts'
import { imageSlice } from '../../src/io/slice.ts'
import { imageChunks } from '../../src/io/stream.ts'
import { contentExtents } from '../../src/tree/content.ts'
import { hostFileChunks, hostFileImage } from '../../src/tree/host-file.ts'
import { randomNumbers } from '../faults/support.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-host-file-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = []
  for await (const chunk of chunks) list.push(chunk)
  return Buffer.concat(list)
}

const random = randomNumbers(5)
const bytes = Buffer.from(Uint8Array.from({ length: 70_000 }, () => Math.floor(random() * 256)))
const path = join(folder, 'bytes')
writeFileSync(path, bytes)
const changed = expect.objectContaining({ code: 'CHANGED' })

describe('hostFileChunks', () => {
  it('reads ranges in chunks', async () => {
    for (let round = 0; round < 100; round++) {
      const start = Math.floor(random() * bytes.length)
      const length = Math.floor(random() * (bytes.length - start + 1))
      const chunkSize = 1 + Math.floor(random() * 30_000)
      for await (const chunk of hostFileChunks(Buffer.from(path), bytes.length, { chunkSize, start, length })) {
        expect(chunk.length).toBeLessThanOrEqual(chunkSize)
      }
      const read = await collect(hostFileChunks(Buffer.from(path), bytes.length, { chunkSize, start, length }))
      expect(read.equals(bytes.subarray(start, start + length))).toBe(true)
    }
    expect((await collect(hostFileChunks(Buffer.from(path), bytes.length, { start: 69_990 }))).equals(bytes.subarray(69_990))).toBe(true)
  })

  it('reads into a buffer that is lent, in chunks of its length', async () => {
    const buffer = new Uint8Array(10_000)
    for (const [start, length] of [
      [0, 70_000],
      [5, 69_995],
      [69_000, 1000],
    ] as const) {
      const copies: Uint8Array[] = []
      for await (const chunk of hostFileChunks(Buffer.from(path), bytes.length, { start, length, buffer })) {
        expect(chunk.buffer).toBe(buffer.buffer)
        copies.push(Buffer.from(chunk))
      }
      expect(Buffer.concat(copies).equals(bytes.subarray(start, start + length))).toBe(true)
    }
    const large = new Uint8Array(100_000)
    for await (const chunk of hostFileChunks(Buffer.from(path), bytes.length, { buffer: large })) {
      expect([chunk.buffer === large.buffer, Buffer.compare(chunk, bytes)]).toEqual([true, 0])
    }
  })

  it('sees in a range that the file grew, shrank or was written to', async () => {
    const file = join(folder, 'changing')
    const range = () => hostFileChunks(Buffer.from(file), 1000, { start: 100, length: 200, chunkSize: 100 })
    writeFileSync(file, Buffer.alloc(1000))
    expect(await collect(range())).toHaveLength(200)
    appendFileSync(file, 'x')
    await expect(collect(range())).rejects.toThrow(changed)
    truncateSync(file, 250)
    await expect(collect(range())).rejects.toThrow(changed)
    writeFileSync(file, Buffer.alloc(1000))
    // Change times are as coarse as the kernel's clock ticks.
    await setTimeout(20)
    const chunks = range()
    await chunks.next()
    const handle = await open(file, 'r+')
    writeSync(handle.fd, 'new', 900)
    await handle.close()
    await expect(collect(chunks)).rejects.toThrow(changed)
  })
})

describe('hostFileImage', () => {
  it('can be read often and at the same time, and holds nothing open', async () => {
    const image = hostFileImage(path, bytes.length, { chunkSize: 1000 })
    const before = readdirSync('/proc/self/fd').length
    const reads = await Promise.all([1, 2, 3, 4].map(() => collect(imageChunks(image))))
    for (const read of reads) expect(read.equals(bytes)).toBe(true)
    for await (const _chunk of imageChunks(image)) break
    expect(readdirSync('/proc/self/fd').length).toBe(before)
  })

  it('has chunks of 128 KiB when nothing else is asked for', async () => {
    const file = join(folder, 'large')
    writeFileSync(file, Buffer.alloc(300_000))
    const lengths: number[] = []
    for await (const chunk of imageChunks(hostFileImage(file, 300_000))) lengths.push(chunk.length)
    expect(lengths).toEqual([131_072, 131_072, 37_856])
  })

  it('takes names that look like anything', async () => {
    const file = join(folder, 'ünïcode %41 ?')
    writeFileSync(file, 'content')
    expect(String(await collect(imageChunks(hostFileImage(file, 7))))).toBe('content')
  })

  it('has no extent when it is empty', () => {
    expect(hostFileImage(join(folder, 'nothing'), 0)).toEqual({ size: 0, extents: [] })
  })

  it('throws CHANGED for a file that is gone or became a link', async () => {
    const file = join(folder, 'gone')
    writeFileSync(file, 'content')
    const image = hostFileImage(file, 7)
    expect(String(await collect(imageChunks(image)))).toBe('content')
    unlinkSync(file)
    await expect(collect(imageChunks(image))).rejects.toThrow(changed)
    symlinkSync(path, file)
    await expect(collect(imageChunks(image))).rejects.toThrow(changed)
  })
})

describe('a range of a large file', () => {
  const size = 2 ** 40
  const file = join(folder, 'sparse')
  writeFileSync(file, '')
  truncateSync(file, size)

  const node = { kind: 'file', size, mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1 } as const
  const images: [string, () => Image][] = [
    ['hostFileImage', () => hostFileImage(file, size)],
    [
      'contentExtents',
      () => ({ size, extents: contentExtents({ ...node, content: { kind: 'hostFile', path: Buffer.from(file) } }, 0, 'sparse') }),
    ],
  ]

  // A tebibyte takes minutes to read.
  it.each(images)('is read without what lies before: %s', async (_name, image) => {
    expect(await collect(imageChunks(imageSlice(image(), size - 1000, size)))).toEqual(Buffer.alloc(1000))
    expect(await collect(imageChunks(imageSlice(image(), size / 2, size / 2 + 5)))).toEqual(Buffer.alloc(5))
  })
})
