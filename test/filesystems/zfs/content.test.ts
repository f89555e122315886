/** What pools hold, read back by the reader, which also checks everything else in them. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../../fixtures/unpack.ts'
import type { ZfsPoolOptions } from '../../../src/filesystems/zfs/index.ts'
import { HOST_ATTRIBUTES, scanHost } from '../../../src/tree/scan.ts'
import type { DirectoryNode } from '../../../src/tree/tree.ts'
import { checkZfs, openZfs } from '../../readers/zfs-reader/index.ts'
import { type Mounts, poolDifferences } from './compare.ts'
import { directory, file, many, noise, OPTIONS, sparse, symlink, withPool, xattr, ZOO } from './support.ts'

const STORE_NAME = 'q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6-a-package-of-some-length-'

const TREE = directory({
  zoo: ZOO,
  nix: directory({ store: many(700, (index) => file(`content ${index}`), STORE_NAME) }, { mode: 0o1775, gid: 30000 }),
  home: directory({
    user: directory({
      'link-144': symlink('a'.repeat(144)),
      'link-145': symlink('a'.repeat(145)),
      'link-and-xattr': symlink('target', { xattrs: [xattr('trusted.x', 'y'.repeat(200))] }),
      mebibyte: file(noise(1 << 20, 9)),
      words: file(Buffer.alloc(500_000, 'compressible words ')),
      tiny: file('x'),
      zeros: file(new Uint8Array(200_000)),
      sparse: sparse(5 * 2 ** 40, { 7: 'near', [4 * 2 ** 40]: noise(300_000, 2) }),
    }),
    other: directory({ empty: directory({}), note: file('x'.repeat(3000), { uid: 1000, gid: 100 }) }),
  }),
})

const MOUNTS: Mounts = { 'tank/system/root': '/', 'tank/local/nix': '/nix', 'tank/home': '/home', 'tank/home/user': '/home/user' }
const DATASETS: ZfsPoolOptions['datasets'] = [
  { name: 'tank/system/root', mount: '/', snapshots: [{ name: 'blank', state: 'empty' }] },
  {
    name: 'tank/local/nix',
    mount: '/nix',
    snapshots: [
      { name: 'a', state: 'empty' },
      { name: 'b', state: 'empty' },
      { name: 'full', state: 'populated' },
      { name: 'again', state: 'populated' },
    ],
  },
  { name: 'tank/home', mount: '/home', properties: { quota: '100M', reservation: '50M', recordsize: '16K', checksum: 'sha256' } },
  { name: 'tank/home/user', mount: '/home/user', snapshots: [{ name: 'full', state: 'populated' }] },
  { name: 'tank/reserved', properties: { mountpoint: 'none', refreservation: '20M', copies: '2' } },
]

const VARIANTS: readonly (readonly [name: string, more: Partial<ZfsPoolOptions>])[] = [
  ['lz4', {}],
  ['zstd', { properties: { compression: 'zstd-3' } }],
  ['zstd-9, records of 4 KiB', { properties: { compression: 'zstd-9', recordsize: '4K' } }],
  ['gzip, ashift 9', { properties: { compression: 'gzip' }, ashift: 9 }],
  ['zle, ashift 13, copies 3', { properties: { compression: 'zle', copies: '3' }, ashift: 13 }],
  ['off, ashift 14', { properties: { compression: 'off' }, ashift: 14, size: 512 << 20 }],
  ['without checksums, little metadata twice', { properties: { checksum: 'off', redundant_metadata: 'none' }, size: 'auto' }],
  ['OpenZFS 2.4, records of 1 MiB', { compatibility: 'openzfs-2.4-linux', properties: { recordsize: '1M', filesystem_limit: '10' } }],
  ['grub2', { compatibility: 'grub2' }],
  ['127 metaslabs', { size: 64 * 2 ** 30 }],
  ['a size that is no multiple of 256 KiB', { size: (300 << 20) + 12345 * 512 }],
  ['legacy', { compatibility: 'legacy', properties: { compression: 'off' } }],
  ['legacy with gzip, ashift 9, 2 TiB', { compatibility: 'legacy', properties: { compression: 'gzip-1' }, ashift: 9, size: 2 ** 41 }],
]

describe('a tree that is spread over datasets', () => {
  it.each(VARIANTS)('is there again, and nothing is wrong: %s', async (_, more) => {
    await withPool(TREE, { ...OPTIONS, datasets: DATASETS ?? [], ...more }, async ({ path }) => {
      const reading = openZfs(path)
      expect(checkZfs(reading)).toEqual([])
      expect(await poolDifferences(reading, TREE, MOUNTS)).toEqual([])
      reading.close()
    })
  })

  it('has snapshots without content, and with all of it', async () => {
    await withPool(TREE, { ...OPTIONS, datasets: DATASETS ?? [] }, async ({ path }) => {
      const reading = openZfs(path)
      const nix = TREE.entries.find(({ name }) => Buffer.from(name).toString() === 'nix')?.node as DirectoryNode
      const found = [...reading.sets.keys()].filter((name) => name.includes('@')).sort()
      expect(found).toEqual([
        'tank/home/user@full',
        ...['a', 'again', 'b', 'full'].map((name) => `tank/local/nix@${name}`),
        'tank/system/root@blank',
      ])
      for (const name of ['full', 'again']) expect(await poolDifferences(reading, nix, { [`tank/local/nix@${name}`]: '/' })).toEqual([])
      const empty = { ...nix, entries: [] }
      for (const name of ['a', 'b']) expect(await poolDifferences(reading, empty, { [`tank/local/nix@${name}`]: '/' })).toEqual([])
      expect(await poolDifferences(reading, { ...TREE, entries: [] }, { 'tank/system/root@blank': '/' })).toEqual([])
      reading.close()
    })
  })

  it('and a difference is seen', async () => {
    await withPool(TREE, OPTIONS, async ({ path }) => {
      const reading = openZfs(path)
      const changed = (more: DirectoryNode['entries']): DirectoryNode => ({ ...TREE, entries: [...TREE.entries, ...more] })
      expect(await poolDifferences(reading, TREE, { tank: '/' })).toEqual([])
      expect(await poolDifferences(reading, changed([{ name: Buffer.from('more'), node: file('') }]), { tank: '/' })).toHaveLength(1)
      const swapped = directory({ a: file(noise(5000, 1)), b: file(noise(5000, 2)) }).entries
      await withPool(directory(swapped), OPTIONS, async ({ path: other }) => {
        const own = openZfs(other)
        const wanted = directory({ a: file(noise(5000, 1)), b: file(noise(5000, 3)) })
        expect(await poolDifferences(own, wanted, { tank: '/' })).toEqual(['tank /b: content is different from 0 on, not equal'])
        own.close()
      })
      reading.close()
    })
  })
})

describe('a real closure', () => {
  let folder = ''
  let root: DirectoryNode
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kilnix-zfs-closure-'))
    const small = await unpackSmall(join(folder, 'closure'))
    root = scanHost(small.root, HOST_ATTRIBUTES) as DirectoryNode
  })
  afterAll(() => removeStore(folder))

  it.each(['lz4', 'zstd-1'])('is there again: %s', async (compression) => {
    const datasets = [
      { name: 'tank/root', mount: '/' },
      { name: 'tank/nix', mount: '/nix', properties: { compression } },
    ]
    await withPool(root, { ...OPTIONS, datasets }, async ({ path }) => {
      const reading = openZfs(path)
      expect(checkZfs(reading)).toEqual([])
      expect(await poolDifferences(reading, root, { 'tank/root': '/', 'tank/nix': '/nix' })).toEqual([])
      reading.close()
    })
  })
})
