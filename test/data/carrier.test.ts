/** Files of checked trees that threads bring to where an image has them: the same bytes, checks and errors as in order. */
import { createHash } from 'node:crypto'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { cpio } from '../../src/archives/cpio/index.ts'
import { tar } from '../../src/archives/tar/index.ts'
import { threadCarrier } from '../../src/data/carrier.ts'
import { gpt } from '../../src/disks/gpt/index.ts'
import { qcow2 } from '../../src/disks/qcow2/index.ts'
import { fixedVhd } from '../../src/disks/vhd/index.ts'
import { vmdk } from '../../src/disks/vmdk/index.ts'
import { ext4 } from '../../src/filesystems/ext4/index.ts'
import { fat } from '../../src/filesystems/fat/index.ts'
import { wholeSource } from '../../src/io/carried.ts'
import { FileTarget } from '../../src/io/file-target.ts'
import type { BuildContext, CarriedPart, Carrier, Image } from '../../src/io/image.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { imageChunks, writeImage } from '../../src/io/stream.ts'
import { contentExtents } from '../../src/tree/content.ts'
import { type DirectoryNode, type FileNode, sortedEntries, type TreeDigest, type TreeNode } from '../../src/tree/tree.ts'
import { verifiedTree } from '../../src/tree/verified.ts'
import { Dice } from '../dice.ts'

const MEBIBYTE = 1 << 20
const PLAIN = { mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1 }
const FRAMING = Buffer.from('framing')

let folder: string
let small: DirectoryNode
let large: DirectoryNode
let largeFile: string
const liveWorkers = new Set<Worker>()
const onWorker = (worker: Worker): void => {
  liveWorkers.add(worker)
  worker.on('exit', () => liveWorkers.delete(worker))
}

function noise(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size)
  let state = seed
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[at] = state >>> 24
  }
  return bytes
}

function hostFile(path: string, bytes: Uint8Array): FileNode {
  writeFileSync(path, bytes)
  return { kind: 'file', ...PLAIN, size: bytes.length, content: { kind: 'hostFile', path: Buffer.from(path) } }
}

function directory(nodes: Readonly<Record<string, TreeNode>>): DirectoryNode {
  return {
    kind: 'directory',
    ...PLAIN,
    mode: 0o755,
    entries: Object.entries(nodes).map(([name, node]) => ({ name: Buffer.from(name), node })),
  }
}

function* filesOf(node: TreeNode): Generator<FileNode> {
  if (node.kind === 'file' && node.size > 0) yield node
  if (node.kind === 'directory') for (const entry of sortedEntries(node)) yield* filesOf(entry.node)
}

async function bytesOf(image: Image): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(image)) chunks.push(Uint8Array.from(chunk))
  return Buffer.concat(chunks)
}

async function digestOf(name: string, node: TreeNode): Promise<TreeDigest> {
  const hash = createHash('sha256')
  for (const file of filesOf(node)) {
    hash.update(FRAMING)
    hash.update(await bytesOf({ size: file.size, extents: contentExtents(file, 0, name) }))
  }
  function* pieces(): Generator<Uint8Array | FileNode> {
    for (const file of filesOf(node)) {
      yield FRAMING
      yield file
    }
  }
  return { name, node, algorithm: 'sha256', expected: hash.digest(), pieces }
}

/** Counts what it brings. */
function countingCarrier(): { readonly carrier: Carrier; readonly counts: { groups: number; parts: number } } {
  const counts = { groups: 0, parts: 0 }
  const carrier: Carrier = {
    async carry(loads, order) {
      counts.groups += loads.size
      for (const parts of loads.values()) counts.parts += parts.length
      await threadCarrier.carry(loads, order)
    },
  }
  return { carrier, counts }
}

let images = 0

