/** Threads that the system does not give. */
import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { expect, it, vi } from 'vitest'
import { squashfs } from '../../../src/filesystems/squashfs/index.ts'
import { BufferTarget } from '../../../src/io/target.ts'
import { directory, file } from './support.ts'

const started = vi.hoisted(() => ({ workers: [] as Worker[], limit: 3 }))
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

it('WORKER_DIED when a worker cannot be started, and none goes on', async () => {
  const packed = squashfs(directory({ f: file('x') })).pack(new BufferTarget(), 0, { jobs: 5 })
  await expect(packed).rejects.toMatchObject({
    code: 'WORKER_DIED',
    message: expect.stringContaining('worker thread 4 cannot be started: no more threads'),
  })
  expect(started.workers).toHaveLength(3)
  await Promise.all(started.workers.map((worker) => (worker.threadId === -1 ? undefined : once(worker, 'exit'))))
})
