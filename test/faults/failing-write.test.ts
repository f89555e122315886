/** Every system call on the output that may fail: the error arrives, nothing is left, nobody hangs or lives on. */
import fs, { readdirSync } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { iso } from '../../src/images/iso.ts'
import { FileTarget } from '../../src/io/file-target.ts'
import type { GrowingImage, Image } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import { leftIn, smallWork, type Work } from './support.ts'

type Method = 'write' | 'read' | 'truncate' | 'datasync'
// biome-ignore lint/suspicious/noExplicitAny: calls are handed on as they come
type Call = (this: any, ...args: unknown[]) => Promise<unknown>

let work: Work
let image: Image | GrowingImage
let espBytes: number
let folder: string
/** What all open files have in common; the calls of the output's file go through it. */
let handles: Record<Method, Call>
let originals: Record<Method, Call>
const { linkSync, renameSync, fsync } = fs
/** Of the calls that make the output appear, these are others. */
function replaceCalls(calls: Partial<Pick<typeof fs, 'linkSync' | 'renameSync' | 'fsync'>>): void {
  Object.assign(fs, { linkSync, renameSync, fsync }, calls)
  syncBuiltinESMExports()
}
function fail(code: string): never {
  throw systemError(code)
}

const liveWorkers = new Set<Worker>()
const onWorker = (worker: Worker): void => {
  liveWorkers.add(worker)
  worker.on('exit', () => liveWorkers.delete(worker))
}

beforeAll(async () => {
  work = await smallWork()
  folder = join(work.folder, 'output')
  await mkdir(folder)
  const { closure } = work
  const made = await iso({ closure: closure.folder, root: closure.root, compression: { name: 'lz4' } })
  image = made.image
  espBytes = made.plan.espBytes
  const probe = await open(join(work.folder, 'probe'), 'w')
  handles = Object.getPrototypeOf(probe)
  const { write, read, truncate, datasync } = handles
  originals = { write, read, truncate, datasync }
  await probe.close()
  process.on('worker', onWorker)
})
afterAll(async () => {
  process.off('worker', onWorker)
  await work.remove()
})