/** Write to a file from byte `start` on; the bytes from there. What is said to be settled is read then, and has to stay. */
async function written(image: Image, context: BuildContext, start = 0): Promise<Buffer> {
  const path = join(folder, `image-${images++}`)
  const handle = await open(path, 'wx+')
  const settled: Buffer[] = []
  let end = 0
  const onSettled = (position: number): void => {
    expect(position).toBeGreaterThan(end)
    const bytes = Buffer.alloc(Math.min(position, start + image.size) - end)
    readSync(handle.fd, bytes, 0, bytes.length, end)
    settled.push(bytes)
    end += bytes.length
  }
  try {
    const target = new FileTarget(handle, path)
    await target.setSize(start + image.size)
    await writeImage(image, target, start, context, onSettled)
  } finally {
    await handle.close()
  }
  const bytes = readFileSync(path)
  rmSync(path)
  expect(Buffer.concat(settled).equals(bytes)).toBe(true)
  return bytes.subarray(start)
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-carrier-'))
  mkdirSync(join(folder, 'files'))
  const at = (name: string): string => join(folder, 'files', name)
  const host = (name: string, size: number): FileNode => hostFile(at(name), noise(size, size + name.length))
  const patchedHost = host('patched', 300_000)
  const path = Buffer.from(at('patched'))
  const patches = [4090, 131_070, 299_990].map((position) => ({ position, bytes: noise(10, position) }))
  const memory: FileNode = { kind: 'file', ...PLAIN, size: 5000, content: { kind: 'bytes', bytes: noise(5000, 9) } }
  small = directory({
    empty: host('empty', 0),
    folder: directory(Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`f${index}`, host(`f${index}`, index * 331)]))),
    link: { kind: 'symlink', ...PLAIN, target: Buffer.from('x'.repeat(100)) },
    memory,
    patched: { ...patchedHost, content: { kind: 'patched', path, patches } },
    zeros: hostFile(at('zeros'), new Uint8Array(70_000)),
  })
  largeFile = at('large')
  large = directory({ a: host('one', 4096), b: host('large', 14 * MEBIBYTE + 5), c: host('three', 4 * MEBIBYTE), d: host('four', 1) })
  process.on('worker', onWorker)
})
afterAll(() => {
  process.off('worker', onWorker)
  rmSync(folder, { recursive: true })
})

/** FAT has neither links nor large sizes of files without clusters: what all formats hold. */
function withoutLinks(node: DirectoryNode): DirectoryNode {
  return { ...node, entries: node.entries.filter((entry) => entry.node.kind !== 'symlink') }
}

const GUID = '00000000-0000-4000-8000-000000000000'
const EXT4 = { uuid: GUID, hashSeed: GUID, mtimeSeconds: 1, label: 'test', journal: false }
const ROOT = { typeGuid: new Uint8Array(16).fill(1), name: 'root' }
const onDisk = (root: DirectoryNode): Image => gpt([{ ...ROOT, image: ext4(root, EXT4) }], { seed: 'seed' })
const FORMATS: Readonly<Record<string, (root: DirectoryNode) => Image>> = {
  ext4: (root) => ext4(root, EXT4),
  'a partition': onDisk,
  vhd: (root) => fixedVhd(onDisk(root), { seed: 'seed' }),
  vmdk: (root) => vmdk(onDisk(root), { seed: 'seed', fileName: 'disk.vmdk' }),
  qcow2: (root) => qcow2(onDisk(root)),
  fat: (root) => fat(withoutLinks(root), { mtimeSeconds: 315532800, volumeSerial: 1 }),
  tar: (root) => tar(root),
}

