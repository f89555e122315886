/** The pool of threads: what comes back, what goes wrong, and that nothing is left of it. */
import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { threadId } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ImageError } from '../../src/errors.ts'
import { Pool, type PoolOptions } from '../../src/threads/pool.ts'
import { endKeptThreads } from '../../src/threads/thread.ts'
import { type ExampleSetup, type ExampleTask, work } from './example-work.ts'

const started = vi.hoisted(() => ({ workers: [] as Worker[], limit: Number.POSITIVE_INFINITY }))
vi.mock(import('node:worker_threads'), async (original) => {
  const real = await original()
  class Counted extends real.Worker {
    constructor(...given: ConstructorParameters<typeof real.Worker>) {
      if (started.workers.length === started.limit) throw new Error('no more threads')
      super(...given)
      started.workers.push(this)
    }
  }
  return { ...real, Worker: Counted }
})

beforeEach(() => {
  started.workers.length = 0
  started.limit = Number.POSITIVE_INFINITY
})
afterEach(() => expect(started.workers.filter((worker) => worker.threadId !== -1)).toEqual([]))

const MODES = [{ threads: 'workers' }, { threads: 'none' }] as const

function open(options: Partial<PoolOptions> = {}, setup: Partial<ExampleSetup> = {}) {
  const counts = new SharedArrayBuffer(12)
  const pool = new Pool(work, { open: 'works', counts, ...setup }, { count: 2, ...options })
  return { pool, counts: new Int32Array(counts) }
}

const double = (value: number, milliseconds?: number): ExampleTask => ({ kind: 'double', value, ...(milliseconds && { milliseconds }) })

