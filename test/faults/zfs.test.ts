/** What can go wrong while the disks of a pool are written: the error arrives, nothing is left, nobody hangs or lives on. */
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { saveProduct } from '../../src/images/save.ts'
import { type ZfsOptions, zfs } from '../../src/images/zfs/index.ts'
import type { BuildContext } from '../../src/io/image.ts'
import { randomBytes } from '../server/sample.ts'
import { flipByte, type HarmableStore, harmableStore, removed } from './harm.ts'
import {
  type Ended,
  errorLine,
  finish,
  kilnix,
  leftIn,
  NO_MOUNT,
  NOT_UNPRIVILEGED,
  randomNumbers,
  sha256Of,
  smallWork,
  start,
  UNPRIVILEGED,
  type Work,
  withDisk,
} from './support.ts'

const MEBIBYTE = 1 << 20
const PAGE = 4096

let work: Work
let folder: string
let output: string
let input: readonly string[]
let base: ZfsOptions
let harmable: HarmableStore
beforeAll(async () => {
  work = await smallWork()
  const { closure } = work
  folder = join(work.folder, 'output')
  output = join(folder, 'disks')
  mkdirSync(folder)
  input = ['--closure', closure.folder, '--root', closure.root, '--jobs', '2', '--boot-size', '24M', '--root-size', '128M', '--quiet']
  base = { closure: closure.folder, root: closure.root, bootSize: 24 * MEBIBYTE, rootSize: 128 * MEBIBYTE }
  harmable = harmableStore(join(closure.root, 'nix/store'), join(work.folder, 'pristine'))
})
afterAll(() => work.remove())
afterEach(() => {
  for (const name of leftIn(folder)) rmSync(join(folder, name), { recursive: true })
})

const SHAPES: readonly (readonly string[])[] = [
  [],
  ['--layout', 'single-disk', '--format', 'qcow2'],
  ['--root-size', 'auto', '--free', '8M'],
]

/** Names and digests of what was written. */
function written(): string[] {
  return readdirSync(output).map((name) => `${name} ${sha256Of(join(output, name))}`)
}

describe.skipIf(NO_MOUNT)('a full disk', () => {
  it('under the folder, from nothing to one page too few', { timeout: 60_000 }, async () => {
    const small = join(work.folder, 'small')
    mkdirSync(small, { recursive: true })
    const place = join(small, 'disks')
    const build = () => kilnix(['zfs', ...input, '-o', place])
    await withDisk(small, 256 * MEBIBYTE, async () => expect(await build()).toMatchObject({ status: 0, stderr: '' }))
    for (const size of [PAGE, MEBIBYTE, 10 * MEBIBYTE]) {
      await withDisk(small, size, async () => {
        const { status, stdout, stderr } = await build()
        expect(stderr).toMatch(errorLine('WRITE_FAILED', 'cannot be written (ENOSPC): the file system is full'))
        expect({ status, stdout: stdout.length, left: leftIn(small) }).toEqual({ status: 1, stdout: 0, left: [] })
      })
    }
  })

  it('under the scratch file of a container', async () => {
    const small = join(work.folder, 'small')
    mkdirSync(small, { recursive: true })
    await withDisk(small, 4 * MEBIBYTE, async () => {
      const { status, stderr } = await kilnix(['zfs', ...input, '--format', 'qcow2', '-o', output], { env: { TMPDIR: small } })
      expect(stderr).toMatch(errorLine('WRITE_FAILED', `scratch file in ${small} (TMPDIR chooses the folder): cannot be written (ENOSPC)`))
      expect([status, ...leftIn(small), ...leftIn(folder)]).toEqual([1])
    })
  })
})

// biome-ignore lint/suspicious/noExplicitAny: calls are handed on as they come
type Call = (this: any, ...args: unknown[]) => Promise<unknown>

