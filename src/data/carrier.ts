/**
 * Brings the files of checked trees to a file that was lent: threads read, hash and write them, and this one compares the
 * digests. What it is told are places; no byte of a file passes through it.
 */
import type { CarriedGroup, CarriedPart, Carrier, CarryOrder } from '../io/image.ts'
import { Pool } from '../threads/pool.ts'
import type { TreeDigest } from '../tree/tree.ts'
import { checkDigest, isVerifiedGroup } from '../tree/verified.ts'
import { planCarrying } from './carry-plan.ts'
import type { CarryResult, CarrySetup, CarryTask } from './carry-protocol.ts'
import { work } from './carry-work.ts'

/** Tasks a thread has in hand, so that it need not wait for this one. */
const TASKS_PER_THREAD = 3

/** Bytes that are carried while a thread starts. */
const WORTH_A_THREAD = 16 << 20

/** For files of digests, see `verifiedTree`. */
export const threadCarrier: Carrier = {
  async carry(loads, order) {
    const { lent, jobs, threads, signal } = order
    const { descriptor, label } = lent
    const size = [...loads.keys()].reduce((sum, group) => sum + group.size, 0)
    const pool = new Pool<CarrySetup, CarryTask, CarryResult>(
      work,
      { descriptor, label },
      {
        count: Math.min(jobs, loads.size, Math.ceil(size / WORTH_A_THREAD)),
        threads: size < WORTH_A_THREAD ? 'none' : threads,
        signal,
      },
    )
    try {
      await new Carrying(pool, loads, order).run()
    } finally {
      await pool.close()
    }
  },
}

/** What of a digest belongs where. */
interface Load {
  readonly digest: TreeDigest
  readonly parts: readonly CarriedPart[]
}

class Carrying {
  readonly #pool: Pool<CarrySetup, CarryTask, CarryResult>
  readonly #order: CarryOrder
  /** The largest last, where they are taken from, so that no thread is left with one at the end. */
  readonly #loads: Load[]
  #streamCount = 0

  constructor(pool: Pool<CarrySetup, CarryTask, CarryResult>, loads: ReadonlyMap<CarriedGroup, readonly CarriedPart[]>, order: CarryOrder) {
    this.#pool = pool
    this.#order = order
    const ascending = [...loads].sort(([a], [b]) => a.size - b.size)
    this.#loads = ascending.map(([group, parts]) => {
      if (!isVerifiedGroup(group)) throw new RangeError('a group that is no digest')
      return { digest: group.digest, parts }
    })
  }

  /** The first error ends all tasks. */
  async run(): Promise<void> {
    const threads = Array.from({ length: this.#pool.size }, (_, thread) => this.#occupy(thread))
    for (const each of threads) each.catch((error: unknown) => this.#pool.fail(error))
    await Promise.all(threads)
  }

  /** A digest is hashed as a whole, so all its tasks go to one thread, in order. */
  async #occupy(thread: number): Promise<void> {
    const inHand: Promise<void>[] = []
    for (let load = this.#loads.pop(); load !== undefined; load = this.#loads.pop()) {
      const stream = this.#streamCount++
      for (const { outputSize, ...planned } of planCarrying(load.digest, load.parts)) {
        if (inHand.length === TASKS_PER_THREAD) await inHand.shift()
        const task: CarryTask = { ...planned, stream, hashed: true }
        const done = this.#pool.run(task, { thread, moved: [planned.text.buffer] }).then((digest) => {
          if (planned.last) checkDigest(load.digest, digest ?? new Uint8Array(0))
          this.#order.lent.written(outputSize)
          this.#order.onWritten(outputSize)
        })
        // It counts when it is awaited.
        done.catch(() => undefined)
        inHand.push(done)
      }
    }
    await Promise.all(inHand)
  }
}
