/** Pieces: what is in them, when they are used again, which go. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { squashfs } from '../../src/filesystems/squashfs/index.ts'
import { openPieces, type Piece, type PieceSettings } from '../../src/images/pieces/index.ts'
import type { PieceInput } from '../../src/images/pieces/key.ts'
import { bytesExtent, bytesImage, type GrowingImage, type Image } from '../../src/io/image.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { BufferTarget } from '../../src/io/target.ts'
import type { Closure } from '../../src/nix/listing/closure.ts'
import { readClosure } from '../../src/nix/listing/read.ts'
import { rebuildRegistration } from '../../src/nix/listing/rebuild.ts'
import { storePolicy } from '../../src/nix/store/store-policy.ts'
import { storeTree } from '../../src/nix/store/store-tree.ts'
import { scanHost } from '../../src/tree/scan.ts'
import { compareTrees } from '../oracles/compare-trees.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'
import { bytesSource, readSquashfs } from '../readers/squashfs-reader.ts'
import {
  alter,
  buildIn,
  bytesOf,
  CPIO,
  contentsOf,
  countThreads,
  fewPaths,
  flipByte,
  type PieceWork,
  pieceWork,
  SQUASHFS,
} from './pieces-support.ts'

let work: PieceWork
let few: PieceInput
beforeAll(async () => {
  work = await pieceWork()
  few = fewPaths(work)
})
afterAll(() => work.remove())

const KINDS: [string, PieceSettings][] = [
  ['squashfs', SQUASHFS],
  ['cpio', CPIO],
]

const named = (closure: Closure, name: string): string =>
  closure.paths.find(({ baseName }) => baseName.endsWith(`-${name}`))?.baseName ?? name
const files = (pieces: readonly Piece[]): string[] => pieces.map(({ file }) => basename(file))
const reused = (pieces: readonly Piece[]): number => pieces.filter((piece) => piece.reused).length

describe.each(KINDS)('pieces of kind %s', (_kind, settings) => {
  it('are the same with 1 job and with 4, and when they are used again', async () => {
    const [first, second] = [work.newFolder(), work.newFolder()]
    const one = await buildIn(first, work, settings, { jobs: 1 })
    const four = await buildIn(second, work, settings, { jobs: 4 })
    expect(one.map(({ name }) => name)).toEqual(work.closure.paths.map(({ baseName }) => baseName))
    expect(files(four)).toEqual(files(one))
    expect(contentsOf(second)).toEqual(contentsOf(first))
    expect([reused(one), reused(four)]).toEqual([0, 0])

    const before = contentsOf(first)
    const { result: again, started } = await countThreads(() => buildIn(first, work, settings, { jobs: 4 }))
    expect({ files: files(again), reused: reused(again), started }).toEqual({ files: files(one), reused: one.length, started: 0 })
    expect(contentsOf(first)).toEqual(before)
    for (const piece of again) {
      const bytes = await bytesOf(piece.image)
      expect(bytes.equals(readFileSync(piece.file))).toBe(true)
      expect(bytes.length).toBe(piece.size)
      expect(piece.file).toContain(piece.sha256)
    }
  })

  it('are built again for the changed path alone', async () => {
    const folder = work.newFolder()
    const before = await buildIn(folder, work, settings)
    const changed = named(work.closure, 'contents')
    const undo = alter(join(work.store, changed, 'text-70000'), () => Buffer.from('changed'))
    try {
      const listed = await readClosure(join(work.folder, 'closure/store-paths'))
      const closure = await rebuildRegistration(listed, await storeTree(listed, work))
      const after = await buildIn(folder, { closure, root: work.root }, settings)
      expect(after.filter((piece) => !piece.reused).map(({ name }) => name)).toEqual([changed])
      expect(files(after).filter((name) => !files(before).includes(name))).toHaveLength(1)
    } finally {
      undo()
    }
    expect(reused(await buildIn(folder, work, settings))).toBe(before.length)
  })

  it('are noticed when they are damaged, removed, and built anew', async () => {
    const folder = work.newFolder()
    const pieces = await buildIn(folder, few, settings)
    const pristine = contentsOf(folder)
    const damages: [string, (file: string) => void][] = [
      ['a flipped bit', (file) => writeFileSync(file, flipByte(readFileSync(file)))],
      ['cut off', (file) => truncateSync(file, statSync(file).size - 1)],
      ['empty', (file) => truncateSync(file, 0)],
      ['longer', (file) => writeFileSync(file, '\0', { flag: 'a' })],
      ['a link', (file) => {
        rmSync(file)
        symlinkSync('/dev/null', file)
      }],
      ['a pipe', (file) => {
        rmSync(file)
        runOk('mkfifo', [file])
      }],
    ] // biome-ignore format: a table
    expect(damages.length).toBeLessThanOrEqual(pieces.length)
    for (const [index, [, damage]] of damages.entries()) damage(pieces[index]?.file ?? '')
    const notes: string[] = []
    const onProgress = (event: ProgressEvent): void => {
      if (event.kind === 'note') notes.push(event.message)
    }
    const again = await buildIn(folder, few, settings, { onProgress })
    expect(notes.map((note) => note.split(':')[0]).sort()).toEqual(
      pieces
        .slice(0, damages.length)
        .map(({ file }) => file)
        .sort(),
    )
    expect(again.map((piece) => piece.reused)).toEqual(again.map((_piece, index) => index >= damages.length))
    expect(contentsOf(folder)).toEqual(pristine)
    notes.length = 0
    await buildIn(folder, few, settings, { onProgress })
    expect(notes).toEqual([])
  })

  it('are verified while they are built', async () => {
    const folder = work.newFolder()
    const path = named(work.closure, 'contents')
    const undo = alter(join(work.store, path, 'text-70000'), flipByte)
    try {
      await expect(buildIn(folder, few, settings)).rejects.toMatchObject({ code: 'HASH_MISMATCH', path: `/nix/store/${path}` })
      expect([...contentsOf(folder).keys()].filter((name) => name.startsWith('.') || name.startsWith(path))).toEqual([])
      const unverified = await buildIn(folder, { ...few, verify: false }, settings)
      expect(unverified.find(({ name }) => name === path)?.reused).toBe(false)
      await expect(buildIn(folder, few, settings)).rejects.toMatchObject({ code: 'HASH_MISMATCH' })
    } finally {
      undo()
    }
    const verified = await buildIn(folder, few, settings)
    expect(verified.find(({ name }) => name === path)?.reused).toBe(false)
    // The other way round: what was verified may be used without.
    const again = await buildIn(folder, { ...few, verify: false }, settings)
    expect({ reused: reused(again), files: files(again) }).toEqual({ reused: again.length, files: files(verified) })
  })

  it('two builds at once share a folder', async () => {
    const folder = work.newFolder()
    const both = await Promise.all([buildIn(folder, few, settings), buildIn(folder, few, settings)])
    expect(files(both[0])).toEqual(files(both[1]))
    expect([...contentsOf(folder).keys()].sort()).toEqual(files(both[0]).sort())
  })
})

describe('a piece of kind squashfs', () => {
  it('holds the store path alone, as the store has it', async () => {
    for (const piece of await buildIn(work.newFolder(), few, SQUASHFS)) {
      const image = readSquashfs(bytesSource(await bytesOf(piece.image)))
      expect([...image.root.children.keys()]).toEqual([piece.name])
      expect(image.superblock.modificationTimeSeconds).toBe(0)
      expect(image.root).toMatchObject({ uid: 0, gid: 0, inode: { permissions: 0o755, mtimeSeconds: 1 } })
    }
  })

  it('is what threads make of the same tree', async () => {
    const piece = (await buildIn(work.newFolder(), few, SQUASHFS)).find(({ name }) => name === named(work.closure, 'contents'))
    if (!piece) throw new Error('no such piece')
    const node = scanHost(join(work.store, piece.name), storePolicy())
    const attributes = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 1 }
    const { codec, blockSize } = { codec: SQUASHFS.codec, blockSize: 128 << 10 }
    const image = squashfs({ kind: 'directory', ...attributes, entries: [{ name: Buffer.from(piece.name), node }] }, { codec, blockSize })
    const target = new BufferTarget()
    const { size } = await image.pack(target, 0, { jobs: 2 })
    expect(Buffer.from(target.bytes.subarray(0, size)).equals(await bytesOf(piece.image))).toBe(true)
  })

  it.skipIf(oracle('unsquashfs').skip)('by unsquashfs is the store path', async () => {
    const unpacked = join(work.newFolder(), 'all')
    const pieces = await buildIn(work.newFolder(), work, SQUASHFS)
    for (const { file } of pieces) runOk('unsquashfs', ['-quiet', '-no-progress', '-force', '-dest', unpacked, file])
    expect(compareTrees(work.store, unpacked)).toEqual([])
    // A damaged image is not read as if nothing were wrong.
    const broken = join(unpacked, 'broken')
    writeFileSync(broken, flipByte(readFileSync(pieces.find(({ name }) => name === named(work.closure, 'contents'))?.file ?? '')))
    const other = join(work.newFolder(), 'other')
    const { status } = run('unsquashfs', ['-quiet', '-no-progress', '-dest', other, broken])
    expect(status !== 0 || compareTrees(work.store, other).length > 0).toBe(true)
  })
})

describe('a piece of kind cpio', () => {
  it.each([CPIO, { kind: 'cpio', codec: { name: 'none' } }, { kind: 'cpio', codec: { name: 'gzip', level: 6 } }] as PieceSettings[])(
    'is a multiple of 4 bytes and begins with its store path: $codec.name',
    async (settings) => {
      for (const piece of await buildIn(work.newFolder(), few, settings)) {
        expect(piece.size % 4).toBe(0)
        if (settings.codec.name === 'none')
          expect((await bytesOf(piece.image)).toString('latin1', 110)).toMatch(`nix/store/${piece.name}\0`)
      }
    },
  )

  it.skipIf(oracle('cpio', 'zstd').skip)('by zstd and GNU cpio is the store path', async () => {
    const unpacked = work.newFolder()
    const pieces = await buildIn(work.newFolder(), work, CPIO)
    for (const piece of pieces) {
      const archive = run('zstd', ['-dc', piece.file])
      runOk('cpio', ['--extract', '--quiet', '--make-directories', '--preserve-modification-time'], {
        cwd: unpacked,
        input: archive.stdout,
      })
    }
    expect(compareTrees(work.store, join(unpacked, 'nix/store'))).toEqual([])
    const [first] = pieces
    const names = runOk('cpio', ['--list', '--quiet'], { input: zstdDecompressSync(first ? await bytesOf(first.image) : '') })
      .text.trim()
      .split('\n')
    expect(names[0]).toBe(`nix/store/${first?.name}`)
    const contents = pieces.find(({ name }) => name === named(work.closure, 'contents'))
    expect(
      run('zstd', ['-dc', '-'], { input: flipByte(readFileSync(contents?.file ?? '')) }).stdout.equals(
        run('zstd', ['-dc', contents?.file ?? '']).stdout,
      ),
    ).toBe(false)
  })
})

describe('a folder of pieces', () => {
  it('keeps pieces of other settings apart', async () => {
    const folder = work.newFolder()
    const settings: PieceSettings[] = [
      SQUASHFS,
      { ...SQUASHFS, kind: 'squashfs', blockSize: 4096 },
      { ...SQUASHFS, codec: { name: 'zstd', level: 2 } },
      CPIO,
      { kind: 'cpio', codec: { name: 'none' } },
    ]
    for (const one of settings) expect(reused(await buildIn(folder, few, one))).toBe(0)
    expect(reused(await buildIn(folder, { ...few, caseHack: true }, SQUASHFS))).toBe(0)
    for (const one of settings) expect(reused(await buildIn(folder, few, one))).toBe(few.closure.paths.length)
    expect(readdirSync(folder)).toHaveLength(6 * few.closure.paths.length)
  })

  it('asks for the hashes, and names all missing paths before it begins', async () => {
    const folder = work.newFolder()
    const unhashed = await readClosure(join(work.folder, 'closure/store-paths'))
    await expect(buildIn(folder, { closure: unhashed, root: work.root }, SQUASHFS)).rejects.toMatchObject({ code: 'USAGE' })
    const gone = work.closure.paths.slice(0, 2).map((path) => ({ ...path, path: `${path.path}-gone`, baseName: `${path.baseName}-gone` }))
    const closure = { ...work.closure, paths: [...work.closure.paths, ...gone] }
    const failed = expect(buildIn(folder, { closure, root: work.root }, SQUASHFS)).rejects
    await failed.toMatchObject({ code: 'NOT_FOUND', message: expect.stringMatching(/^2 of 16 .*-gone\n.*-gone$/s) })
    const [first, ...others] = work.closure.paths
    const longer = { ...work.closure, paths: [{ ...first, narSize: (first?.narSize ?? 0) + 8 }, ...others] } as Closure
    await expect(buildIn(work.newFolder(), { closure: longer, root: work.root }, SQUASHFS)).rejects.toMatchObject({ code: 'HASH_MISMATCH' })
    await expect(buildIn(folder, work, SQUASHFS, { jobs: 0 })).rejects.toMatchObject({ code: 'USAGE' })
    await expect(buildIn(folder, work, { ...SQUASHFS, blockSize: 5 } as PieceSettings)).rejects.toMatchObject({ code: 'USAGE' })
    expect(readdirSync(folder)).toEqual([])
  })

  it('starts as many threads as there are jobs, none for tiny work, and ends them', async () => {
    const { started, left } = await countThreads(() => buildIn(work.newFolder(), work, SQUASHFS, { jobs: 3 }))
    expect({ started, left }).toEqual({ started: 3, left: 0 })
    const folder = work.newFolder()
    const pieces = await buildIn(folder, work, SQUASHFS)
    const tiny = pieces.find(({ name }) => name === named(work.closure, 'empty-file'))
    rmSync(tiny?.file ?? '')
    expect(await countThreads(() => buildIn(folder, work, SQUASHFS))).toMatchObject({ started: 0 })
    expect([...contentsOf(folder).keys()]).toContain(basename(tiny?.file ?? ''))
  })

  it('tells how far it is', async () => {
    const events: ProgressEvent[] = []
    const folder = work.newFolder()
    await buildIn(folder, few, SQUASHFS, { onProgress: (event) => events.push(event) })
    const totalBytes = few.closure.paths.reduce((sum, { narSize = 0 }) => sum + narSize, 0)
    expect(events[0]).toEqual({ kind: 'stage', stage: 'pieces', totalBytes })
    const done = events.slice(1).map((event) => (event.kind === 'bytes' ? event.doneBytes : Number.NaN))
    expect(done).toEqual([...done].sort((a, b) => a - b))
    expect(done.at(-1)).toBe(totalBytes)
    events.length = 0
    await buildIn(folder, few, SQUASHFS, { onProgress: (event) => events.push(event) })
    expect(events).toEqual([])
  })

  it('keeps any image', async () => {
    const folder = work.newFolder()
    const pieces = await openPieces(folder)
    let made = 0
    const keep = (name: string, part: string, image: Image | GrowingImage) =>
      pieces.keep(
        { name, parts: [part], suffix: 'bin' },
        async () => {
          made++
          return image
        },
        { jobs: 1 },
      )
    const tree = scanHost(join(work.store, named(work.closure, 'contents')), storePolicy())
    if (tree.kind !== 'directory') throw new Error('no folder')
    const small = () => keep('a/b', '1', bytesImage(Buffer.from('content'), 10))
    const large = () => keep('store', '1', squashfs(tree, SQUASHFS))
    const [one, two] = [await small(), await large()]
    expect({ made, reused: [one.reused, two.reused], name: one.name }).toEqual({ made: 2, reused: [false, false], name: 'a/b' })
    expect((await bytesOf(one.image)).toString()).toBe('content\0\0\0')
    expect(readSquashfs(bytesSource(await bytesOf(two.image))).root.children.size).toBe(tree.entries.length)
    expect([(await small()).reused, (await large()).reused, made]).toEqual([true, true, 2])
    await keep('a/b', '2', bytesImage(Buffer.from('other')))
    writeFileSync(one.file, 'damaged')
    expect([made, (await small()).reused, made]).toEqual([3, false, 4])
    const short = { size: 5, extents: [{ start: 0, length: 5, read: () => bytesExtent(0, Buffer.from('1')).read() }] }
    await expect(keep('fails', '1', short)).rejects.toMatchObject({ code: 'USAGE' })
    const wrong = { name: 'a', parts: [], suffix: '../b' }
    await expect(pieces.keep(wrong, async () => short, { jobs: 1 })).rejects.toMatchObject({ code: 'USAGE' })
    expect(readdirSync(folder)).toHaveLength(3)
    await pieces.close()
  })

  it('is pruned of what was not used for longest, never of what is in use or foreign', async () => {
    const folder = work.newFolder()
    const pieces = await openPieces(folder)
    const old = await pieces.build(few, { ...SQUASHFS, codec: { name: 'zstd', level: 2 } }, { jobs: 2 })
    const recent = await pieces.build(few, SQUASHFS, { jobs: 2 })
    for (const { file } of [...old, ...recent]) utimesSync(file, 1000, 1000)
    writeFileSync(join(folder, 'foreign.squashfs'), 'x')
    utimesSync(join(folder, 'foreign.squashfs'), 1, 1)
    // Use makes them recent.
    expect(reused(await pieces.build(few, SQUASHFS, { jobs: 2 }))).toBe(recent.length)
    const sum = (some: readonly Piece[]): number => some.reduce((total, { size }) => total + size, 0)
    await pieces.prune(sum(old) + sum(recent), [])
    expect(readdirSync(folder)).toHaveLength(old.length + recent.length + 1)
    await pieces.prune(sum(recent), [])
    expect(readdirSync(folder).sort()).toEqual([...files(recent), 'foreign.squashfs'].sort())
    await pieces.prune(0, recent.slice(0, 3))
    expect(readdirSync(folder).sort()).toEqual([...files(recent.slice(0, 3)), 'foreign.squashfs'].sort())
    await expect(pieces.prune(Number.NaN, [])).rejects.toMatchObject({ code: 'USAGE' })
    await pieces.close()
  })

  it('that has no name is temporary', async () => {
    const pieces = await openPieces(undefined)
    const [piece] = await pieces.build(few, SQUASHFS, { jobs: 1 })
    expect(await bytesOf(piece?.image ?? bytesImage(Buffer.alloc(0)))).toHaveLength(piece?.size ?? -1)
    await pieces.close()
    expect(() => statSync(piece?.file ?? '')).toThrow('ENOENT')
    expect(() => statSync(join(piece?.file ?? '', '..'))).toThrow('ENOENT')
  })

  it('is created, and refused where there is a file', async () => {
    const folder = join(work.newFolder(), 'a/b')
    expect(reused(await buildIn(folder, few, SQUASHFS))).toBe(0)
    const file = join(work.newFolder(), 'file')
    writeFileSync(file, '')
    await expect(openPieces(file)).rejects.toMatchObject({ code: 'USAGE', path: file })
    await expect(openPieces(join(file, 'below'))).rejects.toMatchObject({ code: 'WRITE_FAILED' })
  })

  it('loses what killed runs left, but not at once', async () => {
    const folder = work.newFolder()
    const [old, recent, foreign] = ['.kilnix-partial-1aB2cD', '.kilnix-partial-2aB2cD', '.other-partial'].map((name) => join(folder, name))
    for (const one of [old, recent, foreign]) mkdirSync(one ?? '')
    writeFileSync(join(old ?? '', 'piece-0'), 'x')
    for (const one of [old, foreign]) utimesSync(one ?? '', 1, 1)
    mkdirSync(join(folder, 'folder'))
    await buildIn(folder, few, SQUASHFS)
    expect(
      readdirSync(folder)
        .filter((name) => !name.endsWith('.squashfs'))
        .sort(),
    ).toEqual(['.kilnix-partial-2aB2cD', '.other-partial', 'folder'])
  })

  it('is read by many at once, in ranges, while its times change', async () => {
    const pieces = await buildIn(work.newFolder(), work, SQUASHFS)
    const largest = [...pieces].sort((a, b) => b.size - a.size)[0]
    if (!largest) throw new Error('no piece')
    const expected = readFileSync(largest.file)
    const readers = Array.from({ length: 20 }, async (_, index) => {
      utimesSync(largest.file, index, index)
      return (await bytesOf(largest.image)).equals(expected)
    })
    expect(await Promise.all(readers)).toEqual(readers.map(() => true))
    const [extent] = largest.image.extents
    const chunks: Uint8Array[] = []
    for await (const chunk of extent?.readRange?.(1000, 300_000) ?? []) chunks.push(chunk)
    expect(Buffer.concat(chunks).equals(expected.subarray(1000, 301_000))).toBe(true)
    truncateSync(largest.file, 100)
    await expect(bytesOf(largest.image)).rejects.toMatchObject({ code: 'CHANGED' })
    rmSync(largest.file)
    await expect(bytesOf(largest.image)).rejects.toMatchObject({ code: 'CHANGED' })
  })
})
