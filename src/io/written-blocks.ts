/**
 * Which parts of a file were written, by the mebibyte: the others are known to be zero and need not be read. Nobody else writes to the
 * file, which is new.
 */
import type { ByteRun } from './byte-run.ts'

const BLOCK_SIZE = 1 << 20

export class WrittenBlocks {
  #blocks = new Uint8Array(64)

  add(position: number, length: number): void {
    if (length <= 0) return
    const first = Math.floor(position / BLOCK_SIZE)
    const end = Math.ceil((position + length) / BLOCK_SIZE)
    if (end > this.#blocks.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#blocks.length))
      larger.set(this.#blocks)
      this.#blocks = larger
    }
    this.#blocks.fill(1, first, end)
  }

  /** Whether all blocks of these bytes were added. */
  holds(position: number, length: number): boolean {
    if (length <= 0) return true
    const end = Math.ceil((position + length) / BLOCK_SIZE)
    return end <= this.#blocks.length && !this.#blocks.subarray(Math.floor(position / BLOCK_SIZE), end).includes(0)
  }

  /** What may be other than zero of the first `size` bytes, ascending; runs touch neither each other nor anything before them. */
  runs(size: number): ByteRun[] {
    const runs: ByteRun[] = []
    const end = Math.min(this.#blocks.length, Math.ceil(size / BLOCK_SIZE))
    for (let block = this.#blocks.indexOf(1); block !== -1 && block < end; block = this.#blocks.indexOf(1, block)) {
      const first = block
      while (block < end && this.#blocks[block] === 1) block++
      const start = first * BLOCK_SIZE
      runs.push({ start, length: Math.min(size, block * BLOCK_SIZE) - start })
    }
    return runs
  }
}