describe.each(MODES)('with threads: $threads', ({ threads }) => {
  it('gives each task its result, whatever their number', async () => {
    const { pool, counts } = open({ threads })
    const values = Array.from({ length: 500 }, (_, index) => index)
    expect(await Promise.all(values.map((value) => pool.run(double(value))))).toEqual(values.map((value) => 2 * value))
    await pool.close()
    const used = threads === 'none' ? 1 : 2
    expect([...counts]).toEqual([500, used, used])
    expect(started.workers).toHaveLength(threads === 'none' ? 0 : 2)
  })

  it('keeps code, path and all fields of an error, and goes on', async () => {
    const { pool } = open({ threads })
    const error = await pool.run({ kind: 'imageError' }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ImageError)
    expect(error).toMatchObject({ code: 'LIMIT', message: 'too large', path: '/a/b', neededBytes: 77, name: 'ImageError' })
    expect((error as ImageError).cause).toMatchObject({ message: 'why', code: 'EFBIG' })
    expect(await pool.run(double(4))).toBe(8)
    await pool.close()
  })

  it('tells what a task tells before its result, and fails with what the listener throws', async () => {
    const { pool } = open({ threads })
    const told: string[] = []
    expect(await pool.run({ kind: 'tell' }, { onProgress: (text) => told.push(text) })).toBe(2)
    expect(told).toEqual(['one', 'two'])
    const onProgress = (): void => {
      throw new Error('of the listener')
    }
    await expect(pool.run({ kind: 'tell' }, { onProgress })).rejects.toThrow('of the listener')
    await expect(pool.run(double(1))).rejects.toThrow('of the listener')
    await pool.close()
  })

  it('fails all tasks when the work cannot be opened', async () => {
    const onFailure = vi.fn()
    const { pool } = open({ threads, onFailure }, { open: 'throws' })
    const tasks = [pool.run(double(1)), pool.run(double(2)), pool.run(double(3))]
    for (const task of tasks) await expect(task).rejects.toMatchObject({ code: 'UNSUPPORTED', path: '/work' })
    await expect(pool.run(double(4))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    expect(onFailure).toHaveBeenCalledTimes(1)
    await pool.close()
  })

  it('is ABORTED before and between, once, with the reason', async () => {
    const before = open({ threads, signal: AbortSignal.abort('enough') })
    before.pool.start()
    await expect(before.pool.run(double(1))).rejects.toMatchObject({ code: 'ABORTED', cause: 'enough' })
    await before.pool.close()
    expect(before.counts[0]).toBe(0)
    const controller = new AbortController()
    const onFailure = vi.fn()
    const { pool, counts } = open({ threads, signal: controller.signal, cancelled: 'cancelled at noon', onFailure })
    const tasks = Array.from({ length: 50 }, (_, index) => pool.run(double(index, 5)))
    await tasks[0]
    controller.abort()
    await expect(tasks[49]).rejects.toMatchObject({ code: 'ABORTED', message: 'cancelled at noon' })
    await pool.close()
    expect(counts[0]).toBeLessThan(10)
    expect(onFailure).toHaveBeenCalledTimes(1)
  })

  it('ends with a task that waits for its signal', async () => {
    const { pool, counts } = open({ threads })
    const task = pool.run({ kind: 'untilSignal' })
    while (counts[0] === 0) await new Promise(setImmediate)
    await pool.close()
    await expect(task).rejects.toMatchObject({ code: 'ABORTED' })
    expect([counts[1], counts[2]]).toEqual([1, 1])
  })

  it('closes without a task, and takes none afterwards', async () => {
    const { pool } = open({ threads })
    await pool.close()
    await pool.close()
    await expect(pool.run(double(1))).rejects.toMatchObject({ code: 'ABORTED' })
    expect(started.workers).toHaveLength(0)
  })
})

it('the own thread does it here, a task a turn of the event loop', async () => {
  const { pool } = open({ threads: 'none', count: 8 })
  expect(pool.size).toBe(1)
  let turns = 0
  const count = (): void => {
    turns++
    immediate = setImmediate(count)
  }
  let immediate = setImmediate(count)
  const where = await Promise.all(Array.from({ length: 20 }, () => pool.run({ kind: 'where' })))
  clearImmediate(immediate)
  expect(new Set(where)).toEqual(new Set([threadId]))
  expect(turns).toBeGreaterThanOrEqual(19)
  await pool.close()
})

it('starts threads as they are needed, or all at once', async () => {
  const { pool } = open({ count: 5 })
  await pool.run(double(1))
  await pool.run(double(2))
  expect(started.workers).toHaveLength(1)
  await Promise.all([pool.run(double(3, 20)), pool.run(double(4, 20)), pool.run(double(5, 20))])
  expect(started.workers).toHaveLength(3)
  pool.start()
  expect(started.workers).toHaveLength(5)
  await pool.close()
})

it('a thread that is named does its tasks, at once and in order', async () => {
  const { pool } = open({ count: 3, inHand: 1 })
  const order: unknown[] = []
  const tasks = [30, 0, 0].map((milliseconds, index) =>
    pool.run(double(index, milliseconds), { thread: 1 }).then((value) => order.push(value)),
  )
  expect([pool.inHand(0), pool.inHand(1), pool.inHand(2)]).toEqual([0, 3, 0])
  await Promise.all(tasks)
  expect(order).toEqual([0, 2, 4])
  const ids = await Promise.all([2, 2, 0, 1, 2].map((thread) => pool.run({ kind: 'where' }, { thread })))
  expect(new Set(ids).size).toBe(3)
  expect([ids[0], ids[1]]).toEqual([ids[4], ids[4]])
  await pool.close()
})

it('no thread has more in hand than it is to have, and the tasks begin in their order', async () => {
  const { pool } = open({ count: 2, inHand: 1 })
  const tasks = Array.from({ length: 6 }, (_, index) => pool.run(double(index, 10)))
  expect([pool.inHand(0), pool.inHand(1)]).toEqual([1, 1])
  expect(await Promise.all(tasks)).toEqual([0, 2, 4, 6, 8, 10])
  await pool.close()
})

it('memory goes over without a copy, both ways', async () => {
  const { pool } = open()
  const bytes = Uint8Array.of(1, 2, 3)
  const result = await pool.run({ kind: 'bytes', bytes }, { moved: [bytes.buffer] })
  expect(bytes.length).toBe(0)
  expect(result).toEqual(Uint8Array.of(2, 3, 4))
  await pool.close()
})

it('an error that nobody threw on purpose is WORKER_DIED with its stack', async () => {
  const { pool } = open()
  await expect(pool.run({ kind: 'plainError' })).rejects.toMatchObject({
    code: 'WORKER_DIED',
    message: expect.stringMatching(/^worker: RangeError: nobody expects it\n[\s\S]*example-work/),
  })
  await pool.close()
})

it('WORKER_DIED for all tasks when a thread ends by itself or is killed, and nothing goes on', async () => {
  const itself = open()
  const tasks = [itself.pool.run({ kind: 'exit' }), itself.pool.run({ kind: 'untilStopped' })]
  for (const task of tasks) {
    await expect(task).rejects.toMatchObject({ code: 'WORKER_DIED', message: expect.stringContaining('thread 1 died: exit code 3') })
  }
  await expect(itself.pool.run(double(1))).rejects.toMatchObject({ code: 'WORKER_DIED' })
  await itself.pool.close()
  const killed = open({ onFailure: vi.fn() })
  const long = killed.pool.run({ kind: 'untilStopped' })
  void started.workers.at(-1)?.terminate()
  await expect(long).rejects.toMatchObject({ code: 'WORKER_DIED', message: expect.stringContaining('fewer jobs') })
  await killed.pool.close()
})

it('WORKER_DIED when a thread cannot be started, and the others end', async () => {
  started.limit = 2
  const { pool } = open({ count: 4 })
  pool.start()
  const error = await pool.run(double(1)).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'WORKER_DIED', message: 'worker thread 3 cannot be started: no more threads; try fewer jobs' })
  await pool.close()
  expect(started.workers).toHaveLength(2)
})

