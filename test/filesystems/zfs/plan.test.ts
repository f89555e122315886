/** Plans as data: datasets, what goes into them, and everything that is refused before a byte is written. */
import { describe, expect, it } from 'vitest'
import { planZfs, type ZfsPoolOptions, zfsPool } from '../../../src/filesystems/zfs/index.ts'
import { BufferTarget } from '../../../src/io/target.ts'
import { directory, file, many, noise, OPTIONS, symlink, xattr } from './support.ts'

const tree = directory({
  etc: directory({ hosts: file('x') }),
  nix: directory({ store: directory({ a: file('a') }, { mode: 0o1775, gid: 30000 }) }),
})
const names = (options: Partial<ZfsPoolOptions>): string[] =>
  planZfs(tree, { ...OPTIONS, ...options }).datasets.map(({ spec }) => spec.name)

describe('datasets', () => {
  it('makes missing parents, and the shorter names first', () => {
    expect(names({ datasets: [{ name: 'tank/b/root', mount: '/' }, { name: 'tank/c' }, { name: 'tank/a' }] })).toEqual([
      'tank',
      'tank/a',
      'tank/c',
      'tank/b',
      'tank/b/root',
    ])
  })

  it('spreads the tree by mount points, and leaves empty directories there', () => {
    const { datasets } = planZfs(tree, {
      ...OPTIONS,
      datasets: [
        { name: 'tank/root', mount: '/' },
        { name: 'tank/store', mount: '/nix/store' },
        { name: 'tank/home', mount: '/home/user' },
      ],
    })
    const paths = Object.fromEntries(datasets.map(({ spec, fileSystem }) => [spec.name, fileSystem.nodes.map(({ path }) => path)]))
    expect(paths).toEqual({
      tank: ['/'],
      'tank/root': ['/', '/etc', '/etc/hosts', '/home', '/home/user', '/nix', '/nix/store'],
      'tank/store': ['/', '/a'],
      'tank/home': ['/'],
    })
    expect(datasets.find(({ spec }) => spec.name === 'tank/store')?.fileSystem.nodes[0]?.node).toMatchObject({ mode: 0o1775, gid: 30000 })
  })

  it('inherits properties, but not those of one dataset', () => {
    const { datasets } = planZfs(tree, {
      ...OPTIONS,
      properties: { compression: 'zstd-7', quota: '1G', canmount: 'off' },
      datasets: [{ name: 'tank/root', mount: '/', properties: { atime: 'off' } }],
    })
    expect(datasets[1]?.spec.effective).toEqual({ compression: 'zstd-7', atime: 'off' })
  })

  it('counts links and numbers depth first', () => {
    const twin = file('twin')
    const { datasets } = planZfs(directory({ b: twin, a: directory({ c: twin }), d: symlink('b') }), OPTIONS)
    expect(datasets[0]?.fileSystem.nodes.map(({ path, links }) => [path, links])).toEqual([
      ['/', 3],
      ['/a', 2],
      ['/a/c', 2],
      ['/d', 1],
    ])
  })
})

const REFUSED: readonly (readonly [code: string, what: string, options: Partial<ZfsPoolOptions>])[] = [
  ['USAGE', 'a pool named as a kind of device', { name: 'mirror-1' }],
  ['USAGE', 'an ashift of 15', { ashift: 15 }],
  ['LIMIT', 'less than 64 MiB', { size: (64 << 20) - 1 }],
  ['UNSUPPORTED', 'other sets of features', { compatibility: 'openzfs-9' as 'legacy' }],
  ['USAGE', 'a dataset of another pool', { datasets: [{ name: 'rpool/a', mount: '/' }] }],
  ['USAGE', 'a dataset twice', { datasets: [{ name: 'tank/a', mount: '/' }, { name: 'tank/a' }] }],
  [
    'USAGE',
    'a mount point twice',
    {
      datasets: [
        { name: 'tank/a', mount: '/' },
        { name: 'tank/b', mount: '/' },
      ],
    },
  ],
  ['USAGE', 'a mount point that is relative', { datasets: [{ name: 'tank/a', mount: 'nix' }] }],
  [
    'USAGE',
    'a mount point that is a file',
    {
      datasets: [
        { name: 'tank/a', mount: '/' },
        { name: 'tank/b', mount: '/etc/hosts' },
      ],
    },
  ],
  ['USAGE', 'a tree that is in no dataset', { datasets: [{ name: 'tank/a', mount: '/nix' }] }],
  ['USAGE', 'an unknown property', { properties: { colour: 'blue' } }],
  ['USAGE', 'a compression that is none', { properties: { compression: 'gzip-10' } }],
  ['USAGE', 'a record size that is no power of two', { properties: { recordsize: '100K' } }],
  ['UNSUPPORTED', 'large records without their feature', { compatibility: 'legacy', properties: { compression: 'off', recordsize: '1M' } }],
  ['UNSUPPORTED', 'lz4 without its feature', { compatibility: 'legacy', properties: { compression: 'lz4' } }],
  ['UNSUPPORTED', 'limits without their feature', { compatibility: 'grub2-2.06', properties: { snapshot_limit: '3' } }],
  ['UNSUPPORTED', 'deduplication', { properties: { dedup: 'on' } }],
  ['UNSUPPORTED', 'encryption', { properties: { encryption: 'on' } }],
  ['USAGE', 'normalized names that need not be UTF-8', { properties: { normalization: 'formD', utf8only: 'off' } }],
  ['UNSUPPORTED', 'zstd without features', { compatibility: 'legacy', properties: { compression: 'zstd' } }],
  ['USAGE', 'bootfs of a dataset that is not there', { poolProperties: { bootfs: 'tank/none' } }],
  ['LIMIT', 'a long comment', { poolProperties: { comment: 'x'.repeat(33) } }],
  [
    'USAGE',
    'snapshots whose names differ in case only, where case is ignored',
    {
      datasets: [
        {
          name: 'tank/home',
          properties: { casesensitivity: 'insensitive' },
          snapshots: [
            { name: 'a', state: 'empty' },
            { name: 'A', state: 'empty' },
          ],
        },
      ],
    },
  ],
  [
    'USAGE',
    'an empty snapshot after a populated one',
    {
      datasets: [
        {
          name: 'tank',
          mount: '/',
          snapshots: [
            { name: 'a', state: 'populated' },
            { name: 'b', state: 'empty' },
          ],
        },
      ],
    },
  ],
]

