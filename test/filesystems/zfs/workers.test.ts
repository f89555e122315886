/** Packing with threads and without: the same bytes, the same errors, every file read once, and nothing left open. */
import { createHash } from 'node:crypto'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ZfsPackOptions, type ZfsPoolOptions, zfsPool } from '../../../src/filesystems/zfs/index.ts'
import { FileTarget } from '../../../src/io/file-target.ts'
import type { BuildContext, Image } from '../../../src/io/image.ts'
import type { Target } from '../../../src/io/target.ts'
import { scanHost } from '../../../src/tree/scan.ts'
import type { DirectoryNode, FileNode, TreeDigest, TreeNode } from '../../../src/tree/tree.ts'
import { verifiedTree } from '../../../src/tree/verified.ts'
import { directory, file, noise, OPTIONS, sparse } from './support.ts'

const MEBIBYTE = 1 << 20
const WORDS = Buffer.alloc(2 * MEBIBYTE + 17, 'compressible words ')
const HOLES = Buffer.concat([noise(300_000, 5), Buffer.alloc(MEBIBYTE), noise(99, 6)])

let folder: string
let host: DirectoryNode
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-zfs-workers-'))
  mkdirSync(join(folder, 'tree/many'), { recursive: true })
  for (let index = 0; index < 300; index++) writeFileSync(join(folder, `tree/many/${index}`), noise(index * 40, index % 50))
  writeFileSync(join(folder, 'tree/words'), WORDS)
  writeFileSync(join(folder, 'tree/noise'), noise(3 * MEBIBYTE + 5, 1))
  writeFileSync(join(folder, 'tree/holes'), HOLES)
  writeFileSync(join(folder, 'tree/zeros'), Buffer.alloc(400_000))
  writeFileSync(join(folder, 'tree/empty'), '')
  host = scanHost(join(folder, 'tree'), { attributes: (_kind, own) => ({ ...own, uid: 0, gid: 0, mtimeSeconds: 1 }) }) as DirectoryNode
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const live = new Set<Worker>()
const onWorker = (worker: Worker): void => {
  live.add(worker)
  worker.once('exit', () => live.delete(worker))
}
let openBefore: number
beforeEach(() => {
  process.on('worker', onWorker)
  openBefore = openFiles()
})
afterEach(() => {
  process.off('worker', onWorker)
  expect([live.size, openFiles()]).toEqual([0, openBefore])
})

function openFiles(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0
}

/** Keeps what is written as a hash of places and bytes. */
class HashTarget implements Target {
  readonly hash = createHash('sha256')
  writeCount = 0

  async write(position: number, bytes: Uint8Array): Promise<void> {
    this.writeCount++
    this.hash.update(`${position} ${bytes.length} `).update(bytes)
  }

  async read(): Promise<Uint8Array> {
    throw new Error('nothing is kept')
  }

  async setSize(size: number): Promise<void> {
    this.hash.update(`size ${size}`)
  }
}

interface Packed {
  readonly sha256: string
  readonly size: number
  readonly runs: readonly (readonly number[])[]
}

async function pack(
  tree: DirectoryNode,
  options: Partial<ZfsPackOptions>,
  context: Partial<BuildContext>,
  target = new HashTarget(),
): Promise<Packed> {
  const image: Image = await zfsPool(tree, { ...OPTIONS, ...options }).pack(target, 0, { jobs: 2, ...context })
  return { sha256: target.hash.digest('hex'), size: image.size, runs: image.extents.map(({ start, length }) => [start, length]) }
}

const inMemory = (): DirectoryNode =>
  directory({
    b: file(noise(200_000, 3)),
    c: file(WORDS),
    d: sparse(2 ** 40, { 7: 'near', 131070: 'across a record', [2 ** 39]: noise(300_000, 2) }),
  })

const CONTEXTS: readonly Partial<BuildContext>[] = [{ jobs: 1 }, { jobs: 4 }, { threads: 'none' }]
const STYLES: readonly Partial<ZfsPoolOptions>[] = [
  { properties: { mountpoint: 'legacy', compression: 'lz4' } },
  { properties: { compression: 'zstd-2', checksum: 'sha256', recordsize: '16K' }, size: 'auto' },
  { properties: { compression: 'gzip-1', copies: '2' }, ashift: 9 },
  { properties: { compression: 'zle' }, compatibility: 'legacy' },
  { properties: { compression: 'off', recordsize: '1M' }, size: 'auto' },
]

