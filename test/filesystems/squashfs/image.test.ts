import { describe, expect, it } from 'vitest'
import type { SquashfsOptions } from '../../../src/filesystems/squashfs/format.ts'
import type { DirectoryNode, Entry, TreeNode } from '../../../src/tree/tree.ts'
import { bytesSource, readSquashfs } from '../../readers/squashfs-reader.ts'
import { buildImage, differences, directory, everything, file, noise, pipe, symlink } from './support.ts'

const read = (bytes: Uint8Array) => readSquashfs(bytesSource(bytes))

async function roundTrip(tree: DirectoryNode, options: SquashfsOptions = {}) {
  const image = read(await buildImage(tree, options))
  expect(differences(tree, image)).toEqual([])
  return image
}

describe('a squashfs image, read back', () => {
  it.each<[string, SquashfsOptions]>([
    ['gzip', {}],
    ['zstd 19, blocks of 1 MiB', { codec: { name: 'zstd', level: 19 }, blockSize: 2 ** 20 }],
    ['no compression', { codec: { name: 'none' } }],
    ['neither fragments nor export table', { fragments: false, exportable: false }],
    ['a time', { timeSeconds: 0xffffffff }],
  ])('holds one of everything: %s', async (_what, options) => {
    const image = await roundTrip(everything(), options)
    expect(image.superblock).toMatchObject({
      modificationTimeSeconds: options.timeSeconds ?? 0,
      blockSize: options.blockSize ?? 4096,
    })
    expect(new Set(image.nodes.map(({ inode }) => inode.type + (inode.extended ? 7 : 0)))).toEqual(
      new Set(Array.from({ length: 14 }, (_, i) => i + 1)),
    )
    expect(image.superblock.fragmentCount > 0).toBe(options.fragments !== false)
  })

  it('can be all but empty', async () => {
    const image = await roundTrip(directory({}))
    expect(image.superblock).toMatchObject({ inodeCount: 1, fragmentCount: 0, idCount: 1 })
  })

  it('keeps names of any bytes, and of 255', async () => {
    const names = Array.from({ length: 255 }, (_, i) => Uint8Array.of(i + 1)).filter((name) => name[0] !== 0x2f && name[0] !== 0x2e)
    const entries: Entry[] = [...names, noise(255, 9).map((byte) => byte | 0x80), Buffer.from('ü'.repeat(127))].map((name) => ({
      name,
      node: file(name),
    }))
    await roundTrip(directory(entries))
  })

  it('keeps attributes and their sets over many metadata blocks', async () => {
    const entries = Array.from({ length: 700 }, (_, i) => ({
      name: Buffer.from(`${i}`),
      node: file('', {
        xattrs: [
          { name: 'user.n', value: noise(100 + i, i) },
          { name: 'trusted.n', value: Buffer.from('') },
        ],
      }),
    }))
    entries.push({
      name: Buffer.from('big'),
      node: file('', {
        xattrs: [
          { name: 'security.big', value: noise(65536, 3) },
          { name: 'user.e', value: new Uint8Array(0) },
        ],
      }),
    })
    await roundTrip(directory(entries))
  })

  it('keeps hard links between directories in both directions', async () => {
    const nodes: TreeNode[] = [file('late'), symlink('x'), pipe('socket')]
    const entries = Array.from({ length: 300 }, (_, i) => ({
      name: Buffer.from(String(i).padStart(3, '0')),
      node: nodes[i % 3] as TreeNode,
    }))
    const image = await roundTrip(
      directory({ a: directory(entries), z: directory(entries.slice(7)), m: directory({ a: directory(entries.slice(0, 4)) }) }),
    )
    expect(image.nodes.length).toBe(8)
  })

  it('keeps two and a half thousand ids', async () => {
    await roundTrip(
      directory(
        Array.from({ length: 2500 }, (_, i) => ({ name: Buffer.from(`${i}`), node: file('', { uid: i * 1000, gid: 4294967294 - i }) })),
      ),
    )
  })

  it('is the same for the same tree in another order', async () => {
    const shuffle = (node: TreeNode): TreeNode =>
      node.kind === 'directory'
        ? { ...node, entries: node.entries.map((entry) => ({ ...entry, node: shuffle(entry.node) })).reverse() }
        : node
    const tree = everything()
    const [first, second] = [await buildImage(tree), await buildImage(shuffle(tree) as DirectoryNode)]
    expect(Buffer.from(first).equals(second)).toBe(true)
  })

  it('finds every entry of a directory by its index, and reads one metadata block for it', async () => {
    for (const length of [1, 30, 251]) {
      const entries = Array.from({ length: 3000 }, (_, i) => ({
        name: Buffer.from(`${String(i).padStart(4, '0')}${'n'.repeat(i % length)}`),
        node: file(''),
      }))
      const image = await roundTrip(directory({ before: directory(entries.slice(0, 9)), it: directory(entries) }))
      const it = image.root.children.get('it')
      if (it === undefined) throw new Error('the directory is gone')
      expect(it.inode.directory?.index.length).toBe(
        Math.floor(((it.inode.directory?.listingSize ?? 0) + (it.inode.directory?.offset ?? 0) - 1) / 8192),
      )
      const slow: string[] = []
      for (const [name, node] of it.children) {
        const found = image.lookup(it, name)
        if (found.node !== node || found.blocksRead > 1) slow.push(name)
      }
      expect(slow).toEqual([])
      expect(image.lookup(it, '1500x').node).toBeUndefined()
    }
  })
})