describe('an image whose files are carried', () => {
  const contexts: Readonly<Record<string, BuildContext>> = {
    'one thread': { jobs: 1 },
    'no thread': { jobs: 2, threads: 'none' },
    'two threads': { jobs: 2 },
  }

  it.each(Object.keys(FORMATS))('has the bytes that it has in order: %s', { timeout: 120_000 }, async (name) => {
    const make = FORMATS[name] as (root: DirectoryNode) => Image
    // In FAT all of a digest lies in one folder.
    const trees = { small: withoutLinks(small), large }
    const expected = await written(make(directory(name === 'fat' ? trees : { small, large })), { jobs: 1 })
    const digests = await Promise.all([digestOf('small', name === 'fat' ? trees.small : small), digestOf('large', large)])
    // What nests an image is not asked for everything again.
    for (const [what, context] of Object.entries(contexts).slice(name === 'ext4' ? 0 : -1)) {
      const { carrier, counts } = countingCarrier()
      const [one, other] = digests.map((digest) => verifiedTree(digest, carrier)) as [TreeNode, TreeNode]
      const image = make(directory({ small: one, large: other }))
      const events: ProgressEvent[] = []
      const bytes = await written(image, { ...context, onProgress: (event) => events.push(event) }, 12_345)
      expect(bytes.equals(expected), what).toBe(true)
      expect([counts.groups, counts.parts >= 60], what).toEqual([2, true])
      const done = events.flatMap((event) => (event.kind === 'bytes' ? [event.doneBytes] : []))
      expect(done, what).toEqual([...done].sort((a, b) => (a ?? 0) - (b ?? 0)))
      expect([{ kind: 'bytes', stage: 'write', doneBytes: (events[0] as { totalBytes?: number }).totalBytes }]).toEqual(events.slice(-1))
      expect(liveWorkers.size).toBe(0)
      if (what !== 'two threads') continue
      // And again, read in order.
      expect((await bytesOf(image)).equals(expected)).toBe(true)
    }
  })

  it('whose small files stand with their headers is written in order', async () => {
    const { carrier, counts } = countingCarrier()
    const image = cpio(directory({ small: verifiedTree(await digestOf('small', small), carrier) }))
    expect((await written(image, { jobs: 2 })).equals(await written(cpio(directory({ small })), { jobs: 2 }))).toBe(true)
    expect(counts.groups).toBe(0)
  })

  it('may have them cut, scattered and twice', async () => {
    const dice = new Dice(7)
    const trees = [small, directory({ a: small, b: small }), large]
    for (let round = 0; round < 6; round++) {
      const tree = trees[round % trees.length] as DirectoryNode
      const plain = [...filesOf(tree)]
      const parts: { part: Omit<CarriedPart, 'start'>; bytes: Buffer }[] = []
      for (const [index, file] of [...filesOf(verifiedTree(await digestOf('tree', tree), threadCarrier))].entries()) {
        const source = file.content.kind === 'image' ? wholeSource(file.content.image) : undefined
        if (source === undefined) throw new Error('every file is carried')
        const whole = await bytesOf({ size: file.size, extents: contentExtents(plain[index] as FileNode, 0, 'plain') })
        for (let offset = 0; offset < file.size; ) {
          const length = Math.min(file.size - offset, 1 + dice.below(dice.chance(30) ? file.size : 40_000))
          const zeros = offset + length === file.size ? dice.below(5000) : 0
          const bytes = Buffer.concat([whole.subarray(offset, offset + length), Buffer.alloc(zeros)])
          parts.push({ part: { source, offset, length: length + zeros }, bytes })
          offset += length
        }
      }
      const order =
        round % 2 === 0
          ? parts
          : parts
              .map((part) => ({ part, at: dice.next() }))
              .sort((a, b) => a.at - b.at)
              .map(({ part }) => part)
      const expected: Buffer[] = []
      const placed: CarriedPart[] = []
      let end = 0
      for (const { part, bytes } of order) {
        const gap = dice.chance(25) ? dice.below(9000) : 0
        placed.push({ ...part, start: end + gap })
        expected.push(Buffer.alloc(gap), bytes)
        end += gap + bytes.length
      }
      const read = (): never => {
        throw new Error('it is carried')
      }
      const image: Image = { size: end, extents: [{ start: 0, length: end, read, carried: { parts: () => placed, rest: () => [] } }] }
      const bytes = await written(image, { jobs: 2 }, dice.below(5000))
      expect(bytes.equals(Buffer.concat(expected)), `round ${round}`).toBe(true)
    }
  })
})

