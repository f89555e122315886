/** The threads that compress blocks: cancelled, dying, and never more at once than the slots allow. */
import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { afterEach, expect, it, vi } from 'vitest'
import { qcow2Compressed } from '../../src/disks/qcow2/index.ts'
import type { Image } from '../../src/io/image.ts'
import { SparseMemory } from './containers.ts'

const started = vi.hoisted(() => ({ workers: [] as Worker[], limit: Number.POSITIVE_INFINITY }))
vi.mock(import('node:worker_threads'), async (original) => {
  const real = await original()
  class Watched extends real.Worker {
    constructor(...given: ConstructorParameters<typeof real.Worker>) {
      if (started.workers.length === started.limit) throw new Error('no more threads')
      super(...given)
      started.workers.push(this)
    }
  }
  return { ...real, Worker: Watched }
})

afterEach(async () => {
  await Promise.all(started.workers.map((worker) => (worker.threadId === -1 ? undefined : once(worker, 'exit'))))
  started.workers.length = 0
  started.limit = Number.POSITIVE_INFINITY
})

/** A disk of 1 GiB of data, which calls `onChunk` before each MiB. */
function long(onChunk: (index: number) => void): Image & { readonly state: { closed: boolean } } {
  const state = { closed: false }
  const chunk = Buffer.alloc(1 << 20, 'some text that is compressed, ')
  async function* read(): AsyncGenerator<Uint8Array> {
    try {
      for (let index = 0; index < 1024; index++) {
        onChunk(index)
        yield chunk
      }
    } finally {
      state.closed = true
    }
  }
  return { size: 2 ** 30, extents: [{ start: 0, length: 2 ** 30, read }], state }
}

it('ABORTED when it is cancelled, before and meanwhile, and all is closed', async () => {
  const stop = new AbortController()
  const disk = long((index) => index === 5 && stop.abort())
  const packed = qcow2Compressed(disk).pack(new SparseMemory(), 0, { jobs: 2, signal: stop.signal })
  await expect(packed).rejects.toMatchObject({ code: 'ABORTED' })
  expect(disk.state.closed).toBe(true)
  expect(started.workers).toHaveLength(2)
  await expect(qcow2Compressed(disk).pack(new SparseMemory(), 0, { jobs: 2, signal: stop.signal })).rejects.toMatchObject({
    code: 'ABORTED',
  })
})

it('WORKER_DIED when a thread ends', async () => {
  const disk = long((index) => index === 5 && started.workers[1]?.postMessage({ kind: 'end' }))
  await expect(qcow2Compressed(disk).pack(new SparseMemory(), 0, { jobs: 2 })).rejects.toMatchObject({ code: 'WORKER_DIED' })
  expect(disk.state.closed).toBe(true)
})

it('WORKER_DIED when a thread cannot be started', async () => {
  started.limit = 2
  await expect(qcow2Compressed(long(() => undefined)).pack(new SparseMemory(), 0, { jobs: 4 })).rejects.toMatchObject({
    code: 'WORKER_DIED',
    message: expect.stringContaining('worker thread 3 cannot be started'),
  })
})

it('what the disk or the target throws', async () => {
  const bad = long((index) => {
    if (index === 3) throw new Error('a bad disk')
  })
  await expect(qcow2Compressed(bad).pack(new SparseMemory(), 0, { jobs: 2 })).rejects.toThrow('a bad disk')
  const full = new SparseMemory()
  full.write = async () => {
    throw new Error('no room')
  }
  const disk = long(() => undefined)
  await expect(qcow2Compressed(disk).pack(full, 0, { jobs: 2 })).rejects.toThrow('no room')
  expect(disk.state.closed).toBe(true)
})

it('reads no further ahead than its slots', async () => {
  let chunks = 0
  const memory = new SparseMemory()
  let most = 0
  const write = memory.write.bind(memory)
  memory.write = async (position, bytes) => {
    most = Math.max(most, chunks)
    if (chunks > 30) throw new Error('enough')
    await new Promise((resolve) => setTimeout(resolve, 2))
    chunks = 0
    await write(position, bytes)
  }
  await expect(qcow2Compressed(long(() => chunks++)).pack(memory, 0, { jobs: 2 })).resolves.toBeDefined()
  expect(most).toBeLessThanOrEqual(4)
})
