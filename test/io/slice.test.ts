import { describe, expect, it } from 'vitest'
import { bytesExtent, bytesImage, type Extent, type Image, moveExtent } from '../../src/io/image.ts'
import { regionImage } from '../../src/io/region.ts'
import { imageSlice } from '../../src/io/slice.ts'
import { imageChunks } from '../../src/io/stream.ts'
import { BufferTarget } from '../../src/io/target.ts'
import { randomNumbers } from '../faults/support.ts'

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = []
  for await (const chunk of chunks) list.push(Buffer.from(chunk))
  return Buffer.concat(list)
}

/** An extent that can only be read from its beginning, in pieces of `step` bytes; counts what it has yielded and closed. */
function stream(start: number, bytes: Uint8Array, step: number) {
  const counts = { yielded: 0, ended: 0, closed: 0 }
  const extent: Extent = {
    start,
    length: bytes.length,
    async *read() {
      try {
        for (let at = 0; at < bytes.length; at += step) {
          const piece = bytes.subarray(at, at + step)
          counts.yielded += piece.length
          yield piece
        }
        counts.ended++
      } finally {
        counts.closed++
      }
    },
  }
  return { extent, counts }
}

type Random = () => number

/** Extents of every kind with holes between them, and the same bytes in an array. */
async function randomImage(random: Random): Promise<{ image: Image; bytes: Buffer }> {
  const upTo = (most: number): number => Math.floor(random() * (most + 1))
  const extents: Extent[] = []
  const bytes = Buffer.alloc(400)
  let end = 0
  for (let count = upTo(6); count > 0; count--) {
    const start = end + upTo(20)
    const content = Uint8Array.from({ length: upTo(40) }, () => 1 + upTo(254))
    bytes.set(content, start)
    end = start + content.length
    const target = new BufferTarget()
    await target.write(3, content)
    const kinds: (() => Extent)[] = [
      () => bytesExtent(start, content),
      () => moveExtent(bytesExtent(0, content), start),
      () => stream(start, content, 1 + upTo(9)).extent,
      () => moveExtent(stream(7, content, 1 + upTo(9)).extent, start - 7),
      () => moveExtent(regionImage(target, 3, content.length).extents[0] ?? bytesExtent(0, content), start),
    ]
    const kind = kinds[upTo(kinds.length - 1)]
    if (kind !== undefined) extents.push(kind())
  }
  const size = end + upTo(20)
  return { image: { size, extents }, bytes: bytes.subarray(0, size) }
}

