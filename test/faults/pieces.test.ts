/** Builds of pieces that are cancelled, killed, or run out of disk: nothing but whole pieces has a name, and nothing else is left. */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openPieces, type PieceSettings } from '../../src/images/pieces/index.ts'
import type { PieceInput } from '../../src/images/pieces/key.ts'
import { PARTIAL_NAME } from '../../src/io/private-folder.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { buildIn, CPIO, contentsOf, fewPaths, type PieceWork, pieceWork, SQUASHFS } from '../images/pieces-support.ts'
import { removeTree } from '../remove-tree.ts'
import { leftIn, NO_MOUNT, withOwnDisk } from './support.ts'

const MEBIBYTE = 1 << 20
const SOURCE = new URL('../../src/', import.meta.url).href

let work: PieceWork
let few: PieceInput
beforeAll(async () => {
  work = await pieceWork()
  few = fewPaths(work)
})
afterAll(() => work.remove())

const live = new Set<Worker>()
const onWorker = (worker: Worker): void => {
  live.add(worker)
  worker.once('exit', () => live.delete(worker))
}
beforeEach(() => void process.on('worker', onWorker))
afterEach(() => {
  process.off('worker', onWorker)
  expect(live.size).toBe(0)
})

/** Each file is whole: its content has the checksum of its name. */
function expectWhole(folder: string): void {
  for (const [name, content] of contentsOf(folder)) {
    expect(name).toContain(`-${createHash('sha256').update(Buffer.from(content, 'latin1')).digest('hex')}.`)
  }
}

describe.each([
  ['squashfs', SQUASHFS],
  ['cpio', CPIO],
] as [string, PieceSettings][])('pieces of kind %s', (_kind, settings) => {
  it('cancelled at any event: ABORTED, and what was finished is used again', async () => {
    const whole = work.newFolder()
    let eventCount = 0
    await buildIn(whole, few, settings, { onProgress: () => eventCount++ })
    expect(eventCount).toBeGreaterThan(3)
    for (const last of [0, 1, eventCount - 2]) {
      const folder = work.newFolder()
      const abort = new AbortController()
      let seen = 0
      const onProgress = (): void => {
        if (seen++ === last) abort.abort(new Error('enough'))
      }
      await expect(buildIn(folder, few, settings, { jobs: 2, signal: abort.signal, onProgress })).rejects.toMatchObject({ code: 'ABORTED' })
      expectWhole(folder)
      await buildIn(folder, few, settings)
      expect(contentsOf(folder)).toEqual(contentsOf(whole))
    }
    const signal = AbortSignal.abort()
    await expect(buildIn(whole, few, settings, { signal })).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await openPieces(whole).then((pieces) => pieces.build(few, settings, { jobs: 1 }))).toHaveLength(few.closure.paths.length)
  })

  it.skipIf(NO_MOUNT)('on a full disk: WRITE_FAILED, and only whole pieces are there', async () => {
    const disk = work.newFolder()
    const needed = await withOwnDisk(disk, 256 * MEBIBYTE, async () => {
      const pieces = await buildIn(disk, few, settings)
      return pieces.reduce((sum, { file }) => sum + statSync(file).blocks * 512, 0)
    })
    for (const size of [4096, 0.3 * needed, needed - 4096]) {
      await withOwnDisk(disk, Math.floor(size / 4096) * 4096, async () => {
        const failed = expect(buildIn(disk, few, settings)).rejects
        await failed.toMatchObject({
          code: 'WRITE_FAILED',
          message: expect.stringContaining(`${disk}: cannot be written (ENOSPC): the file system is full`),
        })
        expectWhole(disk)
      })
    }
    await withOwnDisk(disk, needed + 2 * 4096, async () =>
      expect(await buildIn(disk, few, settings)).toHaveLength(few.closure.paths.length),
    )
  })
})

