import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { METADATA_BLOCK_SIZE, NO_INDEX } from '../../../src/filesystems/squashfs/disk.ts'
import { emitTables } from '../../../src/filesystems/squashfs/emit.ts'
import { planSquashfs } from '../../../src/filesystems/squashfs/plan.ts'
import type { StoredData, StoredFile } from '../../../src/filesystems/squashfs/stored.ts'
import type { Target } from '../../../src/io/target.ts'
import type { DirectoryNode, FileNode } from '../../../src/tree/tree.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { bytesSource, readSquashfs } from '../../readers/squashfs-reader.ts'
import { buildImage, differences, directory, file, noise, SparseTarget, symlink, testCodec } from './support.ts'

const GIB = 2 ** 30
/** Of files whose data is said to be stored already. */
const NEVER_READ = { kind: 'hostFile', path: Buffer.from('/nowhere') } as const
const METADATA_CODEC = testCodec({ name: 'gzip', level: 9 }, METADATA_BLOCK_SIZE)

describe('large squashfs images', () => {
  it('holds a directory of 100,000 entries', { timeout: 180_000 }, async () => {
    const entries = Array.from({ length: 100_000 }, (_, i) => ({
      name: Buffer.from(`${(i * 7919) % 100_000}-${'n'.repeat(i % 30)}`),
      node: i % 1000 === 0 ? symlink(`${i}`) : file(''),
    }))
    const tree = directory({ it: directory(entries) })
    const image = readSquashfs(bytesSource(await buildImage(tree)))
    expect(differences(tree, image)).toEqual([])
    const it = image.root.children.get('it')
    if (it === undefined) throw new Error('the directory is gone')
    expect(it.inode.directory?.index.length).toBeGreaterThan(300)
    const wrong = [...it.children].filter(([name, node], i) => {
      const found = i % 97 === 0 ? image.lookup(it, name) : { node, blocksRead: 1 }
      return found.node !== node || found.blocksRead !== 1
    })
    expect(wrong).toEqual([])
  })

  it('holds a tree of 2000 levels', async () => {
    let tree: DirectoryNode = directory({ bottom: file('deep down') })
    for (let level = 0; level < 2000; level++) tree = directory({ d: tree, f: symlink('d') })
    const image = readSquashfs(bytesSource(await buildImage(tree)))
    expect(image.nodes.length).toBe(4002)
    expect(differences(tree, image)).toEqual([])
  })

  it('plans and writes 250,000 nodes without growing slower', { timeout: 180_000 }, async () => {
    const packages = Array.from({ length: 2500 }, (_, i) => {
      const files = Array.from({ length: 99 }, (_, j) => ({ name: Buffer.from(`lib${j}.so.${i}`), node: file('') }))
      return { name: Buffer.from(`package-${i}`), node: directory(files) }
    })
    const tree = directory(packages)
    const nowhere: Target = { write: async () => {}, read: async () => new Uint8Array(0), setSize: async () => {} }
    // Processor time, for a machine may have other work; 0.3 s and 0.8 s when this was written, minutes if quadratic.
    const begin = process.cpuUsage()
    const plan = planSquashfs(tree)
    expect(process.cpuUsage(begin).user).toBeLessThan(5_000_000)
    await emitTables(
      plan,
      { files: new Map(), fragments: [], end: plan.dataStart },
      nowhere,
      0,
      testCodec({ name: 'none' }, METADATA_BLOCK_SIZE),
    )
    expect(plan.inodes.length).toBe(250_001)
    expect(process.cpuUsage(begin).user).toBeLessThan(15_000_000)
  })
})

/** A file of 5 GiB of zeros, a file of 4 GiB - 1, and three files that lie about 6 GiB into the image. */
function beyond4GiB(start: number) {
  const blockSize = 2 ** 20
  const zeros = file('', { size: 5 * GIB, content: NEVER_READ })
  const almost = file('', { size: 4 * GIB - 1, content: NEVER_READ })
  const [near, far, tail] = [file(noise(5000, 1)), file(noise(6000, 2)), file(noise(7000, 3))]
  const tree = directory({ zeros, almost, near, far, tail })
  const plan = planSquashfs(tree, { blockSize, codec: { name: 'gzip' } })
  const block = (node: FileNode): Uint8Array => (node.content.kind === 'bytes' ? node.content.bytes : new Uint8Array(0))
  const none = { fragmentIndex: NO_INDEX, fragmentOffset: 0, sparseBytes: 0 }
  const sparse = (count: number, sparseBytes: number): StoredFile => ({
    ...none,
    blocksStart: plan.dataStart,
    blockWords: new Uint32Array(count),
    sparseBytes,
  })
  const word = (size: number): Uint32Array => Uint32Array.of(size | (1 << 24))
  const stored: StoredData = {
    files: new Map([
      [zeros, sparse(5 * 1024, 5 * GIB)],
      [almost, sparse(4 * 1024, 4 * GIB - 1)],
      [near, { ...none, blocksStart: 2 ** 32 - 1, blockWords: word(5000) }],
      [far, { ...none, blocksStart: 6 * GIB, blockWords: word(6000) }],
      [tail, { ...none, blocksStart: 0, blockWords: new Uint32Array(0), fragmentIndex: 0 }],
    ]),
    fragments: [{ start: 6 * GIB + 6000, sizeWord: word(7000)[0] as number }],
    end: 6 * GIB + 13000,
  }
  const write = async (target: Target): Promise<void> => {
    await target.write(start + 2 ** 32 - 1, block(near))
    await target.write(start + 6 * GIB, block(far))
    await target.write(start + 6 * GIB + 6000, block(tail))
    await emitTables(plan, stored, target, start, METADATA_CODEC)
  }
  return { tree, write, near, far, tail, block }
}

describe('squashfs beyond 4 GiB', () => {
  it('uses extended records, and only where they are needed', async () => {
    const { tree, write } = beyond4GiB(0)
    const target = new SparseTarget()
    await write(target)
    const source = target.source()
    expect(source.size).toBeGreaterThan(6 * GIB)
    const image = readSquashfs(source)
    expect(differences(tree, image)).toEqual([])
    const extended = [...image.root.children].filter(([, node]) => node.inode.extended).map(([name]) => name)
    expect(extended).toEqual(['almost', 'far', 'zeros'])
    let bytes = 0
    const zeros = image.root.children.get('zeros')
    for (const part of zeros === undefined ? [] : image.content(zeros)) bytes += part.length
    expect(bytes).toBe(5 * GIB)
  })

  it.skipIf(oracle('unsquashfs').skip)('is read by unsquashfs from such places', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kilnix-squashfs-'))
    try {
      const path = join(folder, 'large.squashfs')
      const handle = openSync(path, 'w')
      const { write, near, far, tail, block } = beyond4GiB(0)
      await write({
        write: async (position, bytes) => {
          writeSync(handle, bytes, 0, bytes.length, position)
        },
        read: async () => new Uint8Array(0),
        setSize: async (size) => ftruncateSync(handle, size),
      })
      closeSync(handle)
      expect(runOk('unsquashfs', ['-lln', path]).text).toMatch(/5368709120 1970-01-01 00:00 squashfs-root\/zeros/)
      for (const [name, node] of Object.entries({ near, far, tail })) {
        expect(runOk('unsquashfs', ['-cat', path, name]).stdout.equals(block(node))).toBe(true)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
