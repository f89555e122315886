/** An image in blocks of one size: which of them hold data, and their bytes one after the other. */
import { throwIfAborted } from '../errors.ts'
import { type BlockRun, BlockRuns, runFinder } from './block-runs.ts'
import { type ByteRun, type Extent, type Image, moveExtent, type SparseContent } from './image.ts'
import { checkImage, dataRuns, filledChunks, sparseChunks } from './stream.ts'

/** Ascending runs of the blocks of `blockSize` bytes that data lies in. Throws USAGE for a malformed image. */
export function blockRuns(image: Image, blockSize: number): BlockRuns {
  checkImage(image)
  const runs = new BlockRuns()
  for (const { start, length } of dataRuns(image)) {
    if (length > 0) runs.add(Math.floor(start / blockSize), Math.floor((start + length - 1) / blockSize) + 1)
  }
  return runs
}

/** The extents of `image` where they lie when only the blocks of `runs` are kept, in a row from byte `start` on. */
export function gatheredExtents(image: Image, runs: BlockRuns, blockSize: number, start: number): Extent[] {
  const extents: Extent[] = []
  const runOf = runFinder(runs)
  for (const extent of image.extents) {
    if (extent.length === 0) continue
    if (extent.sparse !== undefined) {
      const gathered = gatheredSparse(extent, extent.sparse, start, () => placeFinder(runs, blockSize))
      if (gathered !== undefined) extents.push(gathered)
      continue
    }
    const { first, before } = runOf(Math.floor(extent.start / blockSize))
    extents.push(moveExtent(extent, start + (before - first) * blockSize))
  }
  return extents
}

/** For ascending bytes: where a byte of the image lies among the blocks that hold data. */
function placeFinder(runs: BlockRuns, blockSize: number): (position: number) => number {
  const runOf = runFinder(runs)
  return (position) => {
    const { first, before } = runOf(Math.floor(position / blockSize))
    return position + (before - first) * blockSize
  }
}

/** From its first data to its last; undefined for an extent that has none. */
function gatheredSparse(extent: Extent, sparse: SparseContent, offset: number, finder: () => (at: number) => number): Extent | undefined {
  function* runs(): Generator<ByteRun> {
    const placeOf = finder()
    for (const { start, length } of sparse.runs()) if (length > 0) yield { start: offset + placeOf(extent.start + start), length }
  }
  let start: number | undefined
  let end = 0
  for (const run of runs()) {
    start ??= run.start
    end = run.start + run.length
  }
  if (start === undefined) return undefined
  const first = start
  return sparseExtent(first, end - first, {
    *runs() {
      for (const run of runs()) yield { start: run.start - first, length: run.length }
    },
    async *read() {
      const placeOf = finder()
      let from = extent.start
      let to = first
      for await (const chunk of sparse.read()) {
        if (typeof chunk === 'number') {
          from += chunk
          continue
        }
        const place = offset + placeOf(from)
        if (place > to) yield place - to
        yield chunk
        from += chunk.length
        to = place + chunk.length
      }
      if (end > to) yield end - to
    },
  })
}

/** An extent of what may hold zeros, for readers that want the bytes and for those that can do without the zeros. */
export function sparseExtent(start: number, length: number, sparse: SparseContent): Extent {
  return { start, length, sparse, read: () => filledChunks(sparse.read()) }
}

/** Bytes of a table that are made at a time. */
const TABLE_PIECE_SIZE = 256 << 10

type SetEntry = (index: number, view: DataView, at: number) => void

/** A table of `count` entries at byte `start` that is made a piece at a time; `set` writes one entry at byte `at` of `view`. */
export function tableExtent(start: number, count: number, entrySize: number, set: SetEntry): Extent {
  return {
    start,
    length: count * entrySize,
    read: async function* () {
      yield* tablePieces(0, count, entrySize, set)
    },
  }
}

