/** An image in blocks of one size: which of them hold data, and their bytes one after the other. */
import { throwIfAborted } from '../errors.ts'
import { type Extent, type Image, moveExtent } from './image.ts'
import { checkImage, extentChunks } from './stream.ts'

/** Consecutive blocks that are touched by extents. */
export interface BlockRun {
  readonly first: number
  readonly count: number
  /** Blocks of the runs before this one: where the run's first block lies among all that hold data. */
  readonly before: number
}

/** Ascending runs of the blocks of `blockSize` bytes that extents touch. Throws USAGE for a malformed image. */
export function blockRuns(image: Image, blockSize: number): readonly BlockRun[] {
  checkImage(image)
  const runs: { first: number; count: number; before: number }[] = []
  let before = 0
  for (const { start, length } of image.extents) {
    if (length === 0) continue
    const last = runs.at(-1)
    const end = Math.floor((start + length - 1) / blockSize) + 1
    let first = Math.floor(start / blockSize)
    if (last !== undefined && first <= last.first + last.count) {
      first = last.first + last.count
      const added = Math.max(0, end - first)
      last.count += added
      before += added
    } else {
      runs.push({ first, count: end - first, before })
      before += end - first
    }
  }
  return runs
}

/** How many blocks `runs` have. */
export function blockCount(runs: readonly BlockRun[]): number {
  const last = runs.at(-1)
  return last === undefined ? 0 : last.before + last.count
}

/** The runs in blocks that are `factor` times as large: the tables of so many entries that are needed. */
export function coarserRuns(runs: readonly BlockRun[], factor: number): readonly BlockRun[] {
  const image = { size: Number.MAX_SAFE_INTEGER, extents: runs.map(({ first, count }) => ({ start: first, length: count, read: nothing })) }
  return blockRuns(image, factor)
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/** Where a block lies among all that hold data; undefined when it holds none. */
export function blockOrdinal(runs: readonly BlockRun[], block: number): number | undefined {
  let low = 0
  let high = runs.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((runs[middle]?.first ?? 0) <= block) low = middle + 1
    else high = middle
  }
  const run = runs[low - 1]
  return run !== undefined && block < run.first + run.count ? run.before + block - run.first : undefined
}

/** For ascending items: the run that a block lies in, which must be one of `runs` at or after that of the item before. */
export function runFinder(runs: readonly BlockRun[]): (block: number) => BlockRun {
  let at = 0
  return (block) => {
    for (let next = runs[at + 1]; next !== undefined && next.first <= block; next = runs[at + 1]) at++
    return runs[at] ?? { first: block, count: 0, before: 0 }
  }
}

/** The extents of `image` where they lie when only the blocks of `runs` are kept, in a row from byte `start` on. */
export function gatheredExtents(image: Image, runs: readonly BlockRun[], blockSize: number, start: number): Extent[] {
  const runOf = runFinder(runs)
  const extents: Extent[] = []
  for (const extent of image.extents) {
    if (extent.length === 0) continue
    const { first, before } = runOf(Math.floor(extent.start / blockSize))
    extents.push(moveExtent(extent, start + (before - first) * blockSize))
  }
  return extents
}

/** Bytes of a table that are made at a time. */
const TABLE_PIECE_SIZE = 256 << 10

/** A table of `count` entries at byte `start` that is made a piece at a time; `set` writes one entry at byte `at` of `view`. */
export function tableExtent(
  start: number,
  count: number,
  entrySize: number,
  set: (index: number, view: DataView, at: number) => void,
): Extent {
  return {
    start,
    length: count * entrySize,
    async *read() {
      const step = Math.floor(TABLE_PIECE_SIZE / entrySize)
      for (let first = 0; first < count; first += step) {
        const bytes = new Uint8Array(Math.min(step, count - first) * entrySize)
        const view = new DataView(bytes.buffer)
        for (let at = 0; at < bytes.length; at += entrySize) set(first + at / entrySize, view, at)
        yield bytes
      }
    },
  }
}

/**
 * The bytes of all blocks that hold data, in order, filled up with zeros to whole blocks: `fill` is called with memory
 * to fill by `next`, which takes `target.length` bytes, a multiple of the block size.
 */
export interface BlockReader {
  /** Fills `target` with the next blocks. */
  next(target: Uint8Array): Promise<void>
  close(): Promise<void>
}

/** Reads the blocks of `runs`, which are those of `image`, once from the first to the last. */
export function readBlocks(image: Image, runs: readonly BlockRun[], blockSize: number, signal: AbortSignal | undefined): BlockReader {
  const chunks = runChunks(image.extents, runs, blockSize)
  let rest: Uint8Array | number = 0
  return {
    async next(target) {
      for (let done = 0; done < target.length; ) {
        throwIfAborted(signal)
        if (typeof rest === 'number' ? rest === 0 : rest.length === 0) {
          const { value } = await chunks.next()
          if (value === undefined) throw new RangeError('no blocks are left')
          rest = value
        }
        const length: number = typeof rest === 'number' ? rest : rest.length
        const count = Math.min(length, target.length - done)
        if (typeof rest === 'number') {
          target.fill(0, done, done + count)
          rest -= count
        } else {
          target.set(rest.subarray(0, count), done)
          rest = rest.subarray(count)
        }
        done += count
      }
    },
    async close() {
      await chunks.return(undefined)
    },
  }
}

/** Bytes of the runs one after the other; a number stands for so many zeros. */
export async function* runChunks(
  extents: readonly Extent[],
  runs: readonly BlockRun[],
  blockSize: number,
): AsyncGenerator<Uint8Array | number, undefined> {
  let index = 0
  for (const run of runs) {
    let at = run.first * blockSize
    const end = (run.first + run.count) * blockSize
    for (let extent = extents[index]; extent !== undefined && extent.start < end; extent = extents[++index]) {
      if (extent.length === 0) continue
      if (extent.start > at) yield extent.start - at
      yield* extentChunks(extent)
      at = extent.start + extent.length
    }
    if (end > at) yield end - at
  }
  return undefined
}
