import { once } from 'node:events'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { bytesExtent, type Extent, type GrowingImage, type Image } from '../../src/io/image.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { regionImage } from '../../src/io/region.ts'
import { imageChunks, imageReadable, imageWebStream, isMostlyHoles, placeImage, writeImage } from '../../src/io/stream.ts'
import { BufferTarget, type Target } from '../../src/io/target.ts'

const MEBIBYTE = 1 << 20

/** An extent of `pieces`, which counts how often it was opened and closed. */
function counted(start: number, pieces: readonly Uint8Array[], length = pieces.reduce((sum, piece) => sum + piece.length, 0)) {
  const counts = { opened: 0, closed: 0, yielded: 0 }
  const extent: Extent = {
    start,
    length,
    async *read() {
      counts.opened++
      try {
        for (const piece of pieces) {
          counts.yielded++
          yield piece
        }
      } finally {
        counts.closed++
      }
    },
  }
  return { extent, counts }
}

const filled = (length: number, value: number) => new Uint8Array(length).fill(value)
const usage = expect.objectContaining({ code: 'USAGE' })

/** 0-4 ones, a hole, 10-20 twos, a hole of more than 2 MiB, three threes at the end. */
function sample(): { image: Image; bytes: Buffer } {
  const size = 20 + 2 * MEBIBYTE + 12_345
  const bytes = Buffer.alloc(size)
  bytes
    .fill(1, 0, 4)
    .fill(2, 10, 20)
    .fill(3, size - 3)
  const extents = [
    bytesExtent(0, filled(4, 1)),
    counted(10, [filled(3, 2), filled(0, 0), filled(7, 2)]).extent,
    bytesExtent(size - 3, filled(3, 3)),
  ]
  return { image: { size, extents }, bytes }
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = []
  for await (const chunk of chunks) list.push(Buffer.from(chunk))
  return Buffer.concat(list)
}

describe('imageChunks', () => {
  it('yields extents and the zeros between them, in chunks of at most 1 MiB', async () => {
    const { image, bytes } = sample()
    const lengths: number[] = []
    for await (const chunk of imageChunks(image)) lengths.push(chunk.length)
    expect(lengths).toEqual([4, 6, 3, 7, MEBIBYTE, MEBIBYTE, 12_342, 3])
    expect((await collect(imageChunks(image))).equals(bytes)).toBe(true)
    expect(await collect(imageChunks({ size: 0, extents: [] }))).toHaveLength(0)
    expect(await collect(imageChunks({ size: 5, extents: [bytesExtent(5, filled(0, 0))] }))).toEqual(Buffer.alloc(5))
  })

  it('takes all zeros from one buffer', async () => {
    const buffers = new Set<ArrayBufferLike>()
    for await (const chunk of imageChunks({ size: 5 * MEBIBYTE, extents: [] })) buffers.add(chunk.buffer)
    expect(buffers.size).toBe(1)
  })

  it.each([
    ['overlap', [bytesExtent(0, filled(4, 1)), bytesExtent(3, filled(4, 1))], /out of order/],
    ['are unsorted', [bytesExtent(6, filled(1, 1)), bytesExtent(0, filled(1, 1))], /out of order/],
    ['leave the image', [bytesExtent(5, filled(6, 1))], /end at 11, its size is 10/],
    ['begin before it', [bytesExtent(-1, filled(1, 1))], /out of order/],
    ['have no whole length', [{ ...bytesExtent(0, filled(1, 1)), length: 0.5 }], /out of order/],
    ['yield too little', [counted(2, [filled(3, 1)], 4).extent], /the extent at 2 yields 3 bytes, it states 4/],
    ['yield too much', [counted(2, [filled(3, 1), filled(2, 1)], 4).extent], /the extent at 2 yields 5 bytes or more, it states 4/],
  ] as [string, Extent[], RegExp][])('throws USAGE when extents %s', async (_, extents, message) => {
    const image = { size: 10, extents }
    await expect(collect(imageChunks(image))).rejects.toThrow(message)
    await expect(collect(imageChunks(image))).rejects.toEqual(usage)
    await expect(writeImage(image, new BufferTarget(), 0, { jobs: 1 })).rejects.toThrow(message)
    await expect(collect(imageReadable(image))).rejects.toThrow(message)
  })

  it('closes the extent when the consumer stops, throws, or is aborted', async () => {
    const image = (extent: Extent): Image => ({ size: 100, extents: [extent] })
    const stopped = counted(0, [filled(1, 1), filled(1, 1)])
    for await (const _ of imageChunks(image(stopped.extent))) break
    expect(stopped.counts).toEqual({ opened: 1, closed: 1, yielded: 1 })

    const threw = counted(0, [filled(1, 1), filled(1, 1)])
    const consume = async () => {
      for await (const _ of imageChunks(image(threw.extent))) throw new Error('consumer')
    }
    await expect(consume()).rejects.toThrow('consumer')
    expect(threw.counts).toEqual({ opened: 1, closed: 1, yielded: 1 })

    const aborted = counted(0, [filled(1, 1), filled(1, 1)])
    const controller = new AbortController()
    const abortAfterOne = async () => {
      for await (const _ of imageChunks(image(aborted.extent), { signal: controller.signal })) controller.abort()
    }
    await expect(abortAfterOne()).rejects.toMatchObject({ code: 'ABORTED' })
    expect(aborted.counts.closed).toBe(1)
    await expect(collect(imageChunks({ size: 9, extents: [] }, { signal: controller.signal }))).rejects.toMatchObject({ code: 'ABORTED' })
  })
})