it('a kept image on a full disk, or cancelled: no partial is left', { skip: NO_MOUNT !== undefined }, async () => {
  const disk = work.newFolder()
  const read = async function* () {
    for (let count = 0; count < 8; count++) yield Buffer.alloc(MEBIBYTE)
  }
  const image = { size: 8 * MEBIBYTE, extents: [{ start: 0, length: 8 * MEBIBYTE, read }] }
  await withOwnDisk(disk, 4 * MEBIBYTE, async () => {
    const pieces = await openPieces(disk)
    const key = { name: 'large', parts: [], suffix: 'bin' }
    await expect(pieces.keep(key, async () => image, { jobs: 1 })).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    const abort = new AbortController()
    const onProgress = (event: ProgressEvent): void => {
      if (event.kind === 'bytes') abort.abort()
    }
    await expect(pieces.keep(key, async () => image, { jobs: 1, signal: abort.signal, onProgress })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    expect(readdirSync(disk)).toEqual([])
  })
})

it('a thread that dies, at any moment: WORKER_DIED, and no partial is left', async () => {
  const settings: PieceSettings = { kind: 'squashfs', codec: { name: 'none' }, blockSize: 4096 }
  let died = 0
  for (const delay of [0, 50, 100, 200]) {
    const folder = work.newFolder()
    process.once('worker', (worker: Worker) => void setTimeout(delay).then(() => worker.terminate()))
    const code = await buildIn(folder, work, settings).then(
      () => undefined,
      (error: { code: string }) => error.code,
    )
    if (code !== undefined) expect(code).toBe('WORKER_DIED')
    if (code !== undefined) died++
    expectWhole(folder)
  }
  expect(died).toBeGreaterThan(0)
})

/** A process of its own that builds the pieces of the whole closure. */
function builder(folder: string) {
  const script = `
    const { openPieces } = await import('${SOURCE}images/pieces/index.ts')
    const { readClosure } = await import('${SOURCE}nix/listing/read.ts')
    const closure = await readClosure(${JSON.stringify(join(work.folder, 'closure'))})
    const pieces = await openPieces(${JSON.stringify(folder)})
    const settings = ${JSON.stringify(SQUASHFS)}
    await pieces.build({ closure, root: ${JSON.stringify(work.root)} }, settings, { jobs: 2 })
  `
  const file = join(work.folder, 'builder.mjs')
  writeFileSync(file, script)
  return spawn(process.execPath, [file], { stdio: 'inherit' })
}

it('processes that share a folder, and one that is killed, do each other no harm', async () => {
  const whole = work.newFolder()
  await buildIn(whole, work, SQUASHFS)
  const folder = work.newFolder()
  const killed = builder(folder)
  const exited = once(killed, 'exit')
  while (readdirSync(folder).length < 3 && killed.exitCode === null) await setTimeout(5)
  killed.kill('SIGKILL')
  await exited
  for (const name of readdirSync(folder)) if (!name.startsWith('.')) expect([...contentsOf(whole).keys()]).toContain(name)
  const both = [builder(folder), builder(folder)]
  const codes = await Promise.all(both.map(async (child) => (await once(child, 'exit'))[0]))
  expect(codes).toEqual([0, 0])
  for (const name of leftIn(folder)) if (PARTIAL_NAME.test(name)) removeTree(join(folder, name))
  expect(contentsOf(folder)).toEqual(contentsOf(whole))
})

describe('a store that is not what it should be', () => {
  /** The few paths, in a store of their own that may be harmed. */
  function harmed(harm: (path: string) => void): PieceInput {
    const root = work.newFolder()
    mkdirSync(join(root, 'nix/store'), { recursive: true })
    for (const { baseName } of few.closure.paths) {
      spawnSync('cp', ['-a', join(work.store, baseName), join(root, 'nix/store')])
    }
    const contents = few.closure.paths.find(({ baseName }) => baseName.endsWith('-contents'))?.baseName ?? ''
    const file = join(root, 'nix/store', contents, 'text-70000')
    chmodSync(dirname(file), 0o755)
    chmodSync(file, 0o644)
    harm(file)
    chmodSync(dirname(file), 0o555)
    return { closure: few.closure, root }
  }

  const toPipe = (file: string): void => {
    rmSync(file)
    spawnSync('mkfifo', [file])
  }

  it.each([
    ['a file that is gone', 'HASH_MISMATCH', (file: string) => rmSync(file)],
    ['a pipe', 'UNSUPPORTED', toPipe],
    ['a file that is longer', 'HASH_MISMATCH', (file: string) => writeFileSync(file, Buffer.alloc(70_001))],
  ] as [string, string, (file: string) => void][])('%s: %s, as it is in one thread', async (_what, code, harm) => {
    const input = harmed(harm)
    for (const settings of [SQUASHFS, CPIO]) {
      const folder = work.newFolder()
      await expect(buildIn(folder, input, settings)).rejects.toMatchObject({ code, path: expect.stringContaining('-contents') })
      expectWhole(folder)
    }
  })

  it('a file of 4 GiB, which cpio cannot hold: LIMIT', async () => {
    const input = { ...harmed((file) => truncateSync(file, 2 ** 32)), verify: false }
    const folder = work.newFolder()
    await expect(buildIn(folder, input, CPIO)).rejects.toMatchObject({ code: 'LIMIT', message: expect.stringContaining('text-70000') })
    expectWhole(folder)
  })

  it('a folder of pieces that is gone: UNREADABLE', async () => {
    const folder = work.newFolder()
    const pieces = await openPieces(folder)
    rmSync(folder, { recursive: true })
    await expect(pieces.build(few, SQUASHFS, { jobs: 1 })).rejects.toMatchObject({ code: 'UNREADABLE', path: folder })
  })
})
