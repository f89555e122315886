/**
 * A power cut right after status 0 loses nothing: by the order of the calls on any machine, and where there is a loop device
 * by what it holds at that moment.
 */
import { execFile } from 'node:child_process'
import fs, { copyFileSync, mkdirSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { saveFolder } from '../../src/io/folder.ts'
import { bytesImage } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import { restoreNar } from '../../src/nix/nar/restore.ts'
import { saveStore } from '../../src/system/saved-store.ts'
import { loadClosure } from '../../src/system/store.ts'
import { whyNoMount } from '../filesystems/ext4/mount.ts'
import { runOk } from '../oracles/tools.ts'
import { removeTree } from '../remove-tree.ts'
import { kilnix, sha256Of, smallWork, type Work } from './support.ts'

let work: Work
let folder: string
/** `nix/store` of the small closure, as a NAR in pieces. */
let nar: Buffer
beforeAll(async () => {
  work = await smallWork()
  folder = join(work.folder, 'out')
  mkdirSync(folder)
  nar = (await kilnix(['nar', 'dump', join(work.closure.root, 'nix/store')])).stdout
})
afterAll(() => work.remove())
beforeEach(() => {
  for (const name of readdirSync(folder)) removeTree(join(folder, name))
})

async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000)
}

type State = readonly [mtimeNs: bigint, size: bigint, mode: bigint]
type Method = 'sync' | 'datasync'
// biome-ignore lint/suspicious/noExplicitAny: calls are handed on as they come
type Call = (this: any) => Promise<void>

/**
 * What `build` brings to stable storage, and whether that is all: at the step that makes it appear every file and folder has
 * to be as it was when it was last synced, and the folder that it appears in has to be synced after that. Returns what is not.
 */
async function unsynced(build: () => Promise<unknown>): Promise<string[]> {
  const { fsync, linkSync, renameSync } = fs
  const probe = await open(join(work.folder, 'probe'), 'w')
  const handles = Object.getPrototypeOf(probe) as Record<Method, Call>
  await probe.close()
  const { sync, datasync } = handles
  const synced = new Map<bigint, State>()
  const missing: string[] = []
  let appearedIn: bigint | undefined
  const stateOf = (descriptor: number): [bigint, State] => {
    const { ino, mtimeNs, size, mode } = fs.fstatSync(descriptor, { bigint: true })
    return [ino, [mtimeNs, size, mode]]
  }
  const note = (descriptor: number): (() => void) => {
    const [ino, state] = stateOf(descriptor)
    return () => {
      synced.set(ino, state)
      if (ino === appearedIn) appearedIn = undefined
    }
  }
  const check = (path: string): void => {
    const { ino, mtimeNs, size, mode } = fs.lstatSync(path, { bigint: true })
    if (fs.lstatSync(path).isSymbolicLink()) return
    const isSame = (synced.get(ino) ?? []).every((value, index) => value === [mtimeNs, size, mode][index])
    if (!synced.has(ino) || !isSame) missing.push(path)
    if (fs.lstatSync(path).isDirectory()) for (const name of readdirSync(path)) check(join(path, name))
  }
  const appear = (from: string, to: string): void => {
    if (!from.endsWith('/content')) return
    check(from)
    appearedIn = fs.statSync(join(to, '..'), { bigint: true }).ino
  }
  for (const [name, call] of Object.entries({ sync, datasync })) {
    handles[name as Method] = async function () {
      const done = note((this as { fd: number }).fd)
      await call.call(this)
      done()
    }
  }
  fs.fsync = ((descriptor: number, callback: (error: Error | null) => void) => {
    const done = note(descriptor)
    fsync(descriptor, (error) => {
      if (error === null) done()
      callback(error)
    })
  }) as typeof fsync
  fs.linkSync = (from, to) => {
    appear(String(from), String(to))
    linkSync(from, to)
  }
  fs.renameSync = (from, to) => {
    appear(String(from), String(to))
    renameSync(from, to)
  }
  syncBuiltinESMExports()
  try {
    await build()
    if (synced.size === 0) missing.push('everything')
    if (appearedIn !== undefined) missing.push('the folder that it appears in')
    return missing
  } finally {
    Object.assign(handles, { sync, datasync })
    Object.assign(fs, { fsync, linkSync, renameSync })
    syncBuiltinESMExports()
  }
}

const image = (text: string) => ({ kind: 'image', image: bytesImage(Buffer.from(text.repeat(10_000))) }) as const

