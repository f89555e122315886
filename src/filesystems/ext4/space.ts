/** Which blocks are free: ascending runs, taken from the front. */

/** Called with runs of blocks in the order in which they are taken. */
export type UseRun = (firstBlock: number, blockCount: number) => void

/** Blocks from `start` up to `end`. */
export interface BlockRange {
  readonly start: number
  readonly end: number
}

export class Space {
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  /** Runs before this one are used up. */
  #front = 0

  /** All blocks below `blockCount` but those in `used`, which is ascending and without overlap. */
  constructor(blockCount: number, used: readonly BlockRange[]) {
    let start = 0
    for (const range of used) {
      this.#addFree(start, range.start)
      start = range.end
    }
    this.#addFree(start, blockCount)
  }

  #addFree(start: number, end: number): void {
    if (end <= start) return
    this.#starts.push(start)
    this.#ends.push(end)
  }

  /** Take the first free blocks; returns how many are missing. */
  take(blockCount: number, use: UseRun): number {
    let left = blockCount
    while (left > 0 && this.#front < this.#starts.length) {
      left -= this.#takeOf(this.#front, left, use)
      if (this.#starts[this.#front] === this.#ends[this.#front]) this.#front++
    }
    return left
  }

  /** Take the first free blocks from `goal` on, and then those before it; returns how many are missing. */
  takeFrom(goal: number, blockCount: number, use: UseRun): number {
    let index = this.#front
    while (index < this.#starts.length && (this.#ends[index] as number) <= goal) index++
    if (index < this.#starts.length && (this.#starts[index] as number) < goal) {
      this.#starts.splice(index + 1, 0, goal)
      this.#ends.splice(index, 0, goal)
      index++
    }
    let left = blockCount
    while (left > 0 && index < this.#starts.length) {
      left -= this.#takeOf(index, left, use)
      if (this.#starts[index] === this.#ends[index]) {
        this.#starts.splice(index, 1)
        this.#ends.splice(index, 1)
      }
    }
    return this.take(left, use)
  }

  #takeOf(index: number, atMost: number, use: UseRun): number {
    const start = this.#starts[index] as number
    const count = Math.min(atMost, (this.#ends[index] as number) - start)
    this.#starts[index] = start + count
    use(start, count)
    return count
  }

  /** What is left, ascending. */
  freeRanges(): BlockRange[] {
    const ranges: BlockRange[] = []
    for (let index = this.#front; index < this.#starts.length; index++) {
      ranges.push({ start: this.#starts[index] as number, end: this.#ends[index] as number })
    }
    return ranges
  }
}
