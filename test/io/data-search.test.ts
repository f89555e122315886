/** Where a file has data, found by threads and past the page cache. */
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { searchData } from '../../src/io/data-search.ts'
import { bytesSource, FileSource, type RandomAccessSource } from '../../src/io/source.ts'
import { Dice } from '../dice.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-search-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function runsOf(source: RandomAccessSource, from = 0, end = source.size, jobs = 2): Promise<number[][]> {
  const { starts, ends } = await searchData(source, from, end, { jobs })
  return Array.from({ length: starts.length }, (_, index) => [starts.at(index), ends.at(index)])
}

describe('data in a file', () => {
  it('is found to units of 4096 bytes, in whatever part of it, as in memory', async () => {
    const dice = new Dice(5)
    const bytes = new Uint8Array(3_000_001)
    for (let count = 0; count < 60; count++) bytes[dice.below(bytes.length)] = 1
    bytes[3_000_000] = 1
    const path = join(folder, 'small')
    const descriptor = openSync(path, 'w')
    writeSync(descriptor, bytes)
    closeSync(descriptor)
    const source = await FileSource.open(path)
    for (const [from, end] of [
      [0, bytes.length],
      [1, bytes.length - 1],
      [4097, 2_000_000],
      [1 << 20, 2 << 20],
      [100, 100],
    ] as const) {
      const found = await runsOf(source, from, end)
      expect(found).toEqual(await runsOf(bytesSource(bytes), from, end))
      const isIn = (at: number): boolean => found.some(([start = 0, stop = 0]) => at >= start && at < stop)
      for (let at = from; at < end; at++) if (bytes[at] !== 0 && !isIn(at)) throw new Error(`${at} is not found`)
      for (const [start = 0, stop = 0] of found) expect(bytes.subarray(start, stop).some((byte) => byte !== 0)).toBe(true)
    }
    await source.close()
  })

  it('is found in a large file that is mostly holes, up to its odd end', async () => {
    const path = join(folder, 'holes')
    const size = (1 << 30) + 77
    const descriptor = openSync(path, 'w')
    for (const at of [0, (64 << 20) - 1, 64 << 20, 700_000_000, size - 1]) writeSync(descriptor, Uint8Array.of(1), 0, 1, at)
    closeSync(descriptor)
    const source = await FileSource.open(path)
    const unit = (at: number): number => at - (at % 4096)
    for (const jobs of [1, 3]) {
      expect(await runsOf(source, 0, size, jobs)).toEqual([
        [0, 4096],
        [(64 << 20) - 4096, (64 << 20) + 4096],
        [unit(700_000_000), unit(700_000_000) + 4096],
        [1 << 30, size],
      ])
    }
    await source.close()
  })

  it('is not found in a file that changes meanwhile, or that ends', async () => {
    const path = join(folder, 'changing')
    closeSync(openSync(path, 'w'))
    truncateSync(path, 64 << 20)
    const source = await FileSource.open(path)
    truncateSync(path, 1 << 20)
    await expect(searchData(source, 0, source.size)).rejects.toMatchObject({ code: 'CHANGED', path })
    truncateSync(path, 64 << 20)
    await expect(searchData(source, 0, source.size)).rejects.toMatchObject({ code: 'CHANGED', path })
    await source.close()
  })
})