let openFiles: number
beforeEach(() => {
  openFiles = readdirSync('/dev/fd').length
})
afterEach(() => {
  Object.assign(handles, originals)
  replaceCalls({})
  const left = leftIn(folder)
  for (const name of left) fs.rmSync(join(folder, name), { recursive: true })
  expect(left).toEqual([])
  expect(liveWorkers.size).toBe(0)
  expect(readdirSync('/dev/fd').length).toBe(openFiles)
})

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: a fault that was asked for`), { code })
}

/** What was saved, or the error. */
const save = () => saveImage(image, join(folder, 'image.iso'), { jobs: 2 }).catch((error: unknown) => error)

interface Write {
  readonly position: number
  readonly length: number
}

/** All writes of a build that succeeds, in order. */
async function tracedWrites(): Promise<Write[]> {
  const writes: Write[] = []
  handles.write = function (...args) {
    writes.push({ length: args[2] as number, position: args[3] as number })
    return originals.write.apply(this, args)
  }
  expect(await save()).toMatchObject({ size: expect.any(Number) })
  fs.rmSync(join(folder, 'image.iso'))
  handles.write = originals.write
  return writes
}

/** Write what lies before byte `k`, as a disk that fills up does; then fail. */
function failAtByte(k: number, code: string): void {
  handles.write = function (...args) {
    const [bytes, offset, length, position] = args as [Uint8Array, number, number, number]
    if (k < position || k >= position + length) return originals.write.apply(this, args)
    return k > position ? originals.write.call(this, bytes, offset, k - position, position) : Promise.reject(systemError(code))
  }
}

describe('a build whose output fails', () => {
  it('at byte k, for the first, a middle and the last byte of writes all over the image', { timeout: 120_000 }, async () => {
    const writes = await tracedWrites()
    const end = Math.max(...writes.map(({ position, length }) => position + length))
    expect(writes.length).toBeGreaterThan(20)
    expect(writes.some(({ position }) => position === 0)).toBe(true)
    expect(end).toBeGreaterThan(espBytes)
    // Some of the data, and all that come after it: tables, records, catalogue, both headers of the GPT.
    const chosen = writes.filter((_, index) => index % 15 === 0 || index >= writes.length - 14)
    const bytes = chosen.map(({ position, length }, index) => position + ([0, length >> 1, length - 1][index % 3] ?? 0))
    for (const [index, k] of bytes.entries()) {
      const code = index % 2 === 0 ? 'ENOSPC' : 'EIO'
      failAtByte(k, code)
      expect(await save(), `byte ${k}`).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining(code) })
      expect(liveWorkers.size, `workers after byte ${k}`).toBe(0)
      expect(leftIn(folder), `files after byte ${k}`).toEqual([])
    }
    console.log(`writes that failed: ${bytes.length} of ${writes.length}`)
  })

  it.each(['truncate', 'datasync'] as const)('in %s', async (method) => {
    handles[method] = () => Promise.reject(systemError('EIO'))
    expect(await save()).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining('EIO') })
  })

  it('when it is read back for its digest', async () => {
    // It is read by its descriptor, in whatever thread, once its size is set.
    const lent = vi.spyOn(FileTarget.prototype, 'lent', 'get')
    handles.truncate = function (...args) {
      lent.mockReturnValue({
        descriptor: 1 << 20,
        label: 'image.iso',
        written: () => undefined,
        runs: (size) => [{ start: 0, length: size }],
      })
      return originals.truncate.apply(this, args)
    }
    expect(await save()).toMatchObject({ code: 'UNREADABLE', message: expect.stringContaining('EBADF') })
    lent.mockRestore()
  })

  it('in close, whose error some file systems save up for', async () => {
    // Unlike the others, close is a property of each handle.
    handles.datasync = function (this: { close: () => Promise<void> }, ...args) {
      const { close } = this
      this.close = async () => {
        this.close = close
        await close()
        throw systemError('EDQUOT')
      }
      return originals.datasync.apply(this, args)
    }
    expect(await save()).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining('quota') })
  })

  it('in link, and in rename where there are no links', async () => {
    replaceCalls({ linkSync: () => fail('EXDEV') })
    expect(await save()).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining('EXDEV') })
    replaceCalls({ linkSync: () => fail('EPERM'), renameSync: () => fail('EIO') })
    expect(await save()).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining('EIO') })
    replaceCalls({ linkSync: () => fail('EPERM') })
    expect(await save()).toMatchObject({ sha256: expect.stringMatching(/^[0-9a-f]{64}$/) })
    fs.rmSync(join(folder, 'image.iso'))
  })

  it('is built by the next run all the same', async () => {
    const writes = await tracedWrites()
    failAtByte((writes[writes.length >> 1] as Write).position, 'ENOSPC')
    expect(await save()).toMatchObject({ code: 'WRITE_FAILED' })
    handles.write = originals.write
    expect(await save()).toMatchObject({ sha256: expect.stringMatching(/^[0-9a-f]{64}$/) })
    fs.rmSync(join(folder, 'image.iso'))
  })
})

describe('a worker that dies in an ISO build', () => {
  it.each([0, 30, 80])('after %d ms', async (delay) => {
    const { closure } = work
    const slow = await iso({ closure: closure.folder, root: closure.root, compression: { name: 'zstd', level: 15 } })
    process.once('worker', (worker: Worker) => setTimeout(() => void worker.terminate(), delay))
    await expect(saveImage(slow.image, join(folder, 'image.iso'), { jobs: 2 })).rejects.toMatchObject({
      code: 'WORKER_DIED',
      message: expect.stringContaining('fewer jobs'),
    })
  })
})
