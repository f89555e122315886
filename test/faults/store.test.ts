/** A store that is damaged, or changes under the build: an error with its code and place, and no image. */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { iso } from '../../src/images/iso.ts'
import { storeSquashfs } from '../../src/images/squashfs.ts'
import { saveImage } from '../../src/io/output.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import {
  changesOf,
  flipByte,
  type Harm,
  type HarmableStore,
  harmableStore,
  removed,
  shrinkTo,
  toFolder,
  toLink,
  toPipe,
  toPipeNamed,
} from './harm.ts'
import { errorLine, kilnix, leftIn, NOT_UNPRIVILEGED, smallWork, UNPRIVILEGED, type Work } from './support.ts'

let work: Work
let store: string
let harmable: HarmableStore
let output: string
beforeAll(async () => {
  work = await smallWork()
  store = join(work.closure.root, 'nix/store')
  harmable = harmableStore(store, join(work.folder, 'pristine'))
  mkdirSync(join(work.folder, 'output'))
  output = join(work.folder, 'output', 'image')
})
afterAll(() => work.remove())
afterEach(() => {
  const left = leftIn(dirname(output))
  rmSync(output, { force: true })
  expect(left).toEqual([])
})

const named = (name: string): string => harmable.named(name)
const whileHarmed: HarmableStore['whileHarmed'] = (path, action, run) => harmable.whileHarmed(path, action, run)

const squashfs = (...more: string[]) => kilnix(['squashfs', ...work.input, '--quiet', '-o', output, ...more])

describe('a store that was damaged before', () => {
  it('in one bit of a file, in any of its paths: HASH_MISMATCH naming the path', async () => {
    const files = readdirSync(store)
      .map((path) => harmable.fileBelow(path))
      .filter((file) => file !== undefined)
    expect(files.length).toBeGreaterThan(8)
    for (const file of files) {
      expect(await errorAfter('squashfs', file, flipByte, 'before')).toMatchObject({
        code: 'HASH_MISMATCH',
        path: `/nix/store/${file.split('/')[0]}`,
      })
    }
  })

  it('in the kernel of an ISO, which is in the image twice', async () => {
    const kernel = join(named('linux-6.1.176'), 'bzImage')
    const { status, stderr } = await whileHarmed(kernel, flipByte, () => kilnix(['iso', ...work.input, '--quiet', '-o', output]))
    expect(stderr).toMatch(errorLine('HASH_MISMATCH', `/nix/store/${dirname(kernel)}: `))
    expect(status).toBe(1)
  })

  it('is packed as it is with --no-verify, and not by default once more', async () => {
    const file = join(named('contents'), 'text-70000')
    await whileHarmed(file, flipByte, async () => {
      expect(await squashfs('--no-verify')).toMatchObject({ status: 0, stderr: '' })
      rmSync(output)
      expect((await squashfs()).status).toBe(1)
      const plan = await kilnix(['squashfs', ...work.input, '--no-verify', '--dry-run', '--json'])
      expect(JSON.parse(plan.stdout.toString())).toMatchObject({ verified: false })
    })
  })

  it.each<[string, () => string, Harm, string, RegExp | string]>([
    ['an execute bit that is gone', () => named('program'), (path) => chmodSync(path, 0o444), 'HASH_MISMATCH', /-program: /],
    ['an execute bit too many', () => join(named('contents'), 'prefix'), (path) => chmodSync(path, 0o555), 'HASH_MISMATCH', /-contents: /],
    [
      'a link that leads elsewhere, by a target as long',
      () => join(named('contents'), 'links/dangling'),
      toLink('nobody!'),
      'HASH_MISMATCH',
      /-contents: its files hash to sha256:/,
    ],
    [
      'a link with a longer target',
      () => join(named('contents'), 'links/dangling'),
      toLink('nowhere in this world'),
      'HASH_MISMATCH',
      /-contents: its NAR is \d+ bytes, the listing has \d+/,
    ],
    [
      'an empty folder that is gone',
      () => join(named('contents'), 'empty/nested'),
      (path) => rmdirSync(path),
      'HASH_MISMATCH',
      /-contents: /,
    ],
    ['a file too many', () => join(named('contents'), 'more'), (path) => writeFileSync(path, 'x'), 'HASH_MISMATCH', /-contents: /],
    [
      'a file with another name',
      () => join(named('contents'), 'prefix'),
      (path) => renameSync(path, `${path.slice(0, -1)}y`),
      'HASH_MISMATCH',
      /-contents: /,
    ],
    ['a file that became a folder', () => join(named('contents'), 'prefix'), toFolder, 'HASH_MISMATCH', /-contents: /],
    [
      'a file whose name would be a line of its own',
      () => join(named('contents'), 'prefix'),
      toPipeNamed('x\n  kilnix: all is well\x1b[2K'),
      'UNSUPPORTED',
      'contents/x\\x0a  kilnix: all is well\\x1b[2K: is a pipe',
    ],
    ['a file that became a pipe', () => join(named('contents'), 'prefix'), toPipe, 'UNSUPPORTED', /contents\/prefix: is a pipe/],
    ['a path that is gone', () => named('etc'), removed, 'NOT_FOUND', /-etc/],
    ['a path that is empty', () => named('etc'), toFolder, 'HASH_MISMATCH', /-etc: /],
    ['a path that is a link out of the store', () => named('etc'), toLink('/etc'), 'HASH_MISMATCH', /-etc: /],
  ])('%s', async (_, path, action, code, message) => {
    const { status, stderr } = await whileHarmed(path(), action, () => squashfs())
    expect(stderr).toMatch(errorLine(code, message))
    expect(status).toBe(1)
    expect(leftIn(dirname(output))).toEqual([])
  })

  it.each<[string, (registration: string) => string, string, RegExp]>([
    ['a wrong hash', (text) => text.replace('\nsha256:0sjjj', '\nsha256:1sjjj'), 'HASH_MISMATCH', /-empty-directory: its files hash to/],
    [
      'a wrong size',
      (text) => text.replace('\n96\n', '\n104\n'),
      'HASH_MISMATCH',
      /-empty-directory: its NAR is 96 bytes, the listing has 104/,
    ],
    [
      'a reference that is not listed',
      (text) => text.replace(/\n0\n/, '\n1\n/nix/store/0000000000000000000000000000000z-elsewhere\n'),
      'NOT_FOUND',
      /-elsewhere, which is not in the listing/,
    ],
    [
      'a path that the store does not have',
      (text) => text.replaceAll('empty-directory', 'empty-dictionary'),
      'NOT_FOUND',
      /-empty-dictionary/,
    ],
  ])('a listing with %s', async (_, change, code, message) => {
    const listing = join(work.folder, 'listing')
    const before = readFileSync(join(work.closure.folder, 'registration'), 'utf8')
    const after = change(before)
    expect(after).not.toBe(before)
    writeFileSync(listing, after)
    const { status, stderr } = await kilnix(['squashfs', '--closure', listing, '--root', work.closure.root, '--quiet', '-o', output])
    expect(stderr).toMatch(errorLine(code, message))
    expect(status).toBe(1)
  })

  it.skipIf(NOT_UNPRIVILEGED).each(['many/file-7', 'many'])('%s that may not be read: UNREADABLE', async (forbidden) => {
    chmodSync(work.folder, 0o755)
    chmodSync(dirname(output), 0o777)
    const path = join(store, named('contents'), forbidden)
    const { mode } = lstatSync(path)
    chmodSync(path, 0)
    const args = ['squashfs', ...work.input, '--quiet', '-o', output]
    const { status, stderr } = await kilnix(args, UNPRIVILEGED)
    chmodSync(path, mode & 0o777)
    expect(stderr).toMatch(errorLine('UNREADABLE', `${path}: cannot be read (EACCES)`))
    expect(status).toBe(1)
    expect(await kilnix(args, UNPRIVILEGED)).toMatchObject({ status: 0, stderr: '' })
    rmSync(output)
  })
})