describe('imageSlice', () => {
  it('is what an array gives, and so are slices of slices', async () => {
    const random = randomNumbers(11)
    for (let round = 0; round < 600; round++) {
      const { image, bytes } = await randomImage(random)
      const places = [random(), random()].map((part) => Math.floor(part * (image.size + 1)))
      const [start = 0, end = 0] = places.sort((a, b) => a - b)
      const slice = imageSlice(image, start, end)
      expect(slice.size).toBe(end - start)
      expect(await collect(imageChunks(slice))).toEqual(Buffer.from(bytes.subarray(start, end)))
      expect(await collect(imageChunks(slice, { buffer: new Uint8Array(7) }))).toEqual(Buffer.from(bytes.subarray(start, end)))
      const [from = 0, to = 0] = [random(), random()].map((part) => Math.floor(part * (slice.size + 1))).sort((a, b) => a - b)
      expect(await collect(imageChunks(imageSlice(slice, from, to)))).toEqual(Buffer.from(bytes.subarray(start + from, start + to)))
    }
  })

  it('can be read twice', async () => {
    const slice = imageSlice({ size: 12, extents: [stream(1, Buffer.from('0123456789'), 4).extent] }, 3, 9)
    expect(String(await collect(imageChunks(slice)))).toBe('234567')
    expect(String(await collect(imageChunks(slice)))).toBe('234567')
  })

  it('reads nothing when it is made, and only the range of an extent that has ranges', async () => {
    const asked: [number, number][] = []
    const bytes = Buffer.from('0123456789')
    const extent: Extent = {
      start: 100,
      length: 10,
      read: () => {
        throw new Error('read from the beginning')
      },
      async *readRange(start, length) {
        asked.push([start, length])
        yield bytes.subarray(start, start + length)
      },
    }
    const slice = imageSlice({ size: 200, extents: [moveExtent(extent, 5)] }, 108, 112)
    const inner = imageSlice(slice, 1, 3)
    expect(asked).toEqual([])
    expect(String(await collect(imageChunks(slice)))).toBe('3456')
    expect(String(await collect(imageChunks(inner)))).toBe('45')
    expect(asked).toEqual([
      [3, 4],
      [4, 2],
    ])
  })

  it('lends a buffer to extents that have ranges, wherever they were moved', async () => {
    const lent: unknown[] = []
    const bytes = Buffer.from('0123456789')
    const extent: Extent = {
      start: 0,
      length: 10,
      read: () => [] as never,
      async *readRange(start, length, buffer) {
        lent.push(buffer)
        yield bytes.subarray(start, start + length)
      },
    }
    const buffer = new Uint8Array(4)
    const image = { size: 20, extents: [moveExtent(extent, 5)] }
    expect(await collect(imageChunks(image, { buffer }))).toHaveLength(20)
    expect(await collect(imageChunks(imageSlice(imageSlice(image, 6, 14), 1, 3), { buffer }))).toHaveLength(2)
    expect(lent).toEqual([buffer, buffer])
  })

  it('leaves out extents that it does not touch, and keeps whole ones as they are', () => {
    const image = {
      size: 30,
      extents: [bytesExtent(0, Buffer.alloc(5, 1)), bytesExtent(10, Buffer.alloc(5, 2)), bytesExtent(20, Buffer.alloc(5, 3))],
    }
    expect(imageSlice(image, 5, 10).extents).toEqual([])
    expect(imageSlice(image, 5, 20).extents.map(({ start, length }) => [start, length])).toEqual([[5, 5]])
    expect(imageSlice(image, 14, 21).extents.map(({ start, length }) => [start, length])).toEqual([
      [0, 1],
      [6, 1],
    ])
    expect(imageSlice(image, 30, 30)).toEqual({ size: 0, extents: [] })
  })

  it('stops early where the extent goes on, and reads to the end where the slice ends with it', async () => {
    const { extent, counts } = stream(0, new Uint8Array(1000), 10)
    const image = { size: 1000, extents: [extent] }
    await collect(imageChunks(imageSlice(image, 15, 25)))
    expect(counts).toEqual({ yielded: 30, ended: 0, closed: 1 })
    await collect(imageChunks(imageSlice(image, 985, 1000)))
    expect(counts).toEqual({ yielded: 1030, ended: 1, closed: 2 })
  })

  it('tells of an extent that yields too much or too little', async () => {
    const long = stream(0, new Uint8Array(20), 20).extent
    const usage = expect.objectContaining({ code: 'USAGE' })
    await expect(collect(imageChunks(imageSlice({ size: 10, extents: [{ ...long, length: 10 }] }, 2, 10)))).rejects.toThrow(usage)
    await expect(collect(imageChunks(imageSlice({ size: 30, extents: [{ ...long, length: 30 }] }, 2, 25)))).rejects.toThrow(usage)
  })

  it.each([
    [-1, 2],
    [3, 2],
    [0, 11],
    [0.5, 2],
    [0, Number.NaN],
    [0, Number.POSITIVE_INFINITY],
  ])('refuses %d to %d of 10 bytes', (start, end) => {
    expect(() => imageSlice(bytesImage(new Uint8Array(10)), start, end)).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })
})

describe('regionImage', () => {
  it('reads the chunks of a range and no others', async () => {
    const asked: [number, number][] = []
    const target = new BufferTarget()
    await target.write(0, Buffer.alloc(5 << 20, 7))
    const recorded = Object.assign(Object.create(target) as BufferTarget, {
      write: target.write.bind(target),
      setSize: target.setSize.bind(target),
      read: (position: number, length: number) => {
        asked.push([position, length])
        return target.read(position, length)
      },
    })
    const region = imageSlice(regionImage(recorded, 100, 4 << 20), 10, 70)
    expect(await collect(imageChunks(region, { buffer: new Uint8Array(32) }))).toHaveLength(60)
    expect(asked.splice(0)).toEqual([
      [110, 32],
      [142, 28],
    ])
    const slice = imageSlice(regionImage(recorded, 100, 4 << 20), 2 << 20, (3 << 20) + 50)
    expect(await collect(imageChunks(slice))).toHaveLength((1 << 20) + 50)
    expect(asked).toEqual([
      [100 + (2 << 20), 1 << 20],
      [100 + (3 << 20), 50],
    ])
  })
})
