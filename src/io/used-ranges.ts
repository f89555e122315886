/**
 * Ranges of a file of which no byte may be used twice. A table that names the same bytes again and again would make a disk
 * without end out of a small file.
 */
import { NumberList } from './numbers.ts'

/** So many ranges are looked at together; twice as many as are left, when those do not touch. */
const CHECK_COUNT = 1 << 16

export class UsedRanges {
  readonly #error: (position: number) => Error
  #starts = new NumberList()
  #ends = new NumberList()
  #checkCount = CHECK_COUNT

  /** `error` makes what is thrown for a byte that is used twice. */
  constructor(error: (position: number) => Error) {
    this.#error = error
  }

  /** Throws when it is found that a byte is used twice; `check` has the last word. */
  add(start: number, end: number): void {
    const { length } = this.#ends
    if (length > 0 && this.#ends.at(length - 1) === start) {
      this.#ends.replaceLast(end)
      return
    }
    this.#starts.push(start)
    this.#ends.push(end)
    if (length < this.#checkCount) return
    this.check()
    this.#checkCount = Math.max(CHECK_COUNT, 2 * this.#starts.length)
  }

  /** Throws when a byte was used twice. Ranges that touch become one, so that what is held is what lies scattered. */
  check(): void {
    // Ranges are apart exactly when, both sorted, each end comes before the next start: then no two are open at once.
    this.#starts.sort()
    this.#ends.sort()
    const [starts, ends] = [new NumberList(), new NumberList()]
    for (let index = 0; index < this.#starts.length; index++) {
      const start = this.#starts.at(index)
      const last = index === 0 ? Number.NEGATIVE_INFINITY : this.#ends.at(index - 1)
      if (start < last) throw this.#error(start)
      if (start === last) ends.replaceLast(this.#ends.at(index))
      else {
        starts.push(start)
        ends.push(this.#ends.at(index))
      }
    }
    this.#starts = starts
    this.#ends = ends
  }
}