/** The error of an image whose store changes before it is planned, after that, once bytes are read, or when the store is packed. */
async function errorAfter(kind: 'squashfs' | 'iso', path: string, action: Harm, when: 'before' | 'planned' | 'reading' | 'packed') {
  const { folder, root } = work.closure
  const input = { closure: folder, root, compression: { name: 'zstd', level: 1 } } as const
  let harmed = false
  let isPacking = false
  const harmAt = (moment: typeof when): void => {
    if (harmed || moment !== when) return
    harmed = true
    harmable.harm(path, action)
  }
  const onProgress = (event: ProgressEvent): void => {
    if (event.kind === 'bytes' && event.doneBytes > 0) harmAt('reading')
    isPacking ||= event.kind === 'stage' && event.stage === 'squashfs'
    if (isPacking && event.kind === 'stage' && event.stage === 'write') harmAt('packed')
  }
  try {
    harmAt('before')
    const { image } = kind === 'iso' ? await iso(input) : await storeSquashfs(input)
    harmAt('planned')
    return await saveImage(image, output, { jobs: 1, onProgress }).catch((error: unknown) => error)
  } finally {
    harmable.heal(path)
  }
}

describe('a store that changes', () => {
  const changes = changesOf(10)

  it.each(changes)('a file that %s between plan and packing', async (_, action, code) => {
    const file = join(named('contents'), 'text-70000')
    const path = code === 'HASH_MISMATCH' ? `/nix/store/${dirname(file)}` : join(store, file)
    expect(await errorAfter('squashfs', file, action, 'planned')).toMatchObject({ code, path })
    expect(leftIn(dirname(output))).toEqual([])
  })

  it.each(changes)('the kernel of an ISO that %s between plan and packing, or before it is written once more', async (_, action, code) => {
    const file = join(named('linux-6.1.176'), 'bzImage')
    // The store has it first.
    const path = code === 'HASH_MISMATCH' ? `/nix/store/${dirname(file)}` : join(store, file)
    expect(await errorAfter('iso', file, action, 'planned')).toMatchObject({ code, path })
    // It was proven for the plan.
    expect(await errorAfter('iso', file, action, 'packed')).toMatchObject({ code: 'CHANGED', path: join(store, file) })
  })

  it.each(changes)('the last file of the store that %s while the first ones are packed', async (what, action, code) => {
    const file = join(named('linux-6.1.176'), 'release')
    const path = code === 'HASH_MISMATCH' ? `/nix/store/${dirname(file)}` : join(store, file)
    expect(await errorAfter('squashfs', file, what === 'shrinks' ? shrinkTo(5) : action, 'reading')).toMatchObject({ code, path })
  })

  it('a store path that is removed as a whole', async () => {
    const file = join(named('linux-6.1.176'), 'release')
    const error = await errorAfter('squashfs', basename(dirname(file)), removed, 'planned')
    expect(error).toMatchObject({ code: 'CHANGED', path: expect.stringContaining('-linux-6.1.176/') })
  })

  it('is put back by these tests: the image is what it was', async () => {
    expect(await squashfs()).toMatchObject({ status: 0, stderr: '' })
    rmSync(output)
    expect(readlinkSync(join(store, named('contents'), 'links/dangling'))).toBe('nowhere')
  })
})