describe('a build that fails', () => {
  let handles: { write: Call }
  let write: Call
  const liveWorkers = new Set<Worker>()
  const onWorker = (worker: Worker): void => {
    liveWorkers.add(worker)
    worker.on('exit', () => liveWorkers.delete(worker))
  }
  beforeAll(async () => {
    const probe = await open(join(work.folder, 'probe'), 'w')
    handles = Object.getPrototypeOf(probe)
    write = handles.write
    await probe.close()
    process.on('worker', onWorker)
  })
  afterAll(() => void process.off('worker', onWorker))
  let openFiles: number
  beforeEach(() => {
    openFiles = readdirSync('/dev/fd').length
  })
  afterEach(() => {
    handles.write = write
    syncBuiltinESMExports()
    expect(liveWorkers.size).toBe(0)
    expect(readdirSync('/dev/fd').length).toBe(openFiles)
  })

  async function save(options: Partial<ZfsOptions>, context: Partial<BuildContext> = {}): Promise<unknown> {
    const product = await zfs({ ...base, ...options })
    return saveProduct(product, output, { digest: false, jobs: 2, ...context }).catch((error: unknown) => error)
  }

  it.each<[Partial<ZfsOptions>]>([[{}], [{ layout: 'single-disk' }], [{ format: 'vhdx' }]])(
    'at byte k of %j, all over the files',
    { timeout: 60_000 },
    async (options) => {
      let count = 0
      handles.write = function (...args) {
        count++
        return write.apply(this, args)
      }
      expect(await save(options)).toBeInstanceOf(Array)
      rmSync(output, { recursive: true })
      const chosen = [0, 1, ...[0.2, 0.4, 0.6, 0.8].map((part) => Math.floor(part * count)), count - 2, count - 1]
      for (const [index, failing] of chosen.entries()) {
        const code = index % 2 === 0 ? 'ENOSPC' : 'EIO'
        let at = 0
        handles.write = function (...args) {
          if (at++ !== failing) return write.apply(this, args)
          return Promise.reject(Object.assign(new Error(`${code}: a fault that was asked for`), { code }))
        }
        expect(await save(options), `write ${failing} of ${count}`).toMatchObject({
          code: 'WRITE_FAILED',
          message: expect.stringContaining(code),
        })
        expect([liveWorkers.size, leftIn(folder)]).toEqual([0, []])
      }
    },
  )

  it.each([0, 30])('because a worker dies after %d ms', async (milliseconds) => {
    process.once('worker', (worker: Worker) => setTimeout(() => void worker.terminate(), milliseconds))
    expect(await save({ fileSystemProperties: { compression: 'zstd-19' } })).toMatchObject({ code: 'WORKER_DIED' })
    expect(leftIn(folder)).toEqual([])
  })

  it('because it is cancelled, before and at any event', { timeout: 60_000 }, async () => {
    expect(await save({}, { signal: AbortSignal.abort() })).toMatchObject({ code: 'ABORTED' })
    let events = 0
    expect(await save({}, { onProgress: () => void events++ })).toMatchObject([{}, {}])
    rmSync(output, { recursive: true })
    for (const part of [0, 0.25, 0.5, 0.75]) {
      const stop = new AbortController()
      let seen = 0
      const onProgress = (): void => {
        if (seen++ === Math.floor(part * events)) stop.abort()
      }
      expect(await save({}, { signal: stop.signal, onProgress })).toMatchObject({ code: 'ABORTED' })
      expect([liveWorkers.size, leftIn(folder)]).toEqual([0, []])
    }
  })

  it('because the pool is full, with a size that would do', async () => {
    const add = [{ target: '/root/noise', source: join(work.folder, 'noise') }]
    writeFileSync(join(work.folder, 'noise'), randomBytes(100 * MEBIBYTE, 1))
    const tooSmall = { add, rootSize: 96 * MEBIBYTE }
    const refused = await zfs({ ...base, ...tooSmall }).catch((error: unknown) => error)
    const error = refused instanceof Error ? refused : ((await save(tooSmall)) as Error)
    expect(error).toMatchObject({ code: 'LIMIT' })
    const [, digits] = /outgrows; (\d+)M will do/.exec(error.message) ?? []
    expect(leftIn(folder)).toEqual([])
    expect(await save({ add, rootSize: Number(digits) * MEBIBYTE })).toMatchObject([{}, {}])
    expect(Number(digits)).toBeLessThan(400)
  })
})

const STATUS = { SIGINT: 130, SIGTERM: 143, SIGKILL: undefined } as const
type Name = keyof typeof STATUS
const NAMES = Object.keys(STATUS) as Name[]
/** KILNIX_SEED repeats a run. */
const seed = Number(process.env.KILNIX_SEED ?? Date.now() % 1_000_000)

