import { describe, expect, it } from 'vitest'
import { NO_INDEX } from '../../../src/filesystems/squashfs/disk.ts'
import { planSquashfs } from '../../../src/filesystems/squashfs/plan.ts'
import type { DirectoryNode, Entry, TreeNode } from '../../../src/tree/tree.ts'
import { device, directory, file, pipe, symlink } from './support.ts'

const names = (entries: readonly Entry[]): string[] => entries.map((entry) => Buffer.from(entry.name).toString('latin1'))

function numbers(root: DirectoryNode): Record<string, number> {
  const plan = planSquashfs(root)
  const found: Record<string, number> = { '/': plan.inodes.length }
  for (const { listing } of plan.inodes) {
    listing?.entries.forEach((entry, i) => {
      found[Buffer.from(entry.name).toString()] = listing.inodeNumbers[i] as number
    })
  }
  return found
}

describe('planSquashfs', () => {
  it('numbers the entries of a directory one after the other, contents before their directory, the root last', () => {
    const tree = directory({
      b: directory({ z: file('1'), y: directory({ deep: file('2') }), x: file('3') }),
      a: file('4'),
      c: directory({ only: symlink('a') }),
    })
    expect(numbers(tree)).toEqual({ deep: 1, x: 2, y: 3, z: 4, only: 5, a: 6, b: 7, c: 8, '/': 9 })
    const inodes = [...planSquashfs(tree).inodes]
    expect(inodes.map((inode) => inode.number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(inodes.map((inode) => inode.linkCount)).toEqual([1, 1, 2, 1, 1, 1, 3, 2, 4])
    expect(inodes.filter((inode) => inode.listing).map((inode) => inode.listing?.parentNumber)).toEqual([7, 9, 9, 10])
  })

  it('sorts names by unsigned bytes, a prefix first', () => {
    const entries = [[0xff], [0x41, 0x00 + 1], [0x41], [0x80], [0x42]].map((name) => ({ name: Uint8Array.from(name), node: file('') }))
    expect(names([...planSquashfs(directory(entries)).inodes].at(-1)?.listing?.entries ?? [])).toEqual(['A', 'A\x01', 'B', '\x80', '\xff'])
  })

  it('does not depend on the order of entries, and leaves the tree as it is', () => {
    const entries = ['d', 'a', 'c', 'b'].map((name) => ({ name: Buffer.from(name), node: file(name) }))
    const tree = directory(entries)
    expect(planSquashfs(tree)).toEqual({ ...planSquashfs(directory([...entries].reverse())), inodes: expect.anything() })
    expect(planSquashfs(tree).files).toEqual(planSquashfs(directory([...entries].reverse())).files)
    expect(names(tree.entries)).toEqual(['d', 'a', 'c', 'b'])
  })

  it('gives a node with several names one inode and a link count, wherever the names stand', () => {
    const linked = file('x')
    const special = device('blockDevice', 8, 0)
    const plan = planSquashfs(directory({ a: linked, special, sub: directory({ b: linked, c: linked, special }) }))
    expect(plan.inodes.length).toBe(4)
    expect([...plan.inodes].map((inode) => [inode.node.kind, inode.linkCount])).toEqual([
      ['file', 3],
      ['blockDevice', 2],
      ['directory', 2],
      ['directory', 3],
    ])
    expect(plan.files).toEqual([linked])
    expect([...(plan.inodes.numbered(3).listing?.inodeNumbers ?? [])]).toEqual([1, 1, 2])
  })

  it('gives two equal files two inodes', () => {
    expect(planSquashfs(directory({ a: file('x'), b: file('x') })).files.length).toBe(2)
  })

  it('collects ids and equal sets of attributes once', () => {
    const one = { name: 'user.a', value: Buffer.from('1') }
    const two = { name: 'user.b', value: Buffer.from('2') }
    const plan = planSquashfs(
      directory({
        a: file('', { uid: 5, gid: 9, xattrs: [one, two] }),
        b: file('', { uid: 9, gid: 5, xattrs: [two, one] }),
        c: file('', { xattrs: [two] }),
        d: file('', { xattrs: [] }),
      }),
    )
    expect(plan.ids).toEqual([5, 9, 0])
    expect([...plan.inodes].map((inode) => [inode.uidIndex, inode.gidIndex])).toEqual([
      [0, 1],
      [1, 0],
      [2, 2],
      [2, 2],
      [2, 2],
    ])
    expect([...plan.inodes].map((inode) => inode.xattrIndex)).toEqual([0, 0, 1, NO_INDEX, NO_INDEX])
    expect(plan.xattrSets.map((set) => set.map(({ name }) => Buffer.from(name).toString()))).toEqual([['user.a', 'user.b'], ['user.b']])
  })

  it('indexes a directory whose listing is larger than one metadata block', () => {
    // 12 bytes of header, 8 and the name of each entry: 40 names of 196 bytes and one of 12 fill 8192.
    const entries = (last: number): Entry[] =>
      Array.from({ length: 41 }, (_, i) => ({
        name: Buffer.from(String.fromCharCode(65 + i).repeat(i === 40 ? last : 196)),
        node: file(''),
      }))
    expect([...planSquashfs(directory(entries(12))).inodes].at(-1)?.listing?.indexed).toBe(false)
    expect([...planSquashfs(directory(entries(13))).inodes].at(-1)?.listing?.indexed).toBe(true)
  })

  it('plans an empty root', () => {
    const { inodes, ids, xattrSets, files } = planSquashfs(directory({}))
    expect({ count: inodes.length, links: inodes.numbered(1).linkCount, ids, xattrSets, files }).toEqual({
      count: 1,
      links: 2,
      ids: [0],
      xattrSets: [],
      files: [],
    })
  })

  it('takes 65535 ids and refuses one more', () => {
    const entries = Array.from({ length: 65535 }, (_, i) => ({ name: Buffer.from(`${i}`), node: file('', { uid: i + 1, gid: 1 }) }))
    expect(() => planSquashfs(directory(entries, { uid: 1, gid: 1 }))).not.toThrow()
    expect(() => planSquashfs(directory(entries, { uid: 1, gid: 70000 }))).toThrow(expect.objectContaining({ code: 'LIMIT', path: '/' }))
  })
})

describe('limits of squashfs', () => {
  const at = (node: TreeNode): (() => unknown) => {
    return () => planSquashfs(directory({ sub: directory({ it: node }) }))
  }
  const named = (...list: string[]): (() => unknown) => {
    return () => planSquashfs(directory({ sub: directory(list.map((name) => ({ name: Buffer.from(name, 'latin1'), node: file('') }))) }))
  }
  const xattr = (name: string, length = 0): TreeNode => file('', { xattrs: [{ name, value: new Uint8Array(length) }] })
  const shared = directory({})

  it.each<[string, string, () => unknown]>([
    ['USAGE', 'a name without bytes', named('')],
    ['LIMIT', 'a name of 256 bytes', named('n'.repeat(256))],
    ['USAGE', 'a slash', named('a/b')],
    ['USAGE', 'a zero byte', named('a\0')],
    ['USAGE', 'the name .', named('.')],
    ['USAGE', 'the name ..', named('..')],
    ['USAGE', 'the same name twice', named('a', 'b', 'a')],
    ['USAGE', 'an empty link target', at(symlink(''))],
    ['LIMIT', 'a link target of 4096 bytes', at(symlink('t'.repeat(4096)))],
    ['USAGE', 'a zero byte in a link target', at(symlink('a\0b'))],
    ['LIMIT', 'a mode with a type', at(file('', { mode: 0o100644 }))],
    ['LIMIT', 'a negative mode', at(file('', { mode: -1 }))],
    ['LIMIT', 'a user id that means none', at(file('', { uid: 0xffffffff }))],
    ['LIMIT', 'a group id of 33 bits', at(file('', { gid: 2 ** 32 }))],
    ['LIMIT', 'a time before 1970', at(file('', { mtimeSeconds: -1 }))],
    ['LIMIT', 'a time of 33 bits', at(file('', { mtimeSeconds: 2 ** 32 }))],
    ['LIMIT', 'a time that is not whole', at(file('', { mtimeSeconds: 0.5 }))],
    ['LIMIT', 'a size that is not whole', at(file('', { size: 1.5 }))],
    [
      'LIMIT',
      'a size of more than 2^31 - 1 blocks',
      at(file('', { size: 0x7fffffff * 2 ** 20 + 1, content: { kind: 'hostFile', path: Buffer.from('/nowhere') } })),
    ],
    ['LIMIT', 'a major number of 13 bits', at(device('characterDevice', 4096, 0))],
    ['LIMIT', 'a minor number of 21 bits', at(device('blockDevice', 0, 2 ** 20))],
    ['UNSUPPORTED', 'a POSIX ACL', at(xattr('system.posix_acl_access'))],
    ['USAGE', 'an attribute without name', at(xattr('user.'))],
    ['USAGE', 'a zero byte in the name of an attribute', at(xattr('user.a\0b'))],
    ['LIMIT', 'an attribute name of 256 bytes', at(xattr(`user.${'n'.repeat(251)}`))],
    ['LIMIT', 'an attribute of 64 KiB and a byte', at(xattr('user.big', 65537))],
    ['USAGE', 'an attribute twice', at(file('', { xattrs: [1, 2].map((n) => ({ name: 'user.a', value: Uint8Array.of(n) })) }))],
    ['USAGE', 'a directory with two names', () => planSquashfs(directory({ sub: directory({ a: shared, b: shared }) }))],
  ])('%s: %s', (code, _what, plan) => {
    expect(plan).toThrow(expect.objectContaining({ name: 'ImageError', code, path: expect.stringMatching(/^\/sub\//) }))
  })

  it.each<[string, () => unknown]>([
    ['a name of 255 bytes', named('n'.repeat(255))],
    ['names that only look like . and ..', named('...', '. ', '..a', '.a')],
    ['a link target of 4095 bytes', at(symlink('t'.repeat(4095)))],
    ['all permission bits', at(file('', { mode: 0o7777 }))],
    ['the largest ids and time', at(file('', { uid: 0xfffffffe, gid: 0xfffffffe, mtimeSeconds: 0xffffffff }))],
    ['2^31 - 1 blocks', at(file('', { size: 0x7fffffff * 2 ** 20, content: { kind: 'hostFile', path: Buffer.from('/nowhere') } }))],
    ['the largest device', at(device('blockDevice', 4095, 2 ** 20 - 1))],
    ['the longest attribute', at(xattr(`user.${'n'.repeat(250)}`, 65536))],
    ['a fifo with two names', () => planSquashfs(directory({ a: pipe('fifo'), b: pipe('fifo') }))],
  ])('takes %s', (_what, plan) => {
    expect(plan).not.toThrow()
  })

  it('refuses a directory that contains itself', () => {
    const entries: Entry[] = []
    const loop = directory(entries)
    entries.push({ name: Buffer.from('again'), node: loop })
    expect(() => planSquashfs(loop)).toThrow(/\/again: the directory stands in the tree twice/)
  })

  it('shows a name that is not text in the message', () => {
    const bad = directory([{ name: Uint8Array.of(0xff, 0x0a), node: symlink('') }])
    expect(() => planSquashfs(bad)).toThrow('squashfs: /\\xff\\x0a: the link has no target')
  })

  it.each([0, 2048, 4095, 6144, 2 ** 21, Number.NaN])('refuses blocks of %d bytes', (blockSize) => {
    expect(() => planSquashfs(directory({}), { blockSize })).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  it('refuses other compressors and an impossible time', () => {
    expect(() => planSquashfs(directory({}), { codec: { name: 'lzo' as 'xz' } })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    expect(() => planSquashfs(directory({}), { timeSeconds: 2 ** 32 })).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })
})
