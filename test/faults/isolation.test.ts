/** Others in the same folder: a process with the same number, and a user who exchanges whatever comes up there. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { removeTree } from '../remove-tree.ts'
import { BIN, type Ended, finish, kilnix, leftIn, NO_MOUNT, sha256Of, smallWork, type Work } from './support.ts'

let work: Work
let folder: string
/** A NAR of many files, and its hash. */
let nar: Buffer
let narHash: string
beforeAll(async () => {
  work = await smallWork()
  // Other users read the closure.
  chmodSync(work.folder, 0o755)
  folder = join(work.folder, 'shared')
  const tree = join(work.folder, 'tree')
  for (let index = 0; index < 40; index++) {
    mkdirSync(join(tree, `folder-${index}`), { recursive: true })
    for (let file = 0; file < 20; file++) writeFileSync(join(tree, `folder-${index}`, `file-${file}`), `${index} ${file}\n`.repeat(500))
  }
  nar = (await kilnix(['nar', 'dump', tree])).stdout
  narHash = await hashOf(tree)
})
afterAll(() => work.remove())
beforeEach(() => {
  removeTree(folder)
  mkdirSync(folder)
})

async function hashOf(path: string): Promise<string> {
  return (await kilnix(['nar', 'hash', path])).stdout.toString().trim()
}