describe('imageReadable', () => {
  it('holds back when the writer is slow', async () => {
    const pieces = Array.from({ length: 64 }, (_, i) => filled(MEBIBYTE / 4, i + 1))
    const { extent, counts } = counted(0, pieces)
    const size = 64 * (MEBIBYTE / 4)
    let written = 0
    let ahead = 0
    const slow = new Writable({
      highWaterMark: 1,
      write(chunk: Buffer, _, done) {
        written += chunk.length
        ahead = Math.max(ahead, counts.yielded * (MEBIBYTE / 4) - written)
        setTimeout(done, 1)
      },
    })
    await pipeline(imageReadable({ size, extents: [extent] }), slow)
    expect(written).toBe(size)
    expect(counts).toEqual({ opened: 1, closed: 1, yielded: 64 })
    expect(ahead).toBeLessThan(4 * MEBIBYTE)
  })

  it('is the image, byte for byte', async () => {
    const { image, bytes } = sample()
    expect((await collect(imageReadable(image))).equals(bytes)).toBe(true)
  })

  it('closes the extent when it is destroyed early or its writer fails', async () => {
    const pieces = Array.from({ length: 100 }, () => filled(MEBIBYTE, 1))
    const destroyed = counted(0, pieces)
    const stream = imageReadable({ size: 100 * MEBIBYTE, extents: [destroyed.extent] })
    await once(stream, 'readable')
    stream.destroy()
    await once(stream, 'close')
    expect(destroyed.counts).toMatchObject({ opened: 1, closed: 1 })
    expect(destroyed.counts.yielded).toBeLessThan(10)

    const failed = counted(0, pieces)
    const broken = new Writable({ write: (_, __, done) => done(new Error('no space')) })
    await expect(pipeline(imageReadable({ size: 100 * MEBIBYTE, extents: [failed.extent] }), broken)).rejects.toThrow('no space')
    expect(failed.counts).toMatchObject({ opened: 1, closed: 1 })
  })

  it('passes on the error of an extent', async () => {
    const extent: Extent = {
      start: 3,
      length: 5,
      async *read() {
        yield filled(2, 1)
        throw new Error('unreadable')
      },
    }
    await expect(collect(imageReadable({ size: 10, extents: [extent] }))).rejects.toThrow('unreadable')
    await expect(collect(imageWebStream({ size: 10, extents: [extent] }))).rejects.toThrow('unreadable')
  })
})

describe('imageWebStream', () => {
  it('is the image, byte for byte', async () => {
    const { image, bytes } = sample()
    expect((await collect(imageWebStream(image))).equals(bytes)).toBe(true)
  })

  it('reads no further than asked and closes the extent when it is cancelled', async () => {
    const { extent, counts } = counted(
      0,
      Array.from({ length: 100 }, () => filled(10, 1)),
    )
    const reader = imageWebStream({ size: 1000, extents: [extent] }).getReader()
    await reader.read()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(counts.yielded).toBeLessThan(5)
    await reader.cancel()
    expect(counts).toMatchObject({ opened: 1, closed: 1 })
  })
})

