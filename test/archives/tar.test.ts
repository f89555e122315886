import { writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { numberField, tarHeader } from '../../src/archives/tar/disk.ts'
import { paxRecord, splitPath } from '../../src/archives/tar/extensions.ts'
import { planTar, type TarOptions, tar } from '../../src/archives/tar/index.ts'
import { bytesExtent } from '../../src/io/image.ts'
import type { DirectoryNode, TreeNode } from '../../src/tree/tree.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { readTar } from '../readers/tar-reader.ts'
import { archiveOf, device, directory, entry, file, memberDifferences, pipe, randomTree, symlink } from './tar-trees.ts'

const KEPT = file('twice', { mode: 0o4755, uid: 1000, gid: 100, mtimeSeconds: 1_700_000_000 })
const TREE = directory({
  b: file('x'.repeat(600)),
  a: directory({ empty: file(''), null: device('characterDevice', 1, 3), disk: device('blockDevice', 259, 1_048_575), pipe: pipe('fifo') }),
  'a.b': symlink('../elsewhere'),
  k1: KEPT,
  k2: KEPT,
})

/** `text` stands at `offset`, zeros behind it up to `width`. */
function expectField(header: Uint8Array, offset: number, width: number, text: string): void {
  expect(Buffer.from(header.subarray(offset, offset + width)).toString('latin1')).toBe(text.padEnd(width, '\0'))
}

function holder(node: TreeNode, name: string | Uint8Array = 'n'): DirectoryNode {
  return directory([entry(name, node)])
}

describe('records', () => {
  it('has the fields of the ustar interchange format', () => {
    const header = tarHeader.encode({})
    expect(header).toHaveLength(512)
    const offsets = Object.entries(tarHeader.fields).map(([name, [offset, , width]]) => `${name} ${offset} ${width}`)
    expect(offsets).toEqual([
      'name 0 100',
      'mode 100 8',
      'uid 108 8',
      'gid 116 8',
      'size 124 12',
      'mtime 136 12',
      'checksum 148 8',
      'typeflag 156 1',
      'linkname 157 100',
      'magicAndVersion 257 8',
      'userName 265 32',
      'groupName 297 32',
      'deviceMajor 329 8',
      'deviceMinor 337 8',
      'prefix 345 155',
    ])
  })

  it('writes a file as POSIX says', async () => {
    const archive = await archiveOf(holder(file('hello', { mode: 0o4755, uid: 1000, gid: 100, mtimeSeconds: 1_700_000_000 }), 'name'))
    expect(archive).toHaveLength(10240)
    expectField(archive, 0, 100, 'name')
    expectField(archive, 100, 8, '0004755')
    expectField(archive, 108, 8, '0001750')
    expectField(archive, 116, 8, '0000144')
    expectField(archive, 124, 12, '00000000005')
    expectField(archive, 136, 12, '14524770400')
    expectField(archive, 156, 101, '0')
    expectField(archive, 257, 72, 'ustar\x0000')
    expectField(archive, 329, 16, '0000000\x000000000')
    expectField(archive, 345, 167, '')
    expectField(archive, 512, 10240 - 512, 'hello')
    const sum = archive.subarray(0, 512).reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0)
    expectField(archive, 148, 8, `${sum.toString(8).padStart(6, '0')}\0 `)
  })

  it.each([
    [0, 8, '3030303030303000'],
    [0o7777777, 8, '3737373737373700'],
    [0o10000000, 8, '8000000000200000'],
    [0xfffffffe, 8, '80000000fffffffe'],
    [2 ** 33, 12, '800000000000000200000000'],
    [-1, 12, 'ffffffffffffffffffffffff'],
    [-(2 ** 33), 12, 'fffffffffffffffe00000000'],
    [Number.MAX_SAFE_INTEGER, 12, '80000000001fffffffffffff'],
  ])('the number %s in %s bytes', (value, width, hex) => {
    expect(Buffer.from(numberField(value, width)).toString('hex')).toBe(hex)
  })

  it('counts the digits of a pax record in its length', () => {
    for (const length of [0, 1, 2, 3, 4, 5, 90, 91, 92, 93, 94, 95, 988, 989, 990, 991, 992, 993, 99_990]) {
      const record = Buffer.from(paxRecord('k', Buffer.alloc(length, 0x76)))
      expect(record.toString()).toBe(`${record.length} k=${'v'.repeat(length)}\n`)
    }
  })

  it.each([
    ['a'.repeat(100), '', 'a'.repeat(100)],
    ['a'.repeat(101), undefined, undefined],
    [`p/${'a'.repeat(100)}`, 'p', 'a'.repeat(100)],
    [`p/${'a'.repeat(99)}/`, 'p', `${'a'.repeat(99)}/`],
    [`p/${'a'.repeat(100)}/`, undefined, undefined],
    [`${'p'.repeat(155)}/${'a'.repeat(100)}`, 'p'.repeat(155), 'a'.repeat(100)],
    [`${'p'.repeat(156)}/${'a'.repeat(99)}`, undefined, undefined],
    [`${'p'.repeat(155)}/${'a'.repeat(101)}`, undefined, undefined],
    [`${'p'.repeat(100)}/`, undefined, undefined],
    [`${'p'.repeat(50)}/${'q'.repeat(49)}/`, 'p'.repeat(50), `${'q'.repeat(49)}/`],
  ])('splits %s', (path, prefix, name) => {
    const split = splitPath(Buffer.from(path), 'pax')
    expect(split && [Buffer.from(split.prefix).toString(), Buffer.from(split.name).toString()]).toEqual(
      prefix === undefined ? undefined : [prefix, name],
    )
  })
})