/** `kilnix` as the first process of its own PID namespace, as in a container: its number is 1. */
function inContainer(args: readonly string[]) {
  const child = spawn('unshare', ['--pid', '--fork', '--kill-child=KILL', process.execPath, BIN, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.on('error', () => undefined)
  return child
}

const restore = (to: string) => ['nar', 'restore', '-', join(folder, to)]
const filesIn = (path: string): number =>
  readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length

describe.skipIf(NO_MOUNT !== undefined)('two containers that share a folder', () => {
  it('do each other no harm, whether the other ends well, badly, or is killed', async () => {
    const slow = inContainer(restore('slow'))
    const slowEnd = finish(slow)
    slow.stdin.write(nar.subarray(0, nar.length >> 1))
    while (!leftIn(folder).some((name) => filesIn(join(folder, name)) > 100)) await setTimeout(20)

    const quick = inContainer(restore('quick'))
    const quickEnd = finish(quick)
    quick.stdin.end(nar)
    expect(await quickEnd).toMatchObject({ status: 0 })

    const broken = inContainer(restore('broken'))
    const brokenEnd = finish(broken)
    broken.stdin.end(nar.subarray(0, nar.length - 100))
    expect(await brokenEnd).toMatchObject({ status: 1, stderr: expect.stringContaining('BAD_INPUT') })

    const killed = inContainer(restore('killed'))
    killed.stdin.write(nar.subarray(0, nar.length >> 1))
    while (leftIn(folder).length < 3) await setTimeout(20)
    const ended = once(killed, 'close')
    killed.kill('SIGKILL')
    await ended

    // What the killed one left is in nobody's way.
    const again = inContainer(restore('killed'))
    const againEnd = finish(again)
    again.stdin.end(nar)
    expect(await againEnd).toMatchObject({ status: 0 })

    slow.stdin.end(nar.subarray(nar.length >> 1))
    expect(await slowEnd).toMatchObject({ status: 0 })
    for (const name of ['slow', 'quick', 'killed']) expect(await hashOf(join(folder, name)), name).toBe(narHash)
    expect(leftIn(folder).filter((name) => !name.startsWith('.'))).toEqual(['killed', 'quick', 'slow'])
  })

  it.each([
    ['iso', []],
    ['netboot', ['--style', 'manifest']],
    ['replace', ['--whole-store']],
  ] as const)('build two %s at once', async (command, more) => {
    const same = work.closure.storePaths[0] ?? ''
    const input =
      command === 'replace' ? ['--closure', work.closure.folder, '--root', work.closure.root, '--replace', `${same}=${same}`] : work.input
    const args = (to: string) => [command, ...input, ...more, '--quiet', '-o', join(folder, to)]
    expect(await kilnix(args('alone'))).toMatchObject({ status: 0, stderr: '' })
    const both = await Promise.all(['one', 'two'].map((to) => finish(inContainer(args(to)))))
    expect(both.map(({ status, stderr }) => [status, stderr])).toEqual([
      [0, ''],
      [0, ''],
    ])
    for (const to of ['one', 'two']) expect(contentOf(join(folder, to)), to).toEqual(contentOf(join(folder, 'alone')))
    expect(leftIn(folder)).toEqual(['alone', 'one', 'two'])
  })
})

/** Digests of the file, or of all files in the folder by their paths, and links. */
function contentOf(path: string): unknown {
  if (statSync(path).isFile()) return sha256Of(path)
  const entries = readdirSync(path, { recursive: true, withFileTypes: true }).map((entry) => {
    const place = join(entry.parentPath, entry.name)
    return [place.slice(path.length), entry.isFile() ? sha256Of(place) : entry.isSymbolicLink() ? readlinkSync(place) : 'folder']
  })
  return Object.fromEntries(entries.sort())
}

/** Exchanges everything hidden that comes up in the folder for links to what is another user's, as fast as it can. */
const MALLORY = `
  const fs = require('node:fs')
  const [folder, victim, stop] = process.argv.slice(1)
  let count = 0
  console.log('ready')
  while (!fs.existsSync(stop)) {
    let names = []
    try { names = fs.readdirSync(folder) } catch {}
    for (const name of names) {
      if (!name.startsWith('.kilnix-')) continue
      const place = folder + '/' + name
      try {
        if (fs.lstatSync(place).isSymbolicLink()) continue
        fs.renameSync(place, folder + '/.taken-' + process.pid + '-' + count++)
        fs.symlinkSync(victim, place)
      } catch {}
    }
  }
  console.log('exchanged ' + count)
`

const ALICE = 54321
const MALLORY_ID = 54322

describe.skipIf(NO_MOUNT !== undefined)('a user who may write to the same folder', () => {
  it.each([
    ['iso', ['iso']],
    ['netboot', ['netboot', '--style', 'per-path']],
    ['nar restore', ['nar', 'restore']],
  ] as const)('cannot have files of another changed, moved or removed: %s', async (name, command) => {
    const place = await mkdtemp(join(tmpdir(), 'kilnix-mallory-'))
    const home = join(place, 'home')
    const shared = join(place, 'shared')
    for (const path of [home, shared]) mkdirSync(path)
    chmodSync(place, 0o755)
    chmodSync(shared, 0o777)
    const diaries = ['content', 'piece-0', 'scratch', 'diary']
    for (const diary of diaries) writeFileSync(join(home, diary), 'precious')
    for (const path of [home, ...diaries.map((diary) => join(home, diary))]) chownSync(path, ALICE, ALICE)
    const stop = join(place, 'stop')
    const mallory = spawn(process.execPath, ['-e', MALLORY, shared, home, stop], { uid: MALLORY_ID, gid: MALLORY_ID, cwd: '/' })
    const malloryEnd = finish(mallory)
    const seen: Ended[] = []
    try {
      await once(mallory.stdout, 'data')
      const output = join(shared, 'out')
      const args = name === 'nar restore' ? [...command, '-', output] : [...command, ...work.input, '--quiet', '-o', output]
      const alice = spawn(process.execPath, [BIN, ...args], { uid: ALICE, gid: ALICE, cwd: '/', env: { ...process.env, TMPDIR: shared } })
      alice.stdin.on('error', () => undefined)
      alice.stdin.end(name === 'nar restore' ? nar : undefined)
      seen.push(await finish(alice))
    } finally {
      writeFileSync(stop, '')
    }
    expect(Number(/exchanged (\d+)/.exec((await malloryEnd).stdout.toString())?.[1])).toBeGreaterThan(0)
    // Whatever came of it: what she has at home is as it was.
    for (const { status } of seen) expect([0, 1]).toContain(status)
    expect(readdirSync(home).sort()).toEqual([...diaries].sort())
    for (const diary of diaries) expect(readFileSync(join(home, diary), 'utf8')).toBe('precious')
    rmSync(place, { recursive: true, force: true })
  })
})
