import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/bytes/text.ts'
import { type FatOptions, fat, planFat } from '../../../src/filesystems/fat/index.ts'
import type { Image } from '../../../src/io/image.ts'
import type { DirectoryNode, FileNode } from '../../../src/tree/tree.ts'
import { fromBytes, type ReadVolume, readFat } from '../../readers/fat-reader.ts'
import { directory, file, imageBytes, MTIME, noise, paths, withFolder } from './support.ts'
import { TREES } from './trees.ts'

const VOLUMES: readonly FatOptions[] = [
  {},
  { type: 12, label: 'ESP', clusterSize: 4096 },
  { type: 16, label: 'KILNIX ESP', volumeSerial: 0xcafe1234 },
  { type: 32, label: 'ESP', freeSize: 12345 },
]

async function contentOf(node: FileNode): Promise<Buffer> {
  if (node.content.kind === 'bytes') return Buffer.from(node.content.bytes)
  if (node.content.kind === 'image') return imageBytes(node.content.image)
  throw new Error('not in memory')
}

async function expectTree(volume: ReadVolume, tree: DirectoryNode): Promise<void> {
  const nodes = paths(tree)
  expect([...volume.files.keys(), ...volume.directories.keys()].sort()).toEqual([...nodes.keys()].sort())
  for (const [path, node] of nodes) {
    if (node.kind === 'directory') expect(volume.directories.get(path)?.mtimeSeconds).toBe(node.mtimeSeconds)
    if (node.kind !== 'file') continue
    const read = volume.files.get(path)
    expect(read).toMatchObject({ size: node.size, attributes: 0x20, mtimeSeconds: node.mtimeSeconds })
    expect(read?.read().equals(await contentOf(node))).toBe(true)
    // One run, ascending.
    read?.clusters.forEach((cluster, i) => {
      expect(cluster).toBe((read.clusters[0] ?? 0) + i)
    })
  }
}

describe('fat: round trip', () => {
  for (const [name, tree] of Object.entries(TREES)) {
    it.each(VOLUMES.map((options) => [JSON.stringify(options), options] as const))(`${name}, %s`, async (_, options) => {
      const plan = planFat(tree, options)
      const image = fat(tree, options)
      const volume = readFat(fromBytes(await imageBytes(image)))
      expect(volume).toMatchObject({
        type: plan.type,
        clusterSize: plan.clusterSize,
        clusterCount: plan.clusterCount,
        freeClusterCount: plan.freeClusterCount,
        totalBytes: image.size,
        label: options.label,
        volumeSerial: options.volumeSerial ?? 0,
      })
      await expectTree(volume, tree)
    })
  }

  it('sectors of 4096 bytes and an aligned data area', async () => {
    const tree = TREES.esp as DirectoryNode
    for (const options of [
      { sectorSize: 4096 },
      { alignData: true, clusterSize: 4096 },
      { alignData: true, type: 32, clusterSize: 2048 },
    ] as FatOptions[]) {
      const volume = readFat(fromBytes(await imageBytes(fat(tree, options))))
      if (options.alignData) expect(volume.dataStart % volume.clusterSize).toBe(0)
      await expectTree(volume, tree)
    }
  })

  it('gives the same bytes for the same tree in another order, read twice', async () => {
    const tree = TREES['alias collisions'] as DirectoryNode
    const image = fat(tree)
    const bytes = await imageBytes(image)
    expect(bytes.equals(await imageBytes(image))).toBe(true)
    expect(bytes.equals(await imageBytes(fat({ ...tree, entries: tree.entries.toReversed() })))).toBe(true)
  })

  it('dates the times that FAT cannot hold to its first and last', async () => {
    const tree = directory({ STORE: file('x', { mtimeSeconds: 1 }), FUTURE: file('x', { mtimeSeconds: 5e9 }) })
    const { files } = readFat(fromBytes(await imageBytes(fat(tree))))
    expect(files.get('/STORE')?.mtimeSeconds).toBe(Date.UTC(1980, 0, 1) / 1000)
    expect(files.get('/FUTURE')?.mtimeSeconds).toBe(Date.UTC(2107, 11, 31, 23, 59, 58) / 1000)
  })

  it('keeps zeros out of the extents', () => {
    const image = fat(TREES['zero content'] as DirectoryNode, { type: 32, clusterSize: 4096, label: 'X' })
    const written = image.extents.reduce((sum, extent) => sum + extent.length, 0)
    expect(image.size).toBeGreaterThan(65542 * 4096)
    expect(written).toBeLessThan(10_000)
  })
})