it('asks threads to end and waits for what they have in hand; terminates what may be terminated', async () => {
  const asked = open()
  const one = asked.pool.run(double(1, 50))
  while (asked.counts[0] === 0) await new Promise(setImmediate)
  await asked.pool.close()
  await expect(one).rejects.toMatchObject({ code: 'ABORTED' })
  expect(asked.counts[1]).toBe(1)
  const terminated = open({ isTerminable: true })
  void terminated.pool.run(double(1, 60_000))
  while (terminated.counts[0] === 0) await new Promise(setImmediate)
  const exit = once(started.workers.at(-1) as Worker, 'exit')
  await terminated.pool.close()
  expect(await exit).toEqual([1])
  expect(terminated.counts[1]).toBe(0)
})

describe('threads that are kept', () => {
  const left = (): Worker[] => started.workers.filter((worker) => worker.threadId !== -1)

  it('go to the next pool with its own work, stop flag and signal', async () => {
    const first = open({ keepsThreads: true })
    first.pool.start()
    const ids = await Promise.all([0, 1].map((thread) => first.pool.run({ kind: 'where' }, { thread })))
    await Promise.all([first.pool.close(), first.pool.close()])
    expect([...first.counts]).toEqual([2, 2, 2])
    const second = open()
    const others = await Promise.all([0, 1].map((thread) => second.pool.run({ kind: 'where' }, { thread })))
    expect(others.sort()).toEqual(ids.sort())
    // Closing the first again touches no thread of the second.
    await first.pool.close()
    expect(await second.pool.run(double(4))).toBe(8)
    const waiting = second.pool.run({ kind: 'untilSignal' })
    while (second.counts[0] !== 4) await new Promise(setImmediate)
    await second.pool.close()
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' })
    expect([...first.counts, ...second.counts]).toEqual([2, 2, 2, 4, 2, 2])
    expect(started.workers).toHaveLength(2)
  })

  it('are none of a pool that failed', async () => {
    const { pool } = open({ keepsThreads: true }, { open: 'throws' })
    await expect(pool.run(double(1))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await pool.close()
    expect(left()).toEqual([])
  })

  it('that die while nobody has them are not given away', async () => {
    const first = open({ keepsThreads: true })
    await first.pool.run(double(1))
    await first.pool.close()
    await started.workers[0]?.terminate()
    const second = open()
    expect(await second.pool.run(double(2))).toBe(4)
    await second.pool.close()
    expect(started.workers).toHaveLength(2)
  })

  it('die as the thread of the pool that has them', async () => {
    const first = open({ keepsThreads: true })
    await first.pool.run(double(1))
    await first.pool.close()
    const second = open()
    await expect(second.pool.run({ kind: 'exit' })).rejects.toMatchObject({
      code: 'WORKER_DIED',
      message: expect.stringContaining('exit code 3'),
    })
    await second.pool.close()
  })

  it('end when they are told to', async () => {
    const { pool } = open({ keepsThreads: true })
    await pool.run(double(1))
    await pool.close()
    expect(left()).toHaveLength(1)
    await endKeptThreads()
    expect(left()).toEqual([])
  })

  it('end after a while', async () => {
    const { pool } = open({ keepsThreads: true })
    await pool.run(double(1))
    await pool.close()
    expect(left()).toHaveLength(1)
    await vi.waitFor(() => expect(left()).toEqual([]), { timeout: 10_000, interval: 100 })
  })
})