describe('the same bytes', () => {
  it.each(STYLES)('with any number of threads: %j', async (options) => {
    const datasets = [
      { name: 'tank', mount: '/' },
      { name: 'tank/host', mount: '/host' },
      { name: 'tank/memory', mount: '/memory', properties: { compression: 'gzip-2' } },
    ]
    const tree = directory({ host, memory: inMemory(), hole: file('x') })
    const packed: Packed[] = []
    for (const context of CONTEXTS) packed.push(await pack(tree, { datasets, ...options }, context))
    expect(packed).toEqual(packed.map(() => packed[0]))
  })

  it('whether a file comes from the host, from memory or from pieces', async () => {
    const content = Buffer.concat([noise(140_000, 8), Buffer.alloc(131_072), Buffer.alloc(5000, 'words ')])
    const path = join(folder, 'file')
    writeFileSync(path, content)
    const pieces = [1, 130_000, 131_071, 262_144, 270_000, content.length]
    const extents = pieces.map((end, index) => {
      const start = pieces[index - 1] ?? 0
      const read = async function* (): AsyncGenerator<Uint8Array> {
        yield content.subarray(start, end)
      }
      return { start, length: end - start, read }
    })
    const contents: FileNode['content'][] = [
      { kind: 'bytes', bytes: content },
      { kind: 'hostFile', path: Buffer.from(path) },
      { kind: 'image', image: { size: content.length, extents } },
    ]
    const packed: Packed[] = []
    for (const own of contents) packed.push(await pack(directory({ f: { ...file(content), content: own } }), {}, { threads: 'none' }))
    expect(packed).toEqual(packed.map(() => packed[0]))
  })
})

/** Files in the order of a NAR: depth first, by name. */
function filesOf(node: TreeNode): FileNode[] {
  if (node.kind === 'file') return [node]
  if (node.kind !== 'directory') return []
  return [...node.entries].sort((a, b) => Buffer.compare(a.name, b.name)).flatMap((entry) => filesOf(entry.node))
}

function digestOf(node: TreeNode, name: string, contents: (own: FileNode) => Uint8Array): TreeDigest {
  const hash = createHash('sha256')
  const files = filesOf(node).filter(({ size }) => size > 0)
  for (const own of files) hash.update('a file ').update(contents(own))
  const pieces = function* (): Generator<Uint8Array | FileNode> {
    for (const own of files) {
      yield Buffer.from('a file ')
      yield own
    }
  }
  return { name, node, algorithm: 'sha256', expected: hash.digest(), pieces }
}

describe('contents that check themselves', () => {
  const bytesOf = ({ content }: FileNode): Uint8Array => (content.kind === 'bytes' ? content.bytes : Buffer.alloc(0))
  const storePath = directory({
    'b.txt': file('after the folder b, before b0'),
    b: directory({ z: file(noise(300_000, 4)), a: directory({ deep: file('deep') }) }),
    b0: file(noise(130_000, 9)),
    empty: file(''),
  })
  const other = directory({ one: file(noise(5 * MEBIBYTE, 11)) })
  const datasets = [
    { name: 'tank/root', mount: '/' },
    { name: 'tank/a', mount: '/var' },
    { name: 'tank/nix', mount: '/nix/store' },
  ]
  const tree = (digests: readonly TreeDigest[]): DirectoryNode =>
    directory({
      var: directory({ log: file('log') }),
      nix: directory({ store: directory(Object.fromEntries(digests.map((digest) => [digest.name, verifiedTree(digest)]))) }),
      etc: directory({ hosts: file('hosts') }),
    })

  it.each(CONTEXTS)('are read once and in their order: %j', async (context) => {
    const digests = [digestOf(storePath, 'a-path', bytesOf), digestOf(other, 'b-path', bytesOf)]
    await pack(tree(digests), { datasets }, context)
  })

  it.each(CONTEXTS)('fail when they are others: %j', async (context) => {
    const wrong = { ...digestOf(other, 'b-path', bytesOf), expected: Buffer.alloc(32) }
    await expect(pack(tree([digestOf(storePath, 'a-path', bytesOf), wrong]), { datasets }, context)).rejects.toMatchObject({
      code: 'HASH_MISMATCH',
    })
  })
})

