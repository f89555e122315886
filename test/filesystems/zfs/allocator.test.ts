/** Where blocks go, and what of a device users get. */
import { describe, expect, it } from 'vitest'
import { ImageError } from '../../../src/errors.ts'
import { Allocator, type AllocatorOptions } from '../../../src/filesystems/zfs/allocator.ts'
import { geometryOf, geometryWith, metaslabCountFor, openShape, sizeThatHolds, usableSize } from '../../../src/filesystems/zfs/geometry.ts'

const MEBIBYTE = 1 << 20
const GIBIBYTE = 2 ** 30
const SHAPE = { ashift: 12, metaslabShift: 24 }

function allocatorOf(options: Partial<AllocatorOptions>): Allocator {
  const fullError = (used: number): ImageError => new ImageError('LIMIT', `full after ${used}`)
  return new Allocator({ shape: SHAPE, metaslabCount: 8, metaslabLimit: 8, usableSize: 2 ** 40, fullError, ...options })
}

describe('the allocator', () => {
  it('places the copies far from each other, in whole units', () => {
    const allocator = allocatorOf({})
    const places = [0, 1, 2].map((copy) => allocator.allocate(5000, copy))
    expect(places).toEqual([0, 4 * 16 * MEBIBYTE, 6 * 16 * MEBIBYTE])
    expect([allocator.allocate(1, 0), allocator.total]).toEqual([8192, 3 * 8192 + 4096])
    expect(allocator.used).toEqual([12288, 0, 0, 0, 8192, 0, 8192, 0])
  })

  it('takes metaslabs as they are needed while the size is open', () => {
    const allocator = allocatorOf({ metaslabCount: 0, metaslabLimit: 100 })
    expect(allocator.used).toEqual([])
    const places = [0, 1, 0, 2, 0].map((copy) => allocator.allocate(10 * MEBIBYTE, copy) / MEBIBYTE)
    expect(places).toEqual([0, 16, 32, 48, 64])
    expect(allocator.used.map((used) => used / MEBIBYTE)).toEqual([10, 10, 10, 10, 10])
  })

  it.each([0, 100])('never lets a block lie in two metaslabs, nor two in one place: %i to begin with', (metaslabCount) => {
    const allocator = allocatorOf({ metaslabCount, metaslabLimit: 100 })
    const taken: [number, number][] = []
    for (let index = 0; index < 3000; index++) {
      const size = ((index * 7919) % 300_000) + 1
      const place = allocator.allocate(size, index % 3)
      expect(place % 4096).toBe(0)
      expect(Math.floor(place / 2 ** 24)).toBe(Math.floor((place + allocator.sizeOnDisk(size) - 1) / 2 ** 24))
      taken.push([place, place + allocator.sizeOnDisk(size)])
    }
    taken.sort((a, b) => a[0] - b[0])
    for (const [index, [start]] of taken.entries()) expect(start).toBeGreaterThanOrEqual(taken[index - 1]?.[1] ?? 0)
    expect(taken.reduce((sum, [start, end]) => sum + end - start, 0)).toBe(allocator.total)
  })

  it('uses what is left in any metaslab before it is full, and then says so', () => {
    const allocator = allocatorOf({ metaslabCount: 3, metaslabLimit: 3 })
    for (let index = 0; index < 3; index++) allocator.allocate(12 * MEBIBYTE, 0)
    for (let index = 0; index < 3; index++) allocator.allocate(4 * MEBIBYTE, index)
    expect(() => allocator.allocate(1, 0)).toThrow(`full after ${48 * MEBIBYTE}`)
  })

  it('leaves what is not for users', () => {
    const allocator = allocatorOf({ usableSize: 10_000 })
    allocator.allocate(8192, 0)
    expect(() => allocator.allocate(4096, 1)).toThrow('full after 8192')
  })

  it('knows how many metaslabs there will be at most', () => {
    const block = 128 << 10
    for (const each of [1000, 3 * MEBIBYTE, 40 * MEBIBYTE]) {
      const allocator = allocatorOf({ metaslabCount: 0, metaslabLimit: 1000 })
      for (let index = 0; index < 150; index++) allocator.allocate(block, 0)
      allocator.allocate(5000, 1)
      const most = allocator.metaslabCountAfter(each, block)
      allocator.settle(most)
      for (let copy = 0; copy < 3; copy++) for (let size = each; size > 0; size -= block) allocator.allocate(Math.min(size, block), copy)
      expect(allocator.used.length).toBeLessThanOrEqual(most)
      expect(most - allocator.used.length).toBeLessThanOrEqual(1)
    }
  })
})

