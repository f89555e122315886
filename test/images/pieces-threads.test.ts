/** Threads that the system does not give, and listeners that throw. */
import { readdirSync } from 'node:fs'
import type { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { buildIn, type PieceWork, pieceWork, SQUASHFS } from './pieces-support.ts'

const started = vi.hoisted(() => ({ workers: [] as Worker[], limit: 1 }))
vi.mock(import('node:worker_threads'), async (original) => {
  const real = await original()
  class Scarce extends real.Worker {
    constructor(...given: ConstructorParameters<typeof real.Worker>) {
      if (started.workers.length === started.limit) throw new Error('no more threads')
      super(...given)
      started.workers.push(this)
    }
  }
  return { ...real, Worker: Scarce }
})

let work: PieceWork
beforeAll(async () => {
  work = await pieceWork()
})
afterAll(() => work.remove())

it('WORKER_DIED when a thread cannot be started, and none goes on', async () => {
  const folder = work.newFolder()
  await expect(buildIn(folder, work, SQUASHFS, { jobs: 3 })).rejects.toMatchObject({
    code: 'WORKER_DIED',
    message: expect.stringContaining('worker thread 2 cannot be started: no more threads'),
  })
  expect(started.workers.map((worker) => worker.threadId)).toEqual([-1])
  expect(readdirSync(folder)).toEqual([])
})

it('what a listener throws ends the build', async () => {
  started.limit = Number.POSITIVE_INFINITY
  const folder = work.newFolder()
  const onProgress = (event: { kind: string }): void => {
    if (event.kind === 'bytes') throw new Error('of the listener')
  }
  await expect(buildIn(folder, work, SQUASHFS, { onProgress })).rejects.toThrow('of the listener')
  expect(started.workers.every((worker) => worker.threadId === -1)).toBe(true)
  expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([])
})