describe('fat: host files', () => {
  const hostTree = (path: string, size: number) =>
    directory({
      'host file.bin': {
        kind: 'file',
        mode: 0o444,
        uid: 0,
        gid: 0,
        mtimeSeconds: MTIME,
        size,
        content: { kind: 'hostFile', path: utf8(path) },
      },
    })

  const drain = async (image: Image) => imageBytes(image)

  it('are read when their extent is, in pieces', async () => {
    await withFolder(async (folder) => {
      const path = join(folder, 'file')
      const bytes = noise(2_500_000)
      const image = fat(hostTree(path, bytes.length))
      await writeFile(path, bytes)
      const volume = readFat(fromBytes(await drain(image)))
      expect(volume.files.get('/host file.bin')?.read().equals(bytes)).toBe(true)
      const pieces: number[] = []
      for await (const piece of image.extents.at(-1)?.read() ?? []) pieces.push(piece.length)
      expect(Math.max(...pieces)).toBeLessThanOrEqual(1 << 20)
    })
  })

  it.each([
    ['shrank', 999],
    ['grew', 1001],
    ['emptied', 0],
  ])('are CHANGED when they %s', async (_, size) => {
    await withFolder(async (folder) => {
      const path = join(folder, 'file')
      await writeFile(path, noise(1000))
      await truncate(path, size)
      await expect(drain(fat(hostTree(path, 1000)))).rejects.toMatchObject({ code: 'CHANGED', path })
    })
  })

  it('are CHANGED when they shrink or grow while they are read', async () => {
    await withFolder(async (folder) => {
      const path = join(folder, 'file')
      for (const size of [1_500_000, 4_000_000]) {
        await writeFile(path, noise(3_000_000))
        const pieces = fat(hostTree(path, 3_000_000)).extents.at(-1)?.read()[Symbol.asyncIterator]()
        await pieces?.next()
        await truncate(path, size)
        const rest = async () => {
          while (!(await pieces?.next())?.done);
        }
        await expect(rest()).rejects.toMatchObject({ code: 'CHANGED', path })
      }
    })
  })

  it('are CHANGED when they vanish or become a folder', async () => {
    await withFolder(async (folder) => {
      await expect(drain(fat(hostTree(folder, 1000)))).rejects.toMatchObject({ code: 'CHANGED' })
      await expect(drain(fat(hostTree(join(folder, 'gone'), 1000)))).rejects.toMatchObject({ code: 'CHANGED' })
    })
  })

  it('are UNREADABLE when they cannot be opened', async () => {
    const path = `/${'x'.repeat(300)}`
    await expect(drain(fat(hostTree(path, 1000)))).rejects.toMatchObject({ code: 'UNREADABLE', path })
  })

  it('says USAGE when content in memory is not as long as its node says', () => {
    expect(() => fat(directory({ X: file('abc', { size: 4 }) }))).toThrow(expect.objectContaining({ code: 'USAGE' }))
    expect(() => fat(directory({ X: file('', { content: { kind: 'image', image: { size: 5, extents: [] } } }) }))).toThrow(
      expect.objectContaining({ code: 'USAGE' }),
    )
  })
})

describe('fat: the reader notices', () => {
  const tree = directory({ 'long name.txt': file(noise(2000)), SUB: directory({ X: file('x') }) })
  const volumes = { 12: fat(tree, { type: 12, clusterSize: 512 }), 16: fat(tree, { type: 16 }), 32: fat(tree, { type: 32, label: 'X' }) }
  const sectorsPerFat = (bytes: Buffer) => bytes.readUInt16LE(22) || bytes.readUInt32LE(36)
  const fatStart = (bytes: Buffer) => bytes.readUInt16LE(14) * 512
  const rootStart = (bytes: Buffer) => fatStart(bytes) + 2 * sectorsPerFat(bytes) * 512

  const mutations: readonly [string, (bytes: Buffer) => number, RegExp][] = [
    ['a byte of the second FAT', (bytes) => fatStart(bytes) + sectorsPerFat(bytes) * 512 + 4, /FAT copies differ/],
    ['the media byte', () => 21, /media/],
    ['the boot signature', () => 511, /signature/],
    ['the sector count', () => 20, /./],
    ['the order of a long entry', (bytes) => rootStart(bytes) + (bytes.readUInt16LE(17) === 0 ? 96 : 32), /./],
    ['the type text', (bytes) => (bytes.readUInt16LE(17) === 0 ? 82 : 54) + 3, /type text/],
  ]
  for (const type of [12, 16, 32] as const) {
    it.each(mutations)(`%s, FAT${type}`, async (_, position, message) => {
      const bytes = await imageBytes(volumes[type])
      readFat(fromBytes(bytes))
      const at = position(bytes)
      bytes[at] = (bytes[at] ?? 0) ^ 0x55
      expect(() => readFat(fromBytes(bytes))).toThrow(message)
    })
  }

  it.each([
    ['the free count of FSInfo', 512 + 488, /free clusters/],
    ['the free count of the backup', 7 * 512 + 488, /free clusters/],
    ['the backup boot sector', 6 * 512 + 100, /backup/],
  ])('%s', async (_, at, message) => {
    const bytes = await imageBytes(volumes[32])
    bytes[at] = (bytes[at] ?? 0) ^ 1
    expect(() => readFat(fromBytes(bytes))).toThrow(message)
  })

  it('a chain that is too short, crosses another or leaves the volume', async () => {
    for (const [entry, message] of [
      [0xffff, /clusters for/],
      [2, /twice|belongs/],
      [0xfff0, /outside/],
    ] as const) {
      const bytes = await imageBytes(volumes[16])
      // Cluster 2 is SUB, 3 is X, 4 is the first of the long name's four.
      for (const copy of [0, 1]) bytes.writeUInt16LE(entry, fatStart(bytes) + copy * sectorsPerFat(bytes) * 512 + 5 * 2)
      expect(() => readFat(fromBytes(bytes))).toThrow(message)
    }
  })
})