describe('what of a device users get', () => {
  it.each([
    // Of 15 metaslabs of 16 MiB half of what `zpool list` has as SIZE; from 4 GiB on a 32nd part, less the log's metaslab.
    ['256 MiB', geometryOf(256 * MEBIBYTE, 12), 15 * 16 * MEBIBYTE - 120 * MEBIBYTE],
    ['2 GiB', geometryOf(2 * GIBIBYTE, 12), 15 * 128 * MEBIBYTE - 128 * MEBIBYTE],
    ['8 GiB', geometryOf(8 * GIBIBYTE, 12), (15 * 512 - 240) * MEBIBYTE],
    ['100 GiB', geometryOf(100 * GIBIBYTE, 12), 199 * 512 * MEBIBYTE - 512 * MEBIBYTE - (3168 - 512) * MEBIBYTE - 0],
  ])('%s', (_, geometry, expected) => {
    expect(usableSize(geometry) / MEBIBYTE).toBe(expected / MEBIBYTE)
  })

  it.each([0, 1, MEBIBYTE, GIBIBYTE, 70 * GIBIBYTE])('%i bytes in as few metaslabs as can be', (size) => {
    for (const metaslabShift of [26, 29]) {
      const metaslabCount = metaslabCountFor({ ashift: 12, metaslabShift }, size, 3)
      expect(metaslabCount).toBeGreaterThanOrEqual(3)
      expect(usableSize({ metaslabShift, metaslabCount })).toBeGreaterThanOrEqual(size)
      if (metaslabCount > 3) expect(usableSize({ metaslabShift, metaslabCount: metaslabCount - 1 })).toBeLessThan(size)
    }
  })

  it('a size that is said to do does', () => {
    for (const size of [1, 30 * MEBIBYTE, GIBIBYTE, 12 * GIBIBYTE, 2 ** 42]) {
      for (const blockSize of [128 << 10, 16 * MEBIBYTE]) {
        const geometry = geometryOf(sizeThatHolds(size, 12, blockSize), 12)
        expect(usableSize(geometry)).toBeGreaterThanOrEqual(size + geometry.metaslabCount * blockSize)
      }
    }
  })
})

describe('a device whose size is open', () => {
  it('has metaslabs that can become many bytes', () => {
    expect(openShape(100 * MEBIBYTE, 12, 128 << 10).metaslabShift).toBe(26)
    expect(openShape(2 * GIBIBYTE - MEBIBYTE, 12, 128 << 10).metaslabShift).toBe(27)
    expect(openShape(100 * MEBIBYTE, 12, 16 * MEBIBYTE).metaslabShift).toBe(28)
    for (const gibibytes of [1, 2, 5, 10, 50]) {
      const { metaslabShift } = openShape(gibibytes * GIBIBYTE, 12, 128 << 10)
      expect((100 * GIBIBYTE) / 2 ** metaslabShift).toBeLessThanOrEqual(1600)
    }
  })

  it('has room for its metaslabs and labels, and a round size', () => {
    const geometry = geometryWith(SHAPE, 5, MEBIBYTE)
    expect(geometry).toEqual({ ...SHAPE, deviceSize: 85 * MEBIBYTE, allocatableSize: 85 * MEBIBYTE - 4.5 * MEBIBYTE, metaslabCount: 5 })
    expect(geometryWith(SHAPE, 1, MEBIBYTE)).toMatchObject({ deviceSize: 64 * MEBIBYTE, metaslabCount: 3 })
  })
})
