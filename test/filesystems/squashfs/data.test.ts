/** The data stage: what it leaves out, what it checks, and that nothing shows of the workers. */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ImageError } from '../../../src/errors.ts'
import { type SquashfsPackOptions, squashfs } from '../../../src/filesystems/squashfs/index.ts'
import type { BuildContext } from '../../../src/io/image.ts'
import { Proof } from '../../../src/io/proven.ts'
import { BufferTarget, type Target } from '../../../src/io/target.ts'
import { scanHost } from '../../../src/tree/scan.ts'
import type { DirectoryNode, FileNode, TreeDigest, TreeNode } from '../../../src/tree/tree.ts'
import { bytesSource, readSquashfs } from '../../readers/squashfs-reader.ts'
import { differences, directory, file, noise } from './support.ts'

const BLOCK = 4096
const FAST: SquashfsPackOptions = { codec: { name: 'zstd', level: 1 }, blockSize: BLOCK }
const fixed = { mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1 }

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-data-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function pack(root: DirectoryNode, options = FAST, context: Partial<BuildContext> = {}): Promise<Buffer> {
  const target = new BufferTarget()
  const image = squashfs(root, options)
  const packed = await image.pack(target, 0, { jobs: 2, ...context })
  expect(packed.size).toBeLessThanOrEqual(image.sizeLimit)
  return Buffer.from(target.bytes)
}

function read(image: Uint8Array) {
  return readSquashfs(bytesSource(image))
}

function fileAt(image: ReturnType<typeof read>, name: string) {
  const node = image.root.children.get(name)
  if (!node?.inode.file) throw new Error(`no file ${name}`)
  return node.inode.file
}

function hostTree(name: string, write: (path: string) => void): DirectoryNode {
  const path = join(folder, name)
  mkdirSync(path)
  write(path)
  return scanHost(path, { attributes: (kind) => ({ ...fixed, mode: kind === 'directory' ? 0o555 : 0o444 }) }) as DirectoryNode
}

/** A digest that is just the contents in order: enough to see what is hashed. */
function plainDigest(name: string, node: TreeNode, files: readonly FileNode[], expected: Uint8Array): TreeDigest {
  return { name, node, algorithm: 'sha256', expected, pieces: () => files }
}

/** The tree that the image is to hold, with contents in memory so that `differences` can compare them. */
function inMemory(node: TreeNode): TreeNode {
  if (node.kind === 'directory')
    return { ...node, entries: node.entries.map((entry) => ({ name: entry.name, node: inMemory(entry.node) })) }
  if (node.kind !== 'file' || node.content.kind !== 'hostFile') return node
  return { ...node, content: { kind: 'bytes', bytes: readFileSync(Buffer.from(node.content.path)) } }
}

const SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 5, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, (4 << 20) + 7]

