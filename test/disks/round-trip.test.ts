/** Random sparse disks through every container and back. */
import { describe, expect, it } from 'vitest'
import { openRaw } from '../../src/disks/raw/index.ts'
import { bytesExtent, isGrowing } from '../../src/io/image.ts'
import { bytesSource } from '../../src/io/source.ts'
import { writeImage } from '../../src/io/stream.ts'
import { CONTAINERS, content, digest, random, randomDisk, SparseMemory, written } from './containers.ts'

const SEEDS = [1, 2, 3, 4, 5]

describe.each(CONTAINERS)('$name', ({ write, open }) => {
  it.each(SEEDS)('reads back what was written (seed %i)', async (seedNumber) => {
    const disk = randomDisk(seedNumber)
    const back = await open(await written(write(disk)))
    expect(await digest(back)).toBe(await digest(disk))
    let end = -1
    for (const extent of back.extents) {
      expect(extent.start).toBeGreaterThan(end)
      end = extent.start + extent.length
    }
  })

  it('rounds a size up to sectors', async () => {
    const back = await open(await written(write({ size: 1001, extents: [bytesExtent(1000, Uint8Array.of(7))] })))
    expect(back.size).toBe(1024)
    expect(await digest(back)).toBe(await digest({ size: 1024, extents: [bytesExtent(1000, Uint8Array.of(7))] }))
  })

  it('holds a disk without data, and one of no bytes', async () => {
    for (const size of [0, 512, 2 ** 28]) {
      const back = await open(await written(write({ size, extents: [] })))
      expect(back.size).toBe(size)
      expect(back.extents.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(size)
    }
  })

  it('has the same bytes with any number of threads, at any place, each time', async () => {
    const disk = randomDisk(99)
    const zeros = new Uint8Array(1 << 20)
    const memory = await written(write(disk), 0, 1)
    const whole = await digest({ size: memory.size, extents: (await openRaw(memory)).extents.slice(0) })
    for (const [start, jobs] of [
      [0, 3],
      [12345, 2],
    ] as const) {
      const again = await written(write(disk), start, jobs)
      const moved = new SparseMemory()
      for (let at = 0; at < again.size - start; at += 1 << 20) {
        const bytes = await again.read(start + at, Math.min(1 << 20, again.size - start - at))
        if (Buffer.compare(bytes, zeros.subarray(0, bytes.length)) !== 0) await moved.write(at, bytes)
      }
      await moved.setSize(again.size - start)
      expect(await digest(await openRaw(moved))).toBe(whole)
    }
  })

  it('is no larger than it says', async () => {
    const next = random(5)
    const noise = new Uint8Array(700_000).map(() => next(256))
    const image = write({ size: 2 ** 31, extents: [bytesExtent(0, noise), bytesExtent(2 ** 30, noise)] })
    const { size } = await written(image)
    expect(size).toBeLessThanOrEqual(isGrowing(image) ? image.sizeLimit : image.size)
  })
})

describe('conversion', () => {
  it('from A to B to A changes nothing', async () => {
    const next = random(77)
    for (let round = 0; round < 14; round++) {
      const [a, b] = [CONTAINERS[next(CONTAINERS.length)], CONTAINERS[next(CONTAINERS.length)]]
      if (!a || !b) throw new Error('no format')
      const disk = randomDisk(1000 + round)
      const first = await a.open(await written(a.write(disk)))
      const second = await b.open(await written(b.write(first)))
      const third = await a.open(await written(a.write(second)))
      expect(await digest(third), `${a.name} to ${b.name}`).toBe(await digest(disk))
    }
  })
})

describe('raw', () => {
  it('is one extent, or those that hold data', async () => {
    const bytes = new Uint8Array(5_000_000)
    bytes.set(content(random(3), 1000), 65536)
    bytes[65536] = 1
    bytes[4_999_999] = 1
    const [plain, sparse] = [await openRaw(bytesSource(bytes)), await openRaw(bytesSource(bytes), { skipZeros: true })]
    expect(plain.extents.map(({ start, length }) => [start, length])).toEqual([[0, 5_000_000]])
    expect(sparse.extents.map(({ start, length }) => [start, length])).toEqual([
      [65536, 4096],
      [4_997_120, 2880],
    ])
    expect(await digest(sparse)).toBe(await digest(plain))
  })

  it('tells two disks apart (the digest is no constant)', async () => {
    const disk = randomDisk(1)
    const memory = new SparseMemory()
    await writeImage(disk, memory, 0, { jobs: 1 })
    await memory.setSize(disk.size)
    const before = await digest(await openRaw(memory))
    expect(before).toBe(await digest(disk))
    const at = (disk.extents[0]?.start ?? 0) + 1
    const [byte = 0] = await memory.read(at, 1)
    await memory.write(at, Uint8Array.of(byte ^ 1))
    expect(await digest(await openRaw(memory))).not.toBe(before)
  })
})