describe('plan', () => {
  it('lays members depth first by bytes, and whole blocks and records', () => {
    const plan = planTar(TREE)
    expect(
      plan.members.map(({ path, type, start, contentStart, contentSize }) => [
        Buffer.from(path).toString(),
        type,
        start,
        contentStart,
        contentSize,
      ]),
    ).toEqual([
      ['a/', '5', 0, 512, 0],
      ['a/disk', '4', 512, 1024, 0],
      ['a/empty', '0', 1024, 1536, 0],
      ['a/null', '3', 1536, 2048, 0],
      ['a/pipe', '6', 2048, 2560, 0],
      ['a.b', '2', 2560, 3072, 0],
      ['b', '0', 3072, 3584, 600],
      ['k1', '0', 4608, 5120, 5],
      ['k2', '1', 5632, 6144, 0],
    ])
    expect(plan.size).toBe(10240)
  })

  it('ends with at least two blocks, and whole records', () => {
    expect(planTar(directory({})).size).toBe(10240)
    expect(planTar(holder(file(Buffer.alloc(17 * 512)))).size).toBe(10240)
    expect(planTar(holder(file(Buffer.alloc(17 * 512 + 1)))).size).toBe(20480)
  })

  it('keeps the holes of an image, and of all padding', () => {
    const image = { size: 10 * 2 ** 30, extents: [bytesExtent(5 * 2 ** 30, Buffer.from('middle'))] }
    const { size, extents } = tar(holder({ ...file(''), size: image.size, content: { kind: 'image', image } }, 'disk.raw'))
    expect(extents.map(({ start, length }) => [start, length])).toEqual([
      [0, 1536],
      [1536 + 5 * 2 ** 30, 6],
    ])
    expect(size).toBe(Math.ceil((1536 + image.size + 1024) / 10240) * 10240)
  })

  it('keeps an image that is all hole between two files', async () => {
    const image = { size: 5000, extents: [] }
    const hole = { ...file(''), size: image.size, content: { kind: 'image', image } } as const
    const members = readTar(await archiveOf(directory({ a: file('a'), b: hole, c: file('c') })))
    expect(members.map(({ content }) => content.length)).toEqual([1, 5000, 1])
  })

  it('puts a pax header only where ustar cannot hold a value', async () => {
    const extensions = async (node: TreeNode, name: string | Uint8Array = 'n') =>
      readTar(await archiveOf(holder(node, name))).map((member) => member.extensions.join(' '))
    expect(await extensions(file('', { uid: 2_097_151, gid: 2_097_151, mtimeSeconds: 2 ** 33 - 1 }))).toEqual([''])
    expect(await extensions(file('', { uid: 2_097_152, gid: 2_097_152, mtimeSeconds: 2 ** 33 }))).toEqual(['uid gid mtime'])
    expect(await extensions(file('', { mtimeSeconds: -1 }))).toEqual(['mtime'])
    expect(await extensions(symlink('t'.repeat(100)))).toEqual([''])
    expect(await extensions(symlink('t'.repeat(101)))).toEqual(['linkpath'])
    expect(await extensions(file(''), 'é'.repeat(50))).toEqual([''])
    expect(await extensions(file(''), 'é'.repeat(51))).toEqual(['path'])
    expect(await extensions(file(''), Buffer.alloc(100, 0xff))).toEqual([''])
    expect(await extensions(file(''), Buffer.alloc(101, 0xff))).toEqual(['hdrcharset path'])
    expect(
      await extensions(
        file('', {
          xattrs: [
            { name: 'user.b', value: Buffer.from('1') },
            { name: 'user.a', value: Buffer.from('') },
          ],
        }),
      ),
    ).toEqual(['SCHILY.xattr.user.a SCHILY.xattr.user.b'])
  })

  it('has no sizes and attributes twice for a hard link', async () => {
    const twice = file('data', { xattrs: [{ name: 'user.a', value: Buffer.from('1') }] })
    const [first, second] = readTar(await archiveOf(directory({ a: twice, b: twice })))
    expect([first?.type, first?.content.toString(), first?.xattrs.size]).toEqual(['0', 'data', 1])
    expect([second?.type, second?.content.toString(), second?.xattrs.size, second?.linkTarget.toString()]).toEqual(['1', '', 0, 'a'])
  })

  it('puts the prefix before every name and hard link, without members of its own', async () => {
    const members = readTar(await archiveOf(TREE, { prefix: 'nix/store' }))
    expect(memberDifferences(TREE, members, 'nix/store')).toEqual([])
    expect(members.at(-1)?.linkTarget.toString()).toBe('nix/store/k1')
  })

  it.each([
    ['a socket', holder(pipe('socket')), {}, 'UNSUPPORTED', /n: is a socket/],
    ['a mode', holder(file('', { mode: 0o10000 })), {}, 'LIMIT', /n: mode is 010000/],
    ['a user id', holder(file('', { uid: 2 ** 32 - 1 })), {}, 'LIMIT', /n: user id is 4294967295/],
    ['a negative group id', holder(file('', { gid: -1 })), {}, 'LIMIT', /n: group id is -1/],
    ['a fraction of a second', holder(file('', { mtimeSeconds: 1.5 })), {}, 'LIMIT', /n: modification time is 1.5/],
    ['a major number', holder(device('blockDevice', 2_097_152, 0)), {}, 'LIMIT', /n: major number is 2097152/],
    ['a size', holder(file('', { size: 2 ** 53 })), {}, 'LIMIT', /n: size is 9007199254740992/],
    [
      'all sizes',
      directory({ a: file('', { size: 2 ** 52 }), b: file('', { size: 2 ** 52 }) }),
      {},
      'LIMIT',
      /b: the archive would be more than/,
    ],
    ['a link without target', holder(symlink('')), {}, 'USAGE', /n: the link has no target/],
    ['a link to a zero byte', holder(symlink('a\0b')), {}, 'USAGE', /n: the link target/],
    ['a name with a slash', holder(file(''), 'a/b'), {}, 'USAGE', /tar: \/: 'a\/b' cannot be/],
    ['a name of dots', holder(directory([entry('..', file(''))])), {}, 'USAGE', /n\/: '..' cannot be/],
    ['an empty name', holder(file(''), ''), {}, 'USAGE', /'' cannot be/],
    ['a name twice', directory([entry('a', file('')), entry('b', file('')), entry('a', file(''))]), {}, 'USAGE', /two entries named 'a'/],
    ['a prefix', TREE, { prefix: '/nix' }, 'USAGE', /prefix '\/nix'/],
    ['a prefix that climbs', TREE, { prefix: 'a/../b' }, 'USAGE', /prefix 'a\/..\/b'/],
    ['an attribute with =', holder(file('', { xattrs: [{ name: 'user.a=b', value: Buffer.from('') }] })), {}, 'UNSUPPORTED', /'user.a=b'/],
    ['an attribute without a name', holder(file('', { xattrs: [{ name: '', value: Buffer.from('') }] })), {}, 'USAGE', /no valid name/],
    [
      'an attribute of a long name',
      holder(file('', { xattrs: [{ name: `user.${'é'.repeat(126)}`, value: Buffer.from('') }] })),
      {},
      'LIMIT',
      /257 bytes/,
    ],
    [
      'an attribute that is long',
      holder(file('', { xattrs: [{ name: 'user.a', value: Buffer.alloc(65537) }] })),
      {},
      'LIMIT',
      /65537 bytes/,
    ],
    [
      'attributes in GNU format',
      holder(file('', { xattrs: [{ name: 'user.a', value: Buffer.from('') }] })),
      { format: 'gnu' },
      'UNSUPPORTED',
      /use the pax/,
    ],
    [
      'many attributes',
      holder(file('', { xattrs: Array.from({ length: 17 }, (_, i) => ({ name: `user.${i}`, value: Buffer.alloc(65536) })) })),
      {},
      'LIMIT',
      /pax header is/,
    ],
  ] as [string, DirectoryNode, TarOptions, 'LIMIT', RegExp][])('refuses %s', async (_, tree, options, code, message) => {
    await failure(() => planTar(tree, options), code, message)
  })
})