describe('the data stage', () => {
  it('keeps files of every size around blocks and slots, from the host and from memory', async () => {
    const tree = hostTree('sizes', (path) => {
      for (const size of SIZES) writeFileSync(join(path, `host-${size}`), noise(size, size + 1))
    })
    const more = SIZES.map((size) => ({ name: Buffer.from(`memory-${size}`), node: file(noise(size, size + 99), fixed) }))
    const root = { ...tree, entries: [...tree.entries, ...more] }
    for (const blockSize of [BLOCK, 131072, 1048576]) {
      expect(differences(inMemory(root) as DirectoryNode, read(await pack(root, { ...FAST, blockSize })))).toEqual([])
    }
  })

  it('makes the same bytes with any number of workers, twice, and without digests', async () => {
    const tree = hostTree('jobs', (path) => {
      for (let i = 0; i < 300; i++) {
        mkdirSync(join(path, `${i % 30}`), { recursive: true })
        writeFileSync(join(path, `${i % 30}`, `f${i}`), i % 3 ? noise(i * 97, i % 50) : Buffer.alloc(i * 311, `text ${i % 7} `))
      }
    })
    const digests = tree.entries.map(({ name, node }) => {
      const files = (node as DirectoryNode).entries.map((entry) => entry.node as FileNode)
      const hash = createHash('sha256')
      for (const one of files) hash.update(readFileSync(Buffer.from((one.content as { path: Uint8Array }).path)))
      return plainDigest(Buffer.from(name).toString(), node, files, hash.digest())
    })
    const images = await Promise.all([
      pack(tree, FAST, { jobs: 1 }),
      pack(tree, { ...FAST, digests }, { jobs: 1 }),
      pack(tree, { ...FAST, digests }, { jobs: 3 }),
      pack(tree, { ...FAST, digests }, { jobs: 8 }),
      pack(tree, { ...FAST, digests }, { jobs: 8 }),
    ])
    const [first] = images
    for (const image of images) expect(image.equals(first as Buffer)).toBe(true)
    expect(differences(inMemory(tree) as DirectoryNode, read(first as Buffer))).toEqual([])
  })

  it('stores equal files once: small and large, from host and memory, not a common beginning', async () => {
    const large = noise(5 << 20, 5)
    const altered = Uint8Array.from(large)
    altered[altered.length - 1] = (altered[altered.length - 1] ?? 0) ^ 1
    const tree = hostTree('twins', (path) => {
      writeFileSync(join(path, 'large-1'), large)
      writeFileSync(join(path, 'large-2'), large)
      writeFileSync(join(path, 'large-3-altered'), altered)
      writeFileSync(join(path, 'small-1'), noise(3000, 3))
      writeFileSync(join(path, 'small-2'), noise(3000, 3))
      writeFileSync(join(path, 'small-3-other'), noise(3000, 4))
    })
    const root = { ...tree, entries: [...tree.entries, { name: Buffer.from('small-4'), node: file(noise(3000, 3), fixed) }] }
    const bytes = await pack(root)
    const image = read(bytes)
    expect(differences(inMemory(root) as DirectoryNode, image)).toEqual([])
    expect(fileAt(image, 'large-2').blocksStart).toBe(fileAt(image, 'large-1').blocksStart)
    expect(fileAt(image, 'large-3-altered').blocksStart).not.toBe(fileAt(image, 'large-1').blocksStart)
    for (const twin of ['small-2', 'small-4']) {
      expect([fileAt(image, twin).fragmentIndex, fileAt(image, twin).fragmentOffset]).toEqual([
        fileAt(image, 'small-1').fragmentIndex,
        fileAt(image, 'small-1').fragmentOffset,
      ])
    }
    expect(bytes.length).toBeLessThan(2 * large.length + 100_000)
  })

  it('leaves zero blocks out', async () => {
    const content = Buffer.concat([noise(BLOCK, 1), Buffer.alloc(64 * BLOCK), noise(100, 2)])
    const tree = hostTree('holes', (path) => {
      writeFileSync(join(path, 'with-hole'), content)
      writeFileSync(join(path, 'hole'), '')
      truncateSync(join(path, 'hole'), 40 << 20)
    })
    const bytes = await pack(tree)
    expect(bytes.length).toBeLessThan(40_000)
    const image = read(bytes)
    expect(Buffer.concat([...image.content(image.root.children.get('with-hole') as never)]).equals(content)).toBe(true)
    expect(fileAt(image, 'hole').size).toBe(40 << 20)
  })

  it('stores everything as it is with the codec none, and every small file in blocks without fragments', async () => {
    const root = directory({ a: file('x'.repeat(9000), fixed), b: file('tail', fixed) })
    for (const options of [
      { codec: { name: 'none' as const }, blockSize: BLOCK },
      { ...FAST, fragments: false },
    ]) {
      const image = read(await pack(root, options))
      expect(differences(root, image)).toEqual([])
    }
    const image = read(await pack(root, { ...FAST, fragments: false }))
    expect(fileAt(image, 'b').fragmentIndex ?? 0xffffffff).toBe(0xffffffff)
  })

  it('packs twenty thousand tiny files in bounded memory and order', async () => {
    const entries = Array.from({ length: 20_000 }, (_, i) => ({ name: Buffer.from(`n${i}`), node: file(`content ${i % 9000}`, fixed) }))
    const image = read(await pack(directory(entries), { ...FAST, blockSize: 131072 }))
    expect(image.superblock.fragmentCount).toBeLessThan(4)
    expect(Buffer.concat([...image.content(image.root.children.get('n12345') as never)]).toString()).toBe('content 3345')
  })
})