describe('refused', () => {
  it.each(REFUSED)('%s: %s', (code, _, options) => {
    expect(() => zfsPool(tree, { ...OPTIONS, ...options })).toThrow(expect.objectContaining({ code }))
  })

  it.each([
    ['LIMIT', 'a name of 256 bytes', many(1, () => file(''), 'n'.repeat(255))],
    ['USAGE', 'a name with a slash', directory({ 'a/b': file('') })],
    ['LIMIT', 'a link target of 4096 bytes', directory({ a: symlink('x'.repeat(4096)) })],
    ['LIMIT', 'attributes of more than 64 KiB', directory({ a: file('', { xattrs: [xattr('user.a', new Uint8Array(65536))] }) })],
    ['LIMIT', 'a mode with bits of a kind', directory({ a: file('', { mode: 0o100644 }) })],
  ])('%s: %s', (code, _, bad) => {
    expect(() => zfsPool(bad, OPTIONS)).toThrow(expect.objectContaining({ code }))
  })

  it('a pool that is too small for what does not compress', async () => {
    const full = zfsPool(directory({ a: file(noise(70 << 20)) }), { ...OPTIONS, size: 64 << 20 })
    await expect(full.pack(new BufferTarget(), 0, { jobs: 1 })).rejects.toMatchObject({ code: 'LIMIT' })
  })
})

describe('names', () => {
  const rules = (properties: Record<string, string>) => ({ ...OPTIONS, properties: { ...OPTIONS.properties, ...properties } })
  const twins = directory({ d: directory({ Makefile: file(''), makefile: file('') }) })
  const forms = directory({ 'e\u0301': file(''), é: file('') })

  it('that are one to the file system are refused with their place', () => {
    const problem = { code: 'USAGE', path: '/d/makefile' }
    expect(() => planZfs(twins, rules({ casesensitivity: 'insensitive' }))).toThrow(expect.objectContaining(problem))
    expect(() => planZfs(twins, rules({ casesensitivity: 'mixed' }))).not.toThrow()
    expect(() => planZfs(twins, OPTIONS)).not.toThrow()
    expect(() => planZfs(forms, rules({ normalization: 'formC' }))).toThrow(expect.objectContaining({ code: 'USAGE', path: '/é' }))
    expect(() => planZfs(forms, rules({ casesensitivity: 'mixed' }))).not.toThrow()
  })

  it('that cannot be compared for sure are refused with their place', () => {
    const tree = directory({ d: directory({ ɐ: file('') }) })
    expect(() => planZfs(tree, rules({ normalization: 'formC' }))).toThrow(expect.objectContaining({ code: 'UNSUPPORTED', path: '/d/ɐ' }))
    expect(() => planZfs(tree, rules({ utf8only: 'on' }))).not.toThrow()
  })
})

describe('space', () => {
  const content = directory({ a: file(noise(2 << 20)) })
  it.each([
    ['quota', '1M'],
    ['refquota', '1M'],
    ['reservation', '300M'],
    ['refreservation', '300M'],
  ])('that contradicts %s is noticed', async (name, value) => {
    const datasets = [{ name: 'tank/a', mount: '/', properties: { [name]: value } }]
    const pack = async (): Promise<unknown> => zfsPool(content, { ...OPTIONS, datasets }).pack(new BufferTarget(), 0, { jobs: 1 })
    await expect(pack()).rejects.toMatchObject({ code: 'LIMIT' })
  })
})
