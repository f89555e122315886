/** Which blocks hold data, as runs. */
import { NumberList } from './numbers.ts'

/** Consecutive blocks that are touched by extents. */
export interface BlockRun {
  readonly first: number
  readonly count: number
  /** Blocks of the runs before this one: where the run's first block lies among all that hold data. */
  readonly before: number
}

/** Ascending runs that do not touch each other, in memory of 16 bytes each: a disk may lie scattered in millions of them. */
export class BlockRuns implements Iterable<BlockRun> {
  readonly #firsts = new NumberList()
  readonly #befores = new NumberList()
  #blockCount = 0

  /** Runs. */
  get length(): number {
    return this.#firsts.length
  }

  /** Blocks of all runs. */
  get blockCount(): number {
    return this.#blockCount
  }

  /** Add the blocks from `first` up to `end`, some of which may be there already; they come in ascending order. */
  add(first: number, end: number): void {
    const last = this.at(this.length - 1)
    const lastEnd = last === undefined ? -1 : last.first + last.count
    if (first > lastEnd) {
      this.#firsts.push(first)
      this.#befores.push(this.#blockCount)
    }
    this.#blockCount += Math.max(0, end - Math.max(first, lastEnd))
  }

  at(index: number): BlockRun | undefined {
    if (index < 0 || index >= this.length) return undefined
    const before = this.#befores.at(index)
    const end = index + 1 < this.length ? this.#befores.at(index + 1) : this.#blockCount
    return { first: this.#firsts.at(index), count: end - before, before }
  }

  *[Symbol.iterator](): Generator<BlockRun, undefined> {
    for (let index = 0; index < this.length; index++) yield this.at(index) as BlockRun
  }

  /** The run that begins last at or before a block; -1 where none does. */
  indexAt(block: number): number {
    return this.#firsts.firstAbove(block) - 1
  }

  /** The run that holds the block with this number among all that hold data. */
  indexOfOrdinal(ordinal: number): number {
    return this.#befores.firstAbove(ordinal) - 1
  }
}

/** The runs in blocks that are `factor` times as large: the tables of so many entries that are needed. */
export function coarserRuns(runs: BlockRuns, factor: number): BlockRuns {
  const coarser = new BlockRuns()
  for (const { first, count } of runs) coarser.add(Math.floor(first / factor), Math.floor((first + count - 1) / factor) + 1)
  return coarser
}

/** Where a block lies among all that hold data; undefined when it holds none. */
export function blockOrdinal(runs: BlockRuns, block: number): number | undefined {
  const run = runs.at(runs.indexAt(block))
  return run !== undefined && block < run.first + run.count ? run.before + block - run.first : undefined
}

/** For ascending blocks that hold data: the run that a block lies in. */
export function runFinder(runs: BlockRuns): (block: number) => BlockRun {
  let current: BlockRun | undefined
  return (block) => {
    if (current === undefined || block < current.first || block >= current.first + current.count) current = runs.at(runs.indexAt(block))
    return current ?? { first: block, count: 0, before: 0 }
  }
}

/** For ascending numbers among all blocks that hold data: which block it is. */
export function blockFinder(runs: BlockRuns): (ordinal: number) => number {
  let current: BlockRun | undefined
  return (ordinal) => {
    if (current === undefined || ordinal >= current.before + current.count) current = runs.at(runs.indexOfOrdinal(ordinal))
    return current === undefined ? ordinal : current.first + ordinal - current.before
  }
}