describe('what the data stage refuses', () => {
  const rejected = (root: DirectoryNode, options: SquashfsPackOptions = FAST, context: Partial<BuildContext> = {}) =>
    squashfs(root, options)
      .pack(new BufferTarget(), 0, { jobs: 2, ...context })
      .then(
        () => 'packed',
        (error) => error,
      )

  it('a digest that differs', async () => {
    const node = directory({ f: file('content', fixed) })
    const files = [node.entries[0]?.node as FileNode]
    const right = createHash('sha256').update('content').digest()
    expect(await rejected(directory({ path: node }), { ...FAST, digests: [plainDigest('path', node, files, right)] })).toBe('packed')
    const error = await rejected(directory({ path: node }), { ...FAST, digests: [plainDigest('path', node, files, Buffer.alloc(32, 7))] })
    expect(error).toMatchObject({ code: 'HASH_MISMATCH', path: 'path' })
    expect(error.message).toContain(right.toString('hex'))
  })

  it.each([
    ['grew', (path: string) => writeFileSync(path, noise(5001, 1))],
    ['shrank', (path: string) => truncateSync(path, 4999)],
    ['vanished', (path: string) => rmSync(path)],
    [
      'became a folder',
      (path: string) => {
        rmSync(path)
        mkdirSync(path)
      },
    ],
    [
      'became a link',
      (path: string) => {
        renameSync(path, `${path}.moved`)
        symlinkSync(`${path}.moved`, path)
      },
    ],
  ])('a file that %s', async (what, change) => {
    const tree = hostTree(`change ${what}`, (path) => writeFileSync(join(path, 'f'), noise(5000, 1)))
    expect(await rejected(tree)).toBe('packed')
    change(join(folder, `change ${what}`, 'f'))
    expect(await rejected(tree)).toMatchObject({ code: 'CHANGED', path: join(folder, `change ${what}`, 'f') })
  })

  it.each(['grows', 'shrinks', 'is written to'])('a large file that %s while it is read', async (what) => {
    const name = `during ${what}`
    const tree = hostTree(name, (path) => writeFileSync(join(path, 'f'), noise(24 << 20, 1)))
    const path = join(folder, name, 'f')
    let changed = false
    const onProgress = (event: { kind: string; doneBytes?: number }): void => {
      if (changed || event.kind !== 'bytes' || !event.doneBytes) return
      changed = true
      if (what === 'grows') writeFileSync(path, 'more', { flag: 'a' })
      else if (what === 'shrinks') truncateSync(path, 20 << 20)
      else writeFileSync(path, noise(100, 9), { flag: 'r+' })
    }
    expect(await rejected(tree, { ...FAST, codec: { name: 'gzip', level: 6 } }, { onProgress, jobs: 1 })).toMatchObject({
      code: 'CHANGED',
      path,
    })
  })

  it('a file that cannot be read', async () => {
    // No system takes such a name, not even from root.
    const path = `/${'x'.repeat(5000)}`
    const node: FileNode = { kind: 'file', ...fixed, size: 10, content: { kind: 'hostFile', path: Buffer.from(path) } }
    expect(await rejected(directory({ long: node }))).toMatchObject({ code: 'UNREADABLE', path })
  })

  it('a worker that dies, at any moment', async () => {
    const root = directory({ f: file(noise(32 << 20, 1), fixed) })
    // Not a codec of zlib's: to terminate a thread inside zlib may abort the process (Node 24).
    const options = { codec: { name: 'lz4' as const, level: 12 }, blockSize: 1048576 }
    for (const delay of [0, 20, 60, 150]) {
      process.once('worker', (worker: Worker) => setTimeout(() => void worker.terminate(), delay))
      expect(await rejected(root, options)).toMatchObject({ code: 'WORKER_DIED' })
    }
  })

  it('a level that the codec does not have, before anything is packed', () => {
    expect(() => squashfs(directory({}), { codec: { name: 'zstd', level: 99 } })).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  it('to go on when it is cancelled, before or while it works', async () => {
    const root = directory({ f: file(noise(32 << 20, 1), fixed) })
    const options = { codec: { name: 'zstd' as const, level: 15 }, blockSize: 1048576 }
    expect(await rejected(root, options, { signal: AbortSignal.abort() })).toMatchObject({ code: 'ABORTED' })
    expect(await rejected(root, options, { signal: AbortSignal.timeout(100) })).toMatchObject({ code: 'ABORTED' })
  })

  it('to go on when the target fails at byte k, for a sweep of k', async () => {
    const root = directory({ a: file(noise(200_000, 1), fixed), b: file(noise(3000, 2), fixed) })
    const size = (await pack(root)).length
    for (let k = 0; k < size; k += 9973) {
      const error = await squashfs(root, FAST)
        .pack(failingTarget(k), 0, { jobs: 1 })
        .then(
          () => 'packed',
          (reason) => reason.message,
        )
      expect(error).toBe(`no room at byte ${k}`)
    }
  })

  it('content it cannot take, and digests that cover one another', async () => {
    const image = { kind: 'file' as const, ...fixed, size: 4, content: { kind: 'image' as const, image: { size: 4, extents: [] } } }
    expect(() => squashfs(directory({ image }))).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    const deep = file('x', fixed)
    const above = directory({ deep })
    const root = directory({ a: above })
    const digests = [plainDigest('deep', deep, [deep], Buffer.alloc(32)), plainDigest('above', above, [deep], Buffer.alloc(32))]
    for (const wrong of [digests, [...digests].reverse(), [plainDigest('root', root, [deep], Buffer.alloc(32))]])
      expect(() => squashfs(root, { digests: wrong })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  })

  it('a file or folder that is not what its digest says, wherever it lies', async () => {
    const right = createHash('sha256').update('two').digest()
    const deep = (text: string): FileNode => file(text, fixed)
    const tree = (node: TreeNode): DirectoryNode => directory({ a: directory({ a: deep('one'), b: node, c: deep('four') }), z: deep('z') })
    for (const [text, code] of [
      ['two', undefined],
      ['owt', 'HASH_MISMATCH'],
    ]) {
      const inner = deep(text ?? '')
      const node = directory({ inner, none: deep('') })
      for (const [covered, pieces] of [
        [node, [inner]],
        [inner, [inner]],
      ] as const) {
        const digests = [plainDigest('deep', covered, pieces, right)]
        const packed = pack(tree(node), { ...FAST, digests }).then(
          (bytes) => bytes,
          (error: ImageError) => error.code,
        )
        expect(await packed).toEqual(code ?? (await pack(tree(node), FAST)))
      }
    }
  })

  it('a file on the host that has other bytes than its proof says', async () => {
    const path = join(folder, 'proven')
    const bytes = noise(5000, 1)
    const proof = new Proof(createHash('sha256').update(bytes).digest(), bytes.length)
    const node: FileNode = { kind: 'file', ...fixed, size: bytes.length, content: { kind: 'hostFile', path: Buffer.from(path), proof } }
    const root = directory({ sub: directory({ proven: node, other: file('x', fixed) }) })
    writeFileSync(path, bytes)
    expect((await pack(root, FAST)).length).toBeGreaterThan(5000)
    writeFileSync(path, noise(5000, 2))
    await expect(pack(root, FAST)).rejects.toMatchObject({ code: 'HASH_MISMATCH' })
  })

  it('to take a hash for an equality: a duplicate of a file that changed since', async () => {
    const content = noise(3000, 1)
    const tree = hostTree('liar', (path) => {
      writeFileSync(join(path, 'a'), content)
      writeFileSync(join(path, 'm'), noise(60 << 20, 2))
      writeFileSync(join(path, 'z'), content)
    })
    let changed = false
    const onProgress = (event: { kind: string; doneBytes?: number }): void => {
      if (changed || event.kind !== 'bytes' || !event.doneBytes) return
      changed = true
      writeFileSync(join(folder, 'liar', 'a'), noise(3000, 3))
    }
    const packed = pack(tree, { ...FAST, blockSize: 131072 }, { onProgress, jobs: 1 })
    await expect(packed).rejects.toMatchObject({ code: 'CHANGED', message: expect.stringContaining('or its duplicate') })
    expect(changed).toBe(true)
  })
})

/** Takes bytes below `limit`, then fails. */
function failingTarget(limit: number): Target {
  const buffer = new BufferTarget()
  return {
    write: (position, bytes) =>
      position + bytes.length > limit ? Promise.reject(new Error(`no room at byte ${limit}`)) : buffer.write(position, bytes),
    read: (position, length) => buffer.read(position, length),
    setSize: (size) => buffer.setSize(size),
  }
}