describe('a signal', () => {
  it.each(SHAPES.map((shape) => [shape]))(`at random moments of %j (KILNIX_SEED=${seed})`, { timeout: 120_000 }, async (shape) => {
    const args = ['zfs', ...input, ...shape, '-o', output]
    const started = performance.now()
    expect(await kilnix(args)).toMatchObject({ status: 0 })
    const milliseconds = performance.now() - started
    const right = written()
    rmSync(output, { recursive: true })
    const random = randomNumbers(seed)
    const judge = (name: Name, { status, signal, stderr }: Ended): void => {
      if (existsSync(output)) expect(written()).toEqual(right)
      else expect(status).not.toBe(0)
      if (name === 'SIGKILL') return
      expect(leftIn(folder).filter((file) => file.startsWith('.kilnix-'))).toEqual([])
      if (signal !== null) expect(signal).toBe(name)
      else expect([0, STATUS[name]]).toContain(status)
      expect(stderr).not.toContain('internal error')
    }
    for (let index = 0; index < NAMES.length; index++) {
      const name = NAMES[index % NAMES.length] ?? 'SIGKILL'
      const child = start(args)
      const ended = finish(child)
      await Promise.race([delay(random() * milliseconds * 1.05), ended])
      child.kill(name)
      judge(name, await ended)
      for (const left of leftIn(folder)) rmSync(join(folder, left), { recursive: true })
    }
    expect(await kilnix(args)).toMatchObject({ status: 0 })
    expect(written()).toEqual(right)
  })
})

describe('inputs of a pool', () => {
  it.skipIf(NOT_UNPRIVILEGED)('that may not be read: UNREADABLE', async () => {
    chmodSync(work.folder, 0o755)
    chmodSync(folder, 0o777)
    const path = join(work.closure.root, 'nix/store', harmable.named('contents'), 'many/file-7')
    chmodSync(path, 0)
    const args = ['zfs', ...input, '-o', output]
    const { status, stderr } = await kilnix(args, UNPRIVILEGED)
    chmodSync(path, 0o444)
    expect(stderr).toMatch(errorLine('UNREADABLE', `${path}: cannot be read (EACCES)`))
    expect([status, leftIn(folder)]).toEqual([1, []])
    expect(await kilnix(args, UNPRIVILEGED)).toMatchObject({ status: 0, stderr: '' })
  })

  it('that are gone or damaged', async () => {
    const build = () => kilnix(['zfs', ...input, '-o', output])
    const etc = harmable.named('etc')
    const gone = await harmable.whileHarmed(etc, removed, build)
    expect(gone.stderr).toMatch(errorLine('NOT_FOUND', etc))
    const file = join(harmable.named('contents'), 'many/file-7')
    const damaged = await harmable.whileHarmed(file, flipByte, build)
    expect(damaged.stderr).toMatch(errorLine('HASH_MISMATCH', `/nix/store/${harmable.named('contents')}: `))
    expect([gone.status, damaged.status, leftIn(folder)]).toEqual([1, 1, []])
    expect(await harmable.whileHarmed(file, flipByte, () => kilnix(['zfs', ...input, '--no-verify', '-o', output]))).toMatchObject({
      status: 0,
    })
  })

  it('that lie where the output is to be: USAGE', async () => {
    for (const place of [work.closure.folder, work.closure.root]) {
      const { status, stderr } = await kilnix(['zfs', ...input, '--force', '-o', place])
      expect(stderr).toMatch(/^kilnix: /)
      expect([status === 0, existsSync(join(work.closure.folder, 'registration'))]).toEqual([false, true])
    }
  })

  it('a folder that holds what others wrote is not replaced', async () => {
    expect(await kilnix(['zfs', ...input, '-o', output])).toMatchObject({ status: 0 })
    expect((await kilnix(['zfs', ...input, '-o', output])).stderr).toMatch(errorLine('EXISTS', output))
    expect(await kilnix(['zfs', ...input, '--layout', 'single-disk', '--force', '-o', output])).toMatchObject({ status: 0 })
    expect(leftIn(output)).toEqual(['nixos.root.img'])
    writeFileSync(join(output, 'mine'), '')
    expect((await kilnix(['zfs', ...input, '--force', '-o', output])).stderr).toMatch(errorLine('EXISTS', "'mine'"))
    expect(leftIn(output)).toEqual(['mine', 'nixos.root.img'])
  })
})