describe('digests that threads check', () => {
  const hostBytes = ({ content }: FileNode): Uint8Array => (content.kind === 'hostFile' ? readFileSync(content.path as Buffer) : WORDS)
  const datasets = [
    { name: 'tank/root', mount: '/' },
    { name: 'tank/nix', mount: '/nix/store', properties: { compression: 'gzip-1', recordsize: '16K' } },
    { name: 'tank/zz', mount: '/zz' },
  ]
  /** Two store paths of the host, one of which has a hard link, among files that no digest covers. */
  const storePaths = () => {
    const words = file(WORDS)
    const other = directory({ a: words, b: words, 'c.txt': words, d: host })
    const own = scanHost(join(folder, 'tree'), { attributes: (_kind, seen) => ({ ...seen, mtimeSeconds: 2 }) }) as DirectoryNode
    return { other, own }
  }
  const treeOf = (other: TreeNode, own: TreeNode): DirectoryNode =>
    directory({ nix: directory({ store: directory({ other, own }) }), etc: directory({ words: file(WORDS) }), zz: inMemory() })

  it.each(CONTEXTS)('have the same bytes as without: %j', async (context) => {
    const { other, own } = storePaths()
    const tree = treeOf(other, own)
    const digests = [digestOf(own, 'own', hostBytes), digestOf(other, 'other', hostBytes)]
    expect(await pack(tree, { datasets, digests }, context)).toEqual(await pack(tree, { datasets }, context))
  })

  it.each(CONTEXTS)('HASH_MISMATCH for any of them: %j', async (context) => {
    const { other, own } = storePaths()
    const [first, last] = [digestOf(other, 'other', hostBytes), digestOf(own, 'own', hostBytes)]
    const wrong = (digest: TreeDigest): TreeDigest => ({ ...digest, expected: Buffer.alloc(32) })
    for (const digests of [
      [wrong(first), last],
      [first, wrong(last)],
    ]) {
      const name = digests.find(({ expected }) => expected.every((byte) => byte === 0))?.name
      await expect(pack(treeOf(other, own), { datasets, digests }, context)).rejects.toMatchObject({ code: 'HASH_MISMATCH', path: name })
    }
  })

  it('HASH_MISMATCH where nothing but framing is left', async () => {
    const { own } = storePaths()
    const right = digestOf(own, 'own', hostBytes)
    const pieces = function* (): Generator<Uint8Array | FileNode> {
      yield* right.pieces()
      for (let index = 0; index < 40; index++) yield Buffer.alloc(100_000, index)
    }
    const tree = directory({ own })
    await expect(pack(tree, { digests: [{ ...right, pieces }] }, {})).rejects.toMatchObject({ code: 'HASH_MISMATCH' })
    const empty = directory({ nothing: file('') })
    const digest = { ...digestOf(empty, 'empty', hostBytes), expected: Buffer.alloc(32) }
    await expect(pack(directory({ empty }), { digests: [digest] }, {})).rejects.toMatchObject({ code: 'HASH_MISMATCH', path: 'empty' })
  })

  it('hold too where something was added to what they cover', async () => {
    const { other, own } = storePaths()
    const more = directory({ ...Object.fromEntries(own.entries.map(({ name, node }) => [String(name), node])), extra: file('extra') })
    const tree = treeOf(other, more)
    const digests = [digestOf(own, 'own', hostBytes), digestOf(other, 'other', hostBytes)]
    expect(await pack(tree, { datasets, digests }, {})).toEqual(await pack(tree, { datasets }, {}))
    const wrong = { ...digestOf(own, 'own', hostBytes), expected: Buffer.alloc(32) }
    await expect(pack(tree, { datasets, digests: [wrong] }, {})).rejects.toMatchObject({ code: 'HASH_MISMATCH', path: 'own' })
  })

  it.each([{ jobs: 2 }, { threads: 'none' as const }])(
    'in a file, to which threads write, the same bytes as elsewhere: %j',
    async (context) => {
      const { other, own } = storePaths()
      const digests = [digestOf(own, 'own', hostBytes), digestOf(other, 'other', hostBytes)]
      const paths = ['lent', 'kept'].map((name) => join(folder, name))
      for (const options of [{}, { properties: { compression: 'zle', copies: '2' }, size: 'auto' as const, ashift: 13 }]) {
        const pool = zfsPool(treeOf(other, own), { ...OPTIONS, ...options, datasets, digests })
        for (const path of paths) {
          const handle = await open(path, 'w+')
          const target = new FileTarget(handle, path, false)
          const kept: Target = {
            write: (position, bytes) => target.write(position, bytes),
            read: (position, length) => target.read(position, length),
            setSize: (size) => target.setSize(size),
          }
          await pool.pack(path.endsWith('lent') ? target : kept, 4096, { jobs: 2, ...context })
          await handle.close()
        }
        const [lent, others] = paths.map((path) => readFileSync(path))
        expect(lent?.equals(others as Buffer)).toBe(true)
      }
    },
  )

  it('WRITE_FAILED where threads cannot write', async () => {
    const { own } = storePaths()
    const handle = await open('/dev/full', 'r+')
    const target = new FileTarget(handle, 'the label', false)
    const error: unknown = await zfsPool(directory({ own }), OPTIONS)
      .pack(target, 0, { jobs: 2 })
      .catch((caught: unknown) => caught)
    await handle.close()
    expect(error).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining('the label') })
  })
})