describe('before it appears, all is on stable storage:', () => {
  it.each([false, true])('a file, force %j', async (force) => {
    if (force) writeFileSync(join(folder, 'file'), 'old')
    expect(await unsynced(() => saveImage(bytesImage(Buffer.alloc(5_000_000, 'x')), join(folder, 'file'), { force }))).toEqual([])
  })

  it.each([false, true])('a folder of images, where hard links work %j', async (hasLinks) => {
    const { link } = fs.promises
    if (!hasLinks) fs.promises.link = () => Promise.reject(Object.assign(new Error('EPERM'), { code: 'EPERM' }))
    syncBuiltinESMExports()
    const files = [
      { path: 'a', content: image('a') },
      { path: 'b/c/d', mode: 0o755, content: image('d') },
      { path: 'b/same', content: { kind: 'sameAs', path: 'a' } as const },
    ]
    const options = { force: false, replaceable: [], digest: true }
    try {
      expect(await unsynced(() => saveFolder(files, join(folder, 'out'), options, { jobs: 1 }))).toEqual([])
    } finally {
      fs.promises.link = link
      syncBuiltinESMExports()
    }
  })

  it('a NAR', async () => {
    expect(await unsynced(() => restoreNar(chunks(nar), join(folder, 'out')))).toEqual([])
  })

  it('a store', async () => {
    const store = await loadClosure({ closure: work.closure.folder, root: work.closure.root })
    expect(await unsynced(() => saveStore(store, join(folder, 'out'), { paths: 'all' }))).toEqual([])
  })

  it('and the check sees what is not', async () => {
    const { fsync } = fs
    const forgetful = (descriptor: number, callback: (error: Error | null) => void): void => {
      if (fs.fstatSync(descriptor).isDirectory()) fsync(descriptor, callback)
      else setImmediate(callback, null)
    }
    let count = 0
    const found = await unsynced(async () => {
      const counting = fs.fsync
      fs.fsync = ((descriptor: number, callback: (error: Error | null) => void) => {
        if (count++ === 5) forgetful(descriptor, callback)
        else counting(descriptor, callback)
      }) as typeof fs.fsync
      syncBuiltinESMExports()
      await restoreNar(chunks(nar), join(folder, 'out'))
    })
    expect(found).toHaveLength(1)
  })
})

const runFile = promisify(execFile)
const noMount = whyNoMount()
if (noMount !== '') console.warn(`skipped: power cuts of a real file system: ${noMount}`)

/** What lies in a file or folder: digests, and where links lead. */
function contentOf(path: string): Record<string, string> {
  if (statSync(path).isFile()) return { '': sha256Of(path) }
  const entries = readdirSync(path, { recursive: true, withFileTypes: true }).map((entry): [string, string] => {
    const place = join(entry.parentPath, entry.name)
    return [place.slice(path.length), entry.isFile() ? sha256Of(place) : entry.isSymbolicLink() ? readlinkSync(place) : 'folder']
  })
  return Object.fromEntries(entries)
}

describe.skipIf(noMount !== '')('a power cut right after status 0', () => {
  const at = (name: string): string => join(work.folder, name)
  const same = (): string => `${work.closure.storePaths[0]}=${work.closure.storePaths[0]}`
  const store = (): string[] => ['--closure', work.closure.folder, '--root', work.closure.root]
  const COMMANDS: readonly [name: string, args: () => readonly string[]][] = [
    ['iso', () => ['iso', ...work.input]],
    ['netboot', () => ['netboot', ...work.input, '--style', 'manifest', '--kexec']],
    ['disk', () => ['disk', ...store(), '--format', 'qcow2']],
    ['zfs', () => ['zfs', ...store(), '--root-size', 'auto']],
    ['replace', () => ['replace', ...store(), '--replace', same(), '--whole-store']],
    ['nar restore', () => ['nar', 'restore', at('store.nar')]],
  ]

  it('leaves what every command has written', { timeout: 300_000 }, async () => {
    writeFileSync(at('store.nar'), nar)
    mkdirSync(at('device'))
    for (const [name, args] of COMMANDS) {
      runOk('truncate', ['-s', '1G', at('device.img')])
      runOk('mkfs.ext4', ['-q', '-F', at('device.img')])
      // The journal is written when it is asked for, not by the clock.
      runOk('mount', ['-o', 'loop,commit=300', at('device.img'), at('device')])
      const output = join(at('device'), 'out')
      const result = name === 'nar restore' ? [...args(), output] : [...args(), '-o', output]
      let whole: unknown
      try {
        expect(await kilnix([...result, ...(name === 'nar restore' ? [] : ['--quiet'])]), name).toMatchObject({ status: 0, stderr: '' })
        // The method sees what was not synced: this is not there afterwards.
        copyFileSync(at('store.nar'), join(at('device'), 'unsynced'))
        await runFile('cp', ['--sparse=always', at('device.img'), at('cut.img')])
        whole = contentOf(output)
      } finally {
        runOk('umount', [at('device')])
      }
      runOk('mount', ['-o', 'loop', at('cut.img'), at('device')])
      try {
        expect(contentOf(output), name).toEqual(whole)
        const unsyncedFile = join(at('device'), 'unsynced')
        expect(fs.existsSync(unsyncedFile) && statSync(unsyncedFile).size === nar.length).toBe(false)
      } finally {
        runOk('umount', [at('device')])
      }
      for (const file of ['device.img', 'cut.img']) rmSync(at(file))
    }
  })
})