function* tablePieces(first: number, end: number, entrySize: number, set: SetEntry): Generator<Uint8Array> {
  const step = Math.floor(TABLE_PIECE_SIZE / entrySize)
  for (let from = first; from < end; from += step) {
    const bytes = new Uint8Array(Math.min(step, end - from) * entrySize)
    const view = new DataView(bytes.buffer)
    for (let at = 0; at < bytes.length; at += entrySize) set(from + at / entrySize, view, at)
    yield bytes
  }
}

/** So many extents stand for runs; of more runs several are one extent with holes. */
export const EXTENT_LIMIT = 1 << 12
/** Gaps in a table that are not worth a write of their own: file systems have no smaller holes. */
const TABLE_GAP = 4096

/** Tables in which only some entries are not zero. */
export interface EntryTable {
  readonly entrySize: number
  /** The byte at which the entries of a run begin; ascending, and far enough apart. */
  readonly placeOf: (run: BlockRun) => number
  /** Writes the entry of a block at byte `at` of `view`; `ordinal` is its number among all that hold data. */
  readonly set: SetEntry
}

/** The entries of the blocks of `runs`, made a piece at a time; what lies between them is zero. */
export function entryExtents(runs: BlockRuns, table: EntryTable): Extent[] {
  const step = Math.ceil(runs.length / EXTENT_LIMIT)
  const extents: Extent[] = []
  for (let first = 0; first < runs.length; first += step) {
    const end = Math.min(first + step, runs.length)
    const start = table.placeOf(runs.at(first) as BlockRun)
    const last = runs.at(end - 1) as BlockRun
    const placed = (): Generator<PlacedEntries> => placedEntries(runs, first, end, start, table)
    extents.push(
      sparseExtent(start, table.placeOf(last) + last.count * table.entrySize - start, {
        runs: placed,
        read: async function* () {
          yield* entryPieces(placed(), table)
        },
      }),
    )
  }
  return extents
}

/** Entries of one run; bytes count from the beginning of the extent. */
interface PlacedEntries extends ByteRun {
  readonly run: BlockRun
}

function* placedEntries(runs: BlockRuns, first: number, end: number, start: number, table: EntryTable): Generator<PlacedEntries> {
  for (let index = first; index < end; index++) {
    const run = runs.at(index) as BlockRun
    yield { start: table.placeOf(run) - start, length: run.count * table.entrySize, run }
  }
}

/** Small runs that are near each other become one piece. */
function* entryPieces(placed: Iterable<PlacedEntries>, { entrySize, set }: EntryTable): Generator<Uint8Array | number> {
  const room = new Uint8Array(TABLE_PIECE_SIZE)
  const view = new DataView(room.buffer)
  let [start, end] = [0, 0]
  for (const { start: next, length, run } of placed) {
    if (next + length - start > room.length || next - end > TABLE_GAP) {
      if (end > start) yield room.slice(0, end - start)
      room.fill(0)
      if (next > end) yield next - end
      start = next
    }
    end = next + length
    if (length > room.length) {
      yield* tablePieces(run.before, run.before + run.count, entrySize, set)
      start = end
      continue
    }
    for (let index = 0; index < run.count; index++) set(run.before + index, view, next - start + index * entrySize)
  }
  if (end > start) yield room.slice(0, end - start)
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
export function readBlocks(image: Image, runs: BlockRuns, blockSize: number, signal: AbortSignal | undefined): BlockReader {
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
  runs: BlockRuns,
  blockSize: number,
): AsyncGenerator<Uint8Array | number, undefined> {
  const placeOf = placeFinder(runs, blockSize)
  let done = 0
  for (const extent of extents) {
    let at = extent.start
    for await (const chunk of sparseChunks(extent)) {
      if (typeof chunk === 'number') {
        at += chunk
        continue
      }
      const place = placeOf(at)
      if (place > done) yield place - done
      yield chunk
      at += chunk.length
      done = place + chunk.length
    }
  }
  const end = runs.blockCount * blockSize
  if (end > done) yield end - done
  return undefined
}
