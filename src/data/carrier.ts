/**
 * Brings the files of checked trees to a file that was lent: threads read, hash and write them, and this one compares the
 * digests. What it is told are places; no byte of a file passes through it.
 */
import { type ErrorCode, ImageError } from '../errors.ts'
import type { CarriedLoad, CarriedPart, Carrier, CarryOrder } from '../io/image.ts'
import { Pool } from '../threads/pool.ts'
import type { TreeDigest } from '../tree/tree.ts'
import { checkDigest, isVerifiedGroup } from '../tree/verified.ts'
import { type PlannedCarry, planCarrying } from './carry-plan.ts'
import { type CarryResult, type CarrySetup, type CarryTask, RUN_FIELDS } from './carry-protocol.ts'
import { work } from './carry-work.ts'

/** Tasks a thread has in hand, so that it need not wait for this one. */
const TASKS_PER_THREAD = 3

/** Bytes that are carried while a thread starts. */
const WORTH_A_THREAD = 16 << 20

/** What is more than one of so many parts of a thread's share is large. */
const LARGE_PARTS = 4

/** What is wrong with one digest, and says nothing of the others. */
const OF_INPUT: readonly ErrorCode[] = ['CHANGED', 'UNREADABLE', 'HASH_MISMATCH']

/** For files of digests, see `verifiedTree`. */
export const threadCarrier: Carrier = {
  async carry(load, order) {
    const { lent, jobs, threads, signal } = order
    const { descriptor, label } = lent
    const size = [...load.keys()].reduce((sum, group) => sum + group.size, 0)
    const pool: CarryPool = new Pool(
      work,
      { descriptor, label },
      {
        count: Math.min(jobs, load.size, Math.ceil(size / WORTH_A_THREAD)),
        threads: size < WORTH_A_THREAD ? 'none' : threads,
        signal,
      },
    )
    try {
      await new Carrying(pool, load, order).run()
    } finally {
      await pool.close()
    }
  },
}

type CarryPool = Pool<CarrySetup, CarryTask, CarryResult>

/** What of a digest belongs where. */
interface DigestLoad {
  readonly digest: TreeDigest
  readonly parts: readonly CarriedPart[]
  /** Bytes of its files. */
  readonly size: number
  /** Where the first of its parts belongs. */
  readonly position: number
}

/**
 * In the order of the file, so that it is written from its beginning to its end; but first those that are so large that a
 * thread would be left with one at the end.
 */
function inTurn(loads: readonly DigestLoad[], threadCount: number): DigestLoad[] {
  const large = loads.reduce((sum, { size }) => sum + size, 0) / (LARGE_PARTS * threadCount)
  const rank = ({ size }: DigestLoad): number => (size > large ? size : 0)
  return [...loads].sort((a, b) => rank(b) - rank(a) || a.position - b.position)
}

class Carrying {
  readonly #pool: CarryPool
  readonly #order: CarryOrder
  /** In the order in which they are taken. */
  readonly #loads: readonly DigestLoad[]
  #taken = 0
  /** For each load the first place of it and all behind it: nothing before that is written by those that are not taken yet. */
  readonly #firstPlaces: Float64Array
  /** Of loads that are taken, where the first part begins that is not written. */
  readonly #unwritten = new Map<DigestLoad, number>()
  /** Of the digests that are wrong, the first in the file. */
  #wrong: { readonly position: number; readonly error: unknown } | undefined

  constructor(pool: CarryPool, load: CarriedLoad, order: CarryOrder) {
    this.#pool = pool
    this.#order = order
    const loads = [...load].map(([group, parts]): DigestLoad => {
      if (!isVerifiedGroup(group)) throw new RangeError('a group that is no digest')
      return { digest: group.digest, parts, size: group.size, position: parts[0]?.start ?? 0 }
    })
    this.#loads = inTurn(loads, pool.size)
    this.#firstPlaces = new Float64Array(loads.length + 1).fill(Number.POSITIVE_INFINITY)
    for (const [index, { position }] of [...this.#loads.entries()].reverse())
      this.#firstPlaces[index] = Math.min(position, this.#firstPlaces[index + 1] as number)
  }

  async run(): Promise<void> {
    const threads = Array.from({ length: this.#pool.size }, (_, thread) => this.#occupy(thread))
    for (const each of threads) each.catch((error: unknown) => this.#pool.fail(error))
    await Promise.all(threads)
    if (this.#wrong !== undefined) throw this.#wrong.error
  }

  /** A digest is hashed as a whole, so all its tasks go to one thread, in order. */
  async #occupy(thread: number): Promise<void> {
    const inHand: Promise<void>[] = []
    for (let load = this.#loads[this.#taken]; load !== undefined; load = this.#loads[this.#taken]) {
      const stream = this.#taken++
      this.#unwritten.set(load, load.position)
      for (const planned of planCarrying(load.digest, load.parts)) {
        if (inHand.length === TASKS_PER_THREAD) await inHand.shift()
        if (this.#isPast(load)) break
        const done = this.#carry(load, planned, stream, thread)
        // It counts when it is awaited.
        done.catch(() => undefined)
        inHand.push(done)
      }
    }
    await Promise.all(inHand)
  }

  async #carry(load: DigestLoad, { outputSize, settled, ...planned }: PlannedCarry, stream: number, thread: number): Promise<void> {
    try {
      const task: CarryTask = { ...planned, stream, hashed: true }
      const digest = await this.#pool.run(task, { thread, moved: [planned.text.buffer] })
      if (planned.last) checkDigest(load.digest, digest ?? new Uint8Array(0))
    } catch (error) {
      // What comes after the first error of a digest is a consequence of it.
      if (this.#isPast(load)) return
      if (!(error instanceof ImageError) || !OF_INPUT.includes(error.code)) throw error
      this.#wrong = { position: load.position, error }
      return
    }
    const { runs } = planned
    for (let at = 0; at < runs.length; at += RUN_FIELDS) {
      const [, length = 0, position = 0] = runs.subarray(at, at + RUN_FIELDS)
      this.#order.lent.written(position, length)
    }
    if (planned.last) this.#unwritten.delete(load)
    else this.#unwritten.set(load, settled)
    this.#order.onWritten(outputSize)
    this.#order.onSettled(Math.min(this.#firstPlaces[this.#taken] as number, ...this.#unwritten.values()))
  }

  /** Whether a load would not count any more if it were wrong. */
  #isPast({ position }: DigestLoad): boolean {
    return this.#wrong !== undefined && this.#wrong.position <= position
  }
}
