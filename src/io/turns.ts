/** Long work on the one thread, in turns. Between two of them the event loop runs, so that signals, timers and readers get theirs. */
import { setImmediate } from 'node:timers/promises'
import { throwIfAborted } from '../errors.ts'

/** Steps of a turn. A step is a look at one number or name, some tens of nanoseconds: a turn takes some milliseconds. */
const TURN_STEPS = 100_000

/**
 * Counts steps, so that no clock is needed:
 *
 *     for (const item of items) if (turns.isOver()) await turns.next()
 */
export class Turns {
  readonly #signal: AbortSignal | undefined
  readonly #message: string
  #left = TURN_STEPS

  /** `message` says what is cancelled. */
  constructor(signal?: AbortSignal, message = 'cancelled') {
    this.#signal = signal
    this.#message = message
  }

  /** Counts `steps`; true when the turn is over and `next` has to be awaited. */
  isOver(steps = 1): boolean {
    this.#left -= steps
    return this.#left <= 0
  }

  /** Lets the event loop run. Throws ABORTED when the signal has come. */
  async next(): Promise<void> {
    this.#left = TURN_STEPS
    await setImmediate()
    throwIfAborted(this.#signal, this.#message)
  }
}

/** Items that are sorted at once. */
const RUN_LENGTH = 1 << 13

/** A sorted copy; items that are alike stay in their order. */
export async function sortedInTurns<T>(items: readonly T[], compare: (a: T, b: T) => number, turns: Turns): Promise<T[]> {
  let sorted: T[] = []
  for (let start = 0; start < items.length; start += RUN_LENGTH) {
    for (const item of items.slice(start, start + RUN_LENGTH).sort(compare)) sorted.push(item)
    if (turns.isOver(RUN_LENGTH * 8)) await turns.next()
  }
  for (let length = RUN_LENGTH; length < sorted.length; length *= 2) {
    const merged: T[] = new Array(sorted.length)
    for (let start = 0; start < sorted.length; start += 2 * length) {
      const middle = Math.min(start + length, sorted.length)
      const end = Math.min(middle + length, sorted.length)
      let [left, right] = [start, middle]
      for (let at = start; at < end; at++) {
        const isLeft = right === end || (left < middle && compare(sorted[left] as T, sorted[right] as T) <= 0)
        merged[at] = sorted[isLeft ? left++ : right++] as T
        if (turns.isOver()) await turns.next()
      }
    }
    sorted = merged
  }
  return sorted
}
