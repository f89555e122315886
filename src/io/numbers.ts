/** A list of numbers in memory of eight bytes each, for lists of millions. */

const SMALLEST_ROOM = 1 << 6

export class NumberList {
  #values = new Float64Array(SMALLEST_ROOM)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** What was pushed; `index` is one below `length`. */
  at(index: number): number {
    return this.#values[index] as number
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new Float64Array(2 * this.#length)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.#length++] = value
  }

  /** Put another value in the place of the last one. */
  replaceLast(value: number): void {
    this.#values[this.#length - 1] = value
  }

  /** Of ascending numbers: the index of the first one above `value`, or the length. */
  firstAbove(value: number): number {
    let [low, high] = [0, this.#length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.at(middle) <= value) low = middle + 1
      else high = middle
    }
    return low
  }

  /** From the least to the largest. */
  sort(): void {
    this.#values.subarray(0, this.#length).sort()
  }
}
