/**
 * Pieces that somebody else wrote: other content under a name that fits it. They are believed nowhere: not the folder to
 * which others may write, and in a folder of one's own not the single file.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { netboot } from '../../src/images/netboot/index.ts'
import type { Piece } from '../../src/images/pieces/index.ts'
import type { PieceInput } from '../../src/images/pieces/key.ts'
import type { BuildContext } from '../../src/io/image.ts'
import { buildIn, CPIO, contentsOf, fewPaths, flipByte, type PieceWork, pieceWork } from '../images/pieces-support.ts'

let work: PieceWork
let input: PieceInput
beforeAll(async () => {
  work = await pieceWork()
  input = fewPaths(work)
})
afterAll(() => work.remove())

const MALLORY = 4242
/** Only root can give a file to somebody else; in CI the tests run as root. */
const cannotGive = process.getuid?.() !== 0 && process.env.CI !== 'true'
if (cannotGive) console.warn('skipped: only root can give pieces to another user')
const build = (folder: string, context?: Partial<BuildContext>): Promise<readonly Piece[]> => buildIn(folder, input, CPIO, context)
const untrusted = (text: RegExp) => expect.objectContaining({ code: 'UNTRUSTED', message: expect.stringMatching(text) })

/** The first piece in `folder` with another byte, under the name of that content. */
function poisoned(folder: string): { readonly name: string; readonly honest: string; readonly bytes: Buffer } {
  const [honest = ''] = readdirSync(folder).sort()
  const bytes = flipByte(readFileSync(join(folder, honest)))
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  // It sorts first, so that it would be tried first.
  const name = `0${honest.slice(honest.search(/-[0-9a-f]{32}-[0-9a-f]{64}\./))}`.replace(/[0-9a-f]{64}/, sha256)
  return { name, honest, bytes }
}

describe('a folder of pieces', () => {
  it('to which others may write is refused, sticky or not, and taken once they may not', async () => {
    const folder = work.newFolder()
    const pieces = await build(folder)
    for (const mode of [0o1777, 0o777, 0o775, 0o757, 0o3775]) {
      chmodSync(folder, mode)
      await expect(build(folder)).rejects.toThrow(untrusted(/may be written to by others than its owner \(mode .*: chmod go-w /))
    }
    chmodSync(folder, 0o755)
    const again = await build(folder)
    expect(again.map(({ sha256, reused }) => [sha256, reused])).toEqual(pieces.map(({ sha256 }) => [sha256, true]))
  })

  it('is looked at before any work, and nothing is made there', async () => {
    const folder = work.newFolder()
    chmodSync(folder, 0o1777)
    for (const style of ['single', 'manifest', 'per-path'] as const) {
      const options = { closure: join(work.folder, 'no such closure'), root: work.root, style, pieces: folder }
      await expect(netboot(options)).rejects.toThrow(untrusted(/folder of pieces/))
    }
    expect(readdirSync(folder)).toEqual([])
  })

  it('that others could exchange for another is refused', async () => {
    const above = work.newFolder()
    const folder = join(above, 'inner/pieces')
    await build(folder)
    chmodSync(join(above, 'inner'), 0o777)
    await expect(build(folder)).rejects.toThrow(untrusted(/lies in .*inner, which others may write to \(mode 0777\)/))
    // As in /tmp: others may put something there, and not take away what is.
    chmodSync(join(above, 'inner'), 0o1777)
    expect((await build(folder)).every(({ reused }) => reused)).toBe(true)
  })

  it.skipIf(cannotGive)('that belongs to another user is refused, and so is one in a folder of his', async () => {
    const above = work.newFolder()
    const folder = join(above, 'pieces')
    await build(folder)
    chownSync(folder, MALLORY, MALLORY)
    await expect(build(folder)).rejects.toThrow(untrusted(/belongs to another user \(4242\).*name a folder of your own/))
    chownSync(folder, 0, 0)
    chownSync(above, MALLORY, MALLORY)
    await expect(build(folder)).rejects.toThrow(untrusted(/lies in .*, which belongs to another user \(4242\)/))
    chownSync(above, 0, 0)
    expect((await build(folder)).every(({ reused }) => reused)).toBe(true)
  })

  it('is of use whatever the umask', async () => {
    const before = process.umask()
    try {
      for (const umask of [0o002, 0o000, 0o077]) {
        process.umask(umask)
        const folder = join(work.newFolder(), 'new/pieces')
        await build(folder)
        expect((await build(folder)).every(({ reused }) => reused)).toBe(true)
        expect(statSync(folder).mode & 0o022).toBe(0)
      }
    } finally {
      process.umask(before)
    }
  })
})

describe('a piece in a folder of one’s own', () => {
  it.each([
    [
      'that others may write to',
      (path: string) => chmodSync(path, 0o666),
      /the piece may be written to by others than its owner \(mode 0666\)/,
    ],
    ['of the group', (path: string) => chmodSync(path, 0o664), /the piece may be written to by others/],
    ['of another user', (path: string) => chownSync(path, MALLORY, MALLORY), /the piece belongs to another user \(4242\)/],
  ])('%s is told of, and built anew', async (_what, expose, told) => {
    const folder = work.newFolder()
    const honest = await build(folder)
    const contents = contentsOf(folder)
    const poison = poisoned(folder)
    const planted = join(folder, poison.name)
    writeFileSync(planted, poison.bytes)
    expose(planted)
    // The honest one is gone: what is left is the other's.
    rmSync(join(folder, poison.honest))
    const notes: string[] = []
    const pieces = await build(folder, { onProgress: (event) => event.kind === 'note' && notes.push(event.message) })
    expect(notes).toEqual([expect.stringMatching(told)])
    expect(pieces.map(({ sha256 }) => sha256)).toEqual(honest.map(({ sha256 }) => sha256))
    expect(pieces.filter(({ reused }) => !reused)).toHaveLength(1)
    expect(contentsOf(folder)).toEqual(contents)
    expect(existsSync(planted)).toBe(false)
  })

  it.skipIf(cannotGive)('that was put there when anybody could is of no use afterwards', async () => {
    const folder = work.newFolder()
    await build(folder)
    const contents = contentsOf(folder)
    const { name, bytes, honest } = poisoned(folder)
    // Mallory's own file, moved in while the folder was open to all.
    const own = join(work.newFolder(), 'own')
    mkdirSync(own)
    writeFileSync(join(own, name), bytes)
    chownSync(join(own, name), MALLORY, MALLORY)
    chmodSync(folder, 0o1777)
    renameSync(join(own, name), join(folder, name))
    await expect(build(folder)).rejects.toThrow(untrusted(/folder of pieces/))
    chmodSync(folder, 0o755)
    expect((await build(folder)).map(({ file }) => file)).toContain(join(folder, honest))
    expect([...contentsOf(folder)].filter(([one]) => one !== name)).toEqual([...contents])
  })
})
