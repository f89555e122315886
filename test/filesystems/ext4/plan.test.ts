import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/bytes/text.ts'
import { ImageError } from '../../../src/errors.ts'
import { type Ext4Options, ext4, planExt4 } from '../../../src/filesystems/ext4/index.ts'
import { checkImage } from '../../../src/io/stream.ts'
import type { DirectoryNode, TreeNode } from '../../../src/tree/tree.ts'
import { cpuMilliseconds } from '../../cpu-time.ts'
import { imageBytes } from '../fat/support.ts'
import { directory, file, many, noise, OPTIONS, sparse, symlink, xattr, ZOO } from './support.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30

function plan(tree: DirectoryNode, options: Partial<Ext4Options> = {}) {
  return planExt4(tree, { ...OPTIONS, ...options })
}

function problemOf(build: () => unknown): { code: string; message: string; path: string | undefined } {
  try {
    build()
  } catch (error) {
    if (error instanceof ImageError) return { code: error.code, message: error.message, path: error.path }
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('the plan of an ext4 file system', () => {
  it('has the counts of mke2fs', () => {
    const summary = ({
      groupCount,
      inodeCount,
      journalBlockCount,
      reservedDescriptorBlockCount,
      reservedBlockCount,
    }: ReturnType<typeof plan>) => [groupCount, inodeCount, journalBlockCount, reservedDescriptorBlockCount, reservedBlockCount]
    expect(summary(plan(directory({}), { size: 64 * MIB }))).toEqual([1, 16384, 1024, 7, 819])
    expect(summary(plan(directory({}), { size: 1 * GIB }))).toEqual([8, 65536, 8192, 127, 13107])
    expect(summary(plan(directory({}), { size: 100 * GIB }))).toEqual([800, 6553600, 131072, 1024, 1310720])
    expect(summary(plan(directory({}), { size: 2048 * GIB, reservedPercent: 0 }))).toEqual([16384, 2 ** 27, 262144, 1024, 0])
  })

  it('gives directories and their children consecutive inodes, by name', () => {
    const { tree } = plan(directory({ b: directory({ x: file('1') }), a: file('2'), c: directory({ d: directory({}), '0': file('3') }) }))
    const inodes = tree.directories.map(({ inode, parentInode, children }) => [inode, parentInode, ...children])
    expect(inodes).toEqual([
      [2, 2, 12, 13, 14, 11],
      [13, 2, 15],
      [14, 2, 16, 17],
      [17, 14],
      [11, 2],
    ])
    // Content in the order of a walk by name, as a NAR has it.
    expect([...tree.others]).toEqual([12, 15, 16])
    expect([...tree.linkCounts].slice(11)).toEqual([2, 1, 2, 3, 1, 1, 2])
  })

  it('finds the smallest size: a block less does not do', () => {
    const trees = [directory({}), ZOO, directory({ large: sparse(200 * MIB, { 0: noise(40 * MIB) }) }), many(10_000, () => file('x'))]
    for (const tree of trees) {
      for (const options of [{}, { freeSize: 130 * MIB }, { journal: false }] as const) {
        const { size, freeBlockCount, blockCount } = plan(tree, options)
        expect(blockCount * 4096).toBe(size)
        expect(freeBlockCount * 4096).toBeGreaterThanOrEqual('freeSize' in options ? options.freeSize : 0)
        const problem = problemOf(() => plan(tree, { ...options, size: size - 4096 }))
        expect(problem.code).toBe('LIMIT')
        if (size > 8 * MIB) expect(problem.message).toContain(`; ${size} would do`)
        expect(plan(tree, { ...options, size }).blockCount).toBe(blockCount)
      }
    }
  })

  it('rounds a computed size, and only that', () => {
    expect(plan(ZOO, { roundTo: MIB }).size % MIB).toBe(0)
    expect(plan(ZOO, { roundTo: MIB }).size - plan(ZOO).size).toBeLessThan(MIB)
    expect(plan(directory({}), { size: 9 * MIB + 4096, roundTo: MIB }).size).toBe(9 * MIB + 4096)
  })

  it('leaves a rest that is too small for a group at the end of the image', () => {
    const { size, blockCount, groupCount } = plan(directory({}), { size: 256 * MIB + 100 * 4096 })
    expect([size, blockCount, groupCount]).toEqual([256 * MIB + 100 * 4096, 65536, 2])
  })

  it('has more inodes than mke2fs makes where the tree needs them', () => {
    const { inodeCount, usedInodeCount, groupCount } = plan(
      many(100_000, () => file('')),
      { size: 600 * MIB },
    )
    expect(usedInodeCount).toBe(100_011)
    expect(inodeCount).toBeGreaterThan(115_000)
    expect(groupCount).toBe(5)
    expect(plan(directory({}), { size: 64 * MIB, inodeCount: 1000 }).inodeCount).toBe(1008)
  })

  it('marks more than 65000 subdirectories as not counted', () => {
    const counted = plan(
      many(64_998, () => directory({})),
      { freeSize: MIB },
    )
    expect(counted.tree.linkCounts[2]).toBe(1)
    const nested = plan(directory({ d: many(64_998, () => directory({})), e: many(64_999, () => directory({})) }))
    expect([nested.tree.linkCounts[12], nested.tree.linkCounts[13]]).toEqual([65000, 1])
  })

  it('plans 100,000 files in a moment, and a file of 4 GiB blocks', () => {
    const tree = directory({ a: many(50_000, (i) => file(`${i}`)), b: many(200, () => many(250, (i) => file(`${i}`))) })
    const before = cpuMilliseconds()
    expect(plan(tree).usedInodeCount).toBe(100_213)
    expect(cpuMilliseconds() - before).toBeLessThan(5000)
    const most = 0xffffffff * 4096
    const image = ext4(directory({ most: sparse(most, { [most - 1]: 'x' }) }), OPTIONS)
    expect(image.size).toBe(8 * MIB)
  })

  it('spreads a large file over an extent tree of two levels', () => {
    const size = 400 * GIB
    const { extentNodes, runCounts } = plan(directory({ large: { ...file(''), size, content: { kind: 'hostFile', path: utf8('/none') } } }))
    expect(runCounts[12]).toBeGreaterThan(3000)
    expect(extentNodes.get(12)?.length).toBe(Math.ceil((runCounts[12] as number) / 340) + 1)
  })

  it('is the same image each time, whatever the order of entries', async () => {
    const shuffled = (node: DirectoryNode): DirectoryNode => ({ ...node, entries: [...node.entries].reverse() })
    const tree = directory({ a: file('1'), b: many(3000, (i) => file(`${i}`)), c: symlink('a') })
    const bytes = await imageBytes(ext4(tree, OPTIONS))
    expect((await imageBytes(ext4(shuffled(tree), OPTIONS))).equals(bytes)).toBe(true)
  })

  it('describes images whose extents are in order and few', () => {
    const image = ext4(
      many(10_000, (i) => file(noise(i % 5000))),
      { ...OPTIONS, size: 2048 * GIB },
    )
    checkImage(image)
    // Mostly bitmaps: one for each flexible group.
    expect(image.extents.length).toBeLessThan(1100)
    const written = image.extents.reduce((sum, { length }) => sum + length, 0)
    expect(written).toBeLessThan(100 * MIB)
  })
})

describe('what ext4 cannot hold', () => {
  const one = (node: TreeNode): DirectoryNode => directory({ folder: directory({ it: node }) })
  const shared = directory({})
  const single = file('')

  it.each<[string, DirectoryNode, string, string | undefined]>([
    ['a name of 256 bytes', directory({ folder: directory({ ['n'.repeat(256)]: file('') }) }), 'LIMIT', `/folder/${'n'.repeat(256)}`],
    ['an empty name', directory({ '': file('') }), 'USAGE', '/'],
    ['a name with a slash', directory({ 'a/b': file('') }), 'USAGE', '/a/b'],
    ['a name with a zero', directory({ 'a\0b': file('') }), 'USAGE', '/a\\x00b'],
    ['the name ..', directory({ '..': file('') }), 'USAGE', '/..'],
    [
      'a name twice',
      directory([
        { name: utf8('a'), node: file('') },
        { name: utf8('a'), node: symlink('x') },
      ]),
      'USAGE',
      '/a',
    ],
    ['a directory twice', directory({ a: shared, b: shared }), 'USAGE', '/b'],
    ['a link without target', one(symlink('')), 'USAGE', '/folder/it'],
    ['a link with a zero', one(symlink('a\0b')), 'USAGE', '/folder/it'],
    ['a long link', one(symlink('x'.repeat(4096))), 'LIMIT', '/folder/it'],
    ['a file of 16 TiB', one(sparse(2 ** 44)), 'LIMIT', '/folder/it'],
    ['another size than the content', one({ ...file('abc'), size: 4 }), 'USAGE', '/folder/it'],
    ['another size than the image', one({ ...sparse(5000), size: 4000 }), 'USAGE', '/folder/it'],
    ['a mode with a type', one(file('', { mode: 0o100644 })), 'LIMIT', '/folder/it'],
    ['no id', one(file('', { uid: 0xffffffff })), 'LIMIT', '/folder/it'],
    ['a time before 1901', one(file('', { mtimeSeconds: -(2 ** 31) - 1 })), 'LIMIT', '/folder/it'],
    ['a time after 2446', one(file('', { mtimeSeconds: 2 ** 34 })), 'LIMIT', '/folder/it'],
    ['a large device number', one({ ...file(''), kind: 'blockDevice', major: 4096, minor: 0 } as TreeNode), 'LIMIT', '/folder/it'],
    ['a foreign attribute', one(file('', { xattrs: [xattr('system.nfs4_acl', 'x')] })), 'UNSUPPORTED', '/folder/it'],
    [
      'large attributes',
      one(file('', { xattrs: [xattr('user.a', new Uint8Array(3000)), xattr('user.b', new Uint8Array(3000))] })),
      'LIMIT',
      '/folder/it',
    ],
    ['a file lost+found', directory({ 'lost+found': file('') }), 'UNSUPPORTED', '/lost+found'],
    ['65001 hard links', many(65_001, () => single), 'LIMIT', '/entry-9999'],
  ])('is refused: %s', (_, tree, code, path) => {
    const problem = problemOf(() => plan(tree))
    expect(problem).toMatchObject({ code, path })
    expect(problem.message).toMatch(/^ext4: /)
  })

  it('takes 65000 hard links', () => {
    expect(plan(many(65_000, () => single)).tree.linkCounts[12]).toBe(65_000)
  })

  it.each<[Partial<Ext4Options>, string]>([
    [{ size: 5000 }, 'USAGE'],
    [{ size: 2 ** 44 }, 'LIMIT'],
    [{ size: 4 * MIB }, 'LIMIT'],
    [{ size: 40 * 4096, journal: false }, 'LIMIT'],
    [{ roundTo: 1000 }, 'USAGE'],
    [{ freeSize: -1 }, 'USAGE'],
    [{ freeSize: 2 ** 44 }, 'LIMIT'],
    [{ label: 'a label of 17 byt' }, 'LIMIT'],
    [{ label: 'a\0b' }, 'USAGE'],
    [{ uuid: 'none' }, 'USAGE'],
    [{ hashSeed: '' }, 'USAGE'],
    [{ mtimeSeconds: 0.5 }, 'USAGE'],
    [{ reservedPercent: 51 }, 'USAGE'],
    [{ inodeCount: 11 }, 'LIMIT'],
    [{ inodeCount: 2 ** 32 - 1 }, 'LIMIT'],
  ])('options %j are %s', (options, code) => {
    expect(problemOf(() => plan(directory({ a: file('x') }), options)).code).toBe(code)
  })

  it('tells the size that would do', () => {
    const tree = directory({ a: file(noise(20 * MIB)) })
    const { message } = problemOf(() => plan(tree, { size: 16 * MIB }))
    const [, enough] = /; (\d+) would do/.exec(message) ?? []
    expect(plan(tree, { size: Number(enough) }).size).toBe(plan(tree).size)
  })
})