describe('writeImage', () => {
  it('writes the extents only and tells how far it is', async () => {
    const { image } = sample()
    const writes: [number, number][] = []
    const target: Target = {
      write: async (position, bytes) => void writes.push([position, bytes.length]),
      read: async () => new Uint8Array(0),
      setSize: async () => undefined,
    }
    const events: ProgressEvent[] = []
    await writeImage(image, target, 4096, { jobs: 1, onProgress: (event) => events.push(event) })
    expect(writes).toEqual([
      [4096, 4],
      [4106, 3],
      [4109, 7],
      [4096 + image.size - 3, 3],
    ])
    expect(events[0]).toEqual({ kind: 'stage', stage: 'write', totalBytes: 17 })
    expect(events.slice(1)).toEqual([4, 7, 14, 17].map((doneBytes) => ({ kind: 'bytes', stage: 'write', doneBytes })))
  })

  it('never writes past an extent that yields too much', async () => {
    const target = new BufferTarget()
    const image = { size: 10, extents: [counted(0, [filled(4, 1), filled(4, 1)], 6).extent] }
    await expect(writeImage(image, target, 0, { jobs: 1 })).rejects.toEqual(usage)
    expect(target.bytes).toHaveLength(4)
  })

  it('stops at an abort, before the first byte too, and closes the extent', async () => {
    const { extent, counts } = counted(0, [filled(1, 1), filled(1, 1), filled(1, 1)])
    const controller = new AbortController()
    const target = new BufferTarget()
    const context = {
      jobs: 1,
      signal: controller.signal,
      onProgress: (event: ProgressEvent) => event.kind === 'bytes' && controller.abort('enough'),
    }
    await expect(writeImage({ size: 3, extents: [extent] }, target, 0, context)).rejects.toMatchObject({ code: 'ABORTED', cause: 'enough' })
    expect(counts.closed).toBe(1)
    expect(target.bytes).toHaveLength(1)
    await expect(writeImage({ size: 3, extents: [] }, target, 0, context)).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('passes on what the target throws and closes the extent', async () => {
    const { extent, counts } = counted(0, [filled(1, 1), filled(1, 1)])
    const target = new BufferTarget()
    target.write = async () => {
      throw new Error('full')
    }
    await expect(writeImage({ size: 2, extents: [extent] }, target, 0, { jobs: 1 })).rejects.toThrow('full')
    expect(counts).toEqual({ opened: 1, closed: 1, yielded: 1 })
  })
})

describe('regionImage', () => {
  it('is what was written there, in chunks of at most 1 MiB', async () => {
    const { image, bytes } = sample()
    const target = new BufferTarget()
    await target.setSize(777 + image.size + 10)
    await writeImage(image, target, 777, { jobs: 1 })
    const region = regionImage(target, 777, image.size)
    expect((await collect(imageChunks(region))).equals(bytes)).toBe(true)
    const lengths: number[] = []
    for await (const chunk of imageChunks(region)) lengths.push(chunk.length)
    expect(Math.max(...lengths)).toBe(MEBIBYTE)
    expect(regionImage(target, 0, 0)).toEqual({ size: 0, extents: [] })
  })

  it('is USAGE when the target is shorter', async () => {
    await expect(collect(imageChunks(regionImage(new BufferTarget(), 0, 10)))).rejects.toEqual(usage)
  })
})

describe('placeImage', () => {
  const growing = (bytes: Uint8Array): GrowingImage => ({
    sizeLimit: 100,
    async pack(target, start) {
      await target.write(start, bytes)
      return regionImage(target, start, bytes.length)
    },
  })

  it('packs or writes, and gives the image as it lies there', async () => {
    const target = new BufferTarget()
    const { extent, counts } = counted(2, [filled(3, 7)])
    const first = await placeImage({ size: 10, extents: [extent] }, target, 5, { jobs: 1 })
    const second = await placeImage(growing(filled(4, 9)), target, 15, { jobs: 1 })
    const zeros = (count: number) => Buffer.alloc(count)
    expect(await collect(imageChunks(first))).toEqual(Buffer.concat([zeros(2), filled(3, 7), zeros(5)]))
    expect(await collect(imageChunks(second))).toEqual(Buffer.from(filled(4, 9)))
    expect(target.bytes).toEqual(new Uint8Array(Buffer.concat([zeros(7), filled(3, 7), zeros(5), filled(4, 9)])))
    expect(counts.opened).toBe(1)
  })
})

describe('isMostlyHoles', () => {
  it('is what has so many zeros that a digest of them takes long', () => {
    const [data, holes] = [2 ** 30, 2 ** 31]
    expect([isMostlyHoles(0, 0), isMostlyHoles(holes, 0), isMostlyHoles(holes + 1, 0)]).toEqual([false, false, true])
    expect([isMostlyHoles(4 * data + holes, data), isMostlyHoles(2 ** 50, data)]).toEqual([false, true])
  })
})