describe('round trip', () => {
  const scratch = scratchFolder()

  it('by hand', async () => {
    expect(memberDifferences(TREE, readTar(await archiveOf(TREE)))).toEqual([])
    expect(memberDifferences(TREE, readTar(await archiveOf(TREE, { format: 'gnu' })))).toEqual([])
    expect(readTar(await archiveOf(directory({})))).toEqual([])
  })

  it('paths of every length, cut anywhere', async () => {
    const entries = (length: number) => [
      entry('l'.repeat(length), file('')),
      entry('d'.repeat(length), directory({ [`${length}`]: file('') })),
    ]
    const lengths = [1, 40, 53, 54, 55, 56, 98, 99, 100, 101, 154, 155, 156]
    const tree = directory(lengths.flatMap((outer) => [entry('o'.repeat(outer), directory(lengths.flatMap(entries)))]))
    for (const format of ['pax', 'gnu'] as const) {
      const archive = await archiveOf(tree, { format })
      expect(memberDifferences(tree, readTar(archive))).toEqual([])
    }
  })

  it('random trees, the same bytes at every call and in any order of entries', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const format = seed % 2 === 0 ? 'pax' : 'gnu'
      const tree = randomTree(seed, { root: true, xattrs: format === 'pax' })
      const archive = await archiveOf(tree, { format })
      expect(memberDifferences(tree, readTar(archive)), `seed ${seed}`).toEqual([])
      const turned = { ...tree, entries: [...tree.entries].reverse() }
      expect((await archiveOf(turned, { format })).equals(archive), `seed ${seed}`).toBe(true)
    }
  })

  it('host files, which must have the size they had', async () => {
    const path = scratch('host')
    writeFileSync(path, 'from the host')
    const node = (size: number) => holder({ ...file(''), size, content: { kind: 'hostFile', path: Buffer.from(path) } })
    expect(readTar(await archiveOf(node(13)))[0]?.content.toString()).toBe('from the host')
    await failure(() => archiveOf(node(12)), 'CHANGED', /grew beyond/)
    await failure(() => archiveOf(node(14)), 'CHANGED', /ended at byte 13/)
    await failure(() => tar(holder(file('abc', { size: 4 }))), 'USAGE', /tar: n: the content is 3 bytes, the node says 4/)
  })
  it('the reader refuses or notices every changed byte', async () => {
    const tree = directory([
      entry('a', file('content', { uid: 3_000_000, xattrs: [{ name: 'user.a', value: Buffer.from('v') }] })),
      entry('l', symlink('t'.repeat(150))),
      entry(Buffer.alloc(130, 0xe9), KEPT),
      entry('z', KEPT),
    ])
    const archive = await archiveOf(tree)
    expect(memberDifferences(tree, readTar(archive))).toEqual([])
    const unnoticed: number[] = []
    for (let at = 0; at < archive.length; at++) {
      const changed = Buffer.from(archive)
      changed[at] = (changed[at] ?? 0) ^ 0x01
      let noticed = true
      try {
        noticed = memberDifferences(tree, readTar(changed)).length > 0
      } catch {}
      if (!noticed) unnoticed.push(at)
    }
    expect(unnoticed).toEqual([])
  })
})