describe('a carried file', () => {
  let handle: FileHandle
  let openFiles: number
  beforeEach(() => {
    openFiles = readdirSync('/dev/fd').length
  })

  async function failure(root: DirectoryNode, context: Partial<BuildContext> = {}, flags = 'w+'): Promise<unknown> {
    const path = join(folder, 'failing')
    writeFileSync(path, '')
    handle = await open(path, flags)
    try {
      await writeImage(ext4(root, EXT4), new FileTarget(handle, 'the output'), 0, { jobs: 2, ...context })
      return undefined
    } catch (error) {
      return error
    } finally {
      expect(liveWorkers.size).toBe(0)
      await handle.close()
      expect(readdirSync('/dev/fd').length).toBe(openFiles)
    }
  }

  it('with other bytes is HASH_MISMATCH, in the same words as in order', async () => {
    for (const tree of [small, large]) {
      const digest = { ...(await digestOf('/nix/store/x', tree)), expected: new Uint8Array(32) }
      const inOrder = await bytesOf(ext4(directory({ tree: verifiedTree(digest) }), EXT4)).catch((error: unknown) => error)
      const carried = await failure(directory({ tree: verifiedTree(digest, threadCarrier) }))
      expect(carried).toMatchObject({ code: 'HASH_MISMATCH', path: '/nix/store/x', message: (inOrder as Error).message })
    }
  })

  it('that is wrong counts by its place in the image, and not by its size or the speed of threads', async () => {
    const wrong = async (name: string, tree: TreeNode): Promise<TreeNode> =>
      verifiedTree({ ...(await digestOf(name, tree)), expected: new Uint8Array(32) }, threadCarrier)
    const early = hostFile(join(folder, 'files', 'early'), noise(5000, 5))
    for (const context of [{ jobs: 2 }, { jobs: 1 }, { threads: 'none' }] as const) {
      const trees = { a: await wrong('first', small), b: await wrong('second', large), c: await wrong('third', small) }
      expect(await failure(directory(trees), context)).toMatchObject({ code: 'HASH_MISMATCH', path: 'first' })
      const right = { ...trees, a: verifiedTree(await digestOf('first', small), threadCarrier) }
      expect(await failure(directory(right), context)).toMatchObject({ code: 'HASH_MISMATCH', path: 'second' })
      // Before all of them lies what is read in order.
      const changed = { ...early, size: 4999 }
      expect(await failure(directory({ '0': changed, ...trees }), context)).toMatchObject({ code: 'CHANGED' })
    }
  })

  it('that grew, shrank or is gone is CHANGED', async () => {
    const root = directory({ tree: verifiedTree(await digestOf('/nix/store/x', large), threadCarrier) })
    const before = readFileSync(largeFile)
    appendFileSync(largeFile, '!')
    expect(await failure(root)).toMatchObject({ code: 'CHANGED', path: largeFile, message: expect.stringContaining('grew beyond') })
    truncateSync(largeFile, 5)
    expect(await failure(root)).toMatchObject({ code: 'CHANGED', path: largeFile, message: expect.stringContaining('ended at byte 5') })
    rmSync(largeFile)
    expect(await failure(root, { threads: 'none' })).toMatchObject({ code: 'CHANGED', path: largeFile })
    writeFileSync(largeFile, before)
    expect(await failure(root)).toBe(undefined)
  })

  it('that cannot be written is WRITE_FAILED with the name of the output', async () => {
    const root = directory({ tree: verifiedTree(await digestOf('/nix/store/x', large), threadCarrier) })
    for (const threads of ['workers', 'none'] as const) {
      expect(await failure(root, { threads }, 'r')).toMatchObject({ code: 'WRITE_FAILED', path: 'the output' })
    }
  })

  it('is not written any more after an abort, an error of a listener, or the death of a thread', async () => {
    const root = directory({ tree: verifiedTree(await digestOf('/nix/store/x', large), threadCarrier) })
    for (const threads of ['workers', 'none'] as const) {
      const stop = new AbortController()
      const onProgress = (event: ProgressEvent): void => {
        if (event.kind === 'bytes' && (event.doneBytes ?? 0) > 8 * MEBIBYTE) stop.abort('enough')
      }
      expect(await failure(root, { threads, signal: stop.signal, onProgress })).toMatchObject({ code: 'ABORTED', cause: 'enough' })
      const throwing = (event: ProgressEvent): void => {
        if (event.kind === 'bytes' && (event.doneBytes ?? 0) > 8 * MEBIBYTE) throw new Error('a listener')
      }
      expect(await failure(root, { threads, onProgress: throwing })).toMatchObject({ message: 'a listener' })
    }
    process.once('worker', (worker: Worker) => void worker.terminate())
    expect(await failure(root)).toMatchObject({ code: 'WORKER_DIED' })
  })

  it('that its digest lacks is an error of the caller', async () => {
    const digest = await digestOf('/nix/store/x', small)
    const pieces = (): Iterable<Uint8Array | FileNode> => [...digest.pieces()].slice(0, -2)
    const root = directory({ tree: verifiedTree({ ...digest, pieces }, threadCarrier) })
    expect(await failure(root)).toBeInstanceOf(RangeError)
  })
})