describe('the reader refuses', () => {
  const tree = directory({
    a: file('content of a', { uid: 1 }),
    blocks: file(Buffer.concat([noise(4096, 1), new Uint8Array(4096), noise(10, 2)])),
    b: directory({ link: symlink('../a', { xattrs: [{ name: 'user.x', value: Buffer.from('value') }] }), c: pipe('fifo') }),
  })
  /** Bytes of which nothing depends: the time of the image, and flags that only inform. */
  const informs = (at: number, bit: number): boolean =>
    (at >= 8 && at < 12) || (at === 24 && (bit & 0x6b) !== 0) || (at === 25 && (bit & 0x09) !== 0)

  it('every flipped bit of an image without compression', async () => {
    const image = await buildImage(tree, { codec: { name: 'none' } })
    expect(differences(tree, read(image))).toEqual([])
    const end = read(image).superblock.bytesUsed
    const survived: string[] = []
    for (let at = 0; at < end; at++) {
      for (const bit of at < 96 ? [1, 2, 4, 8, 16, 32, 64, 128] : [1 << (at % 8)]) {
        if (informs(at, bit)) continue
        const mutated = Uint8Array.from(image)
        mutated[at] = (mutated[at] as number) ^ bit
        try {
          if (differences(tree, read(mutated)).length === 0) survived.push(`${at}:${bit}`)
        } catch (error) {
          expect(error).toBeInstanceOf(Error)
        }
      }
    }
    expect(survived).toEqual([])
  })

  it('padding that is missing, too long or not zero', async () => {
    const image = await buildImage(tree)
    expect(() => read(image.subarray(0, image.length - 1))).toThrow('padding')
    expect(() => read(Buffer.concat([image, new Uint8Array(4096)]))).toThrow('padding')
    const mutated = Uint8Array.from(image)
    mutated[image.length - 1] = 1
    expect(() => read(mutated)).toThrow('padding: not zero')
  })

  it('a directory index that is wrong by one name', async () => {
    const entries = Array.from({ length: 1000 }, (_, i) => ({ name: Buffer.from(`entry-${String(i).padStart(4, '0')}`), node: file('') }))
    const image = Buffer.from(await buildImage(directory(entries), { codec: { name: 'none' } }))
    const { superblock, root } = read(image)
    const name = root.inode.directory?.index[0]?.name ?? ''
    const at = image.indexOf(name, superblock.inodeTable)
    expect(at).toBeLessThan(superblock.directoryTable)
    image.write('f', at)
    expect(() => read(image)).toThrow('the index is wrong about the header')
  })
})