describe.each<[string, Partial<BuildContext>]>([
  ['threads', { jobs: 2 }],
  ['no threads', { threads: 'none' }],
])('with %s', (_, context) => {
  it('ABORTED before and in the middle', async () => {
    await expect(pack(host, {}, { ...context, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
    const abort = new AbortController()
    const target = new HashTarget()
    const onProgress = ({ kind }: { readonly kind: string }): void => {
      if (kind === 'bytes') abort.abort()
    }
    await expect(pack(host, {}, { ...context, signal: abort.signal, onProgress }, target)).rejects.toMatchObject({ code: 'ABORTED' })
    expect(target.writeCount).toBe(0)
  })

  it('ABORTED by a timer while it packs', async () => {
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(), 30)
    const slow = { properties: { compression: 'zstd-19' } }
    await expect(pack(host, slow, { ...context, signal: abort.signal })).rejects.toMatchObject({ code: 'ABORTED' })
    clearTimeout(timer)
  })

  it.each([100, 3 * MEBIBYTE])('CHANGED for a file of %i bytes that grew', async (size) => {
    const path = join(folder, `grows-${size}`)
    mkdirSync(path, { recursive: true })
    writeFileSync(join(path, 'f'), noise(size, 4))
    const tree = directory({ before: file(WORDS), host: scanHost(path, { attributes: (_kind, own) => own }) as DirectoryNode })
    appendFileSync(join(path, 'f'), 'x')
    await expect(pack(tree, {}, context)).rejects.toMatchObject({ code: 'CHANGED' })
  })

  it('what the target throws, and nothing is written afterwards', async () => {
    class Failing extends HashTarget {
      override async write(position: number, bytes: Uint8Array): Promise<void> {
        await super.write(position, bytes)
        if (this.writeCount === 3) throw new Error('no space is left')
      }
    }
    const target = new Failing()
    await expect(pack(directory({ a: file(noise(30 * MEBIBYTE)) }), {}, context, target)).rejects.toThrow('no space is left')
    expect(target.writeCount).toBe(3)
  })

  it('tells progress up to the bytes of all files', async () => {
    const seen: number[] = []
    let total = 0
    const onProgress: BuildContext['onProgress'] = (event) => {
      if (event.kind === 'stage') total = event.totalBytes ?? 0
      else if (event.kind === 'bytes') seen.push(event.doneBytes)
    }
    await pack(directory({ host, d: file(WORDS) }), {}, { ...context, onProgress })
    expect(seen.at(-1)).toBe(total)
    expect(seen.every((bytes, index) => bytes >= (seen[index - 1] ?? 0))).toBe(true)
  })
})

it.each([0, 20, 60])('WORKER_DIED when one dies after %d ms', async (milliseconds) => {
  process.once('worker', (worker: Worker) => setTimeout(() => void worker.terminate(), milliseconds))
  const slow = { properties: { compression: 'zstd-19' } }
  const tree = directory({ host, more: file(noise(20 * MEBIBYTE)) })
  await expect(pack(tree, slow, { jobs: 2 })).rejects.toMatchObject({ code: 'WORKER_DIED' })
})
