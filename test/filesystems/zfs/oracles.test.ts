/** Pools before the judges: `zdb` of OpenZFS, and GRUB's own reader. */
import { describe, expect, it } from 'vitest'
import type { ZfsPoolOptions } from '../../../src/filesystems/zfs/index.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { ZDBS, zdb, zdbChecks, zdbOracle } from '../../oracles/zfs.ts'
import { directory, file, many, noise, OPTIONS, sparse, symlink, withPool, xattr, ZOO } from './support.ts'

const STORE_NAME = 'q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6-a-package-of-some-length-'

const TREE = directory({
  zoo: ZOO,
  nix: directory({ store: many(300, (index) => file(`content ${index}`), STORE_NAME) }),
  home: directory({
    'link-144': symlink('a'.repeat(144)),
    'link-145': symlink('a'.repeat(145)),
    'link-and-xattr': symlink('target', { xattrs: [xattr('trusted.x', 'y'.repeat(200))] }),
    mebibyte: file(noise(1 << 20, 9)),
    words: file(Buffer.alloc(500_000, 'compressible words ')),
    tiny: file('x'),
    zeros: file(new Uint8Array(200_000)),
    sparse: sparse(5 * 2 ** 40, { 7: 'near', [4 * 2 ** 40]: noise(300_000, 2) }),
  }),
})

const DATASETS: ZfsPoolOptions['datasets'] = [
  { name: 'tank/system/root', mount: '/', snapshots: [{ name: 'blank', state: 'empty' }] },
  {
    name: 'tank/local/nix',
    mount: '/nix',
    properties: { 'com.sun:auto-snapshot': 'false', atime: 'off' },
    snapshots: [
      { name: 'a', state: 'empty' },
      { name: 'b', state: 'empty' },
      { name: 'full', state: 'populated' },
    ],
  },
  { name: 'tank/home', mount: '/home', properties: { quota: '100M', reservation: '50M', recordsize: '16K', checksum: 'sha256' } },
  { name: 'tank/reserved', properties: { mountpoint: 'none', refreservation: '20M', copies: '2' } },
]

const VARIANTS: readonly (readonly [name: string, more: Partial<ZfsPoolOptions>])[] = [
  ['lz4', {}],
  ['zstd', { properties: { compression: 'zstd-3' } }],
  ['gzip, ashift 9', { properties: { compression: 'gzip' }, ashift: 9 }],
  ['zle, ashift 13, copies 3', { properties: { compression: 'zle', copies: '3' }, ashift: 13 }],
  ['off, ashift 14', { properties: { compression: 'off' }, ashift: 14, size: 512 << 20 }],
  ['127 metaslabs', { size: 64 * 2 ** 30 }],
  ['legacy', { compatibility: 'legacy', properties: { compression: 'off' } }],
  ['legacy with gzip, ashift 9, 2 TiB', { compatibility: 'legacy', properties: { compression: 'gzip-1' }, ashift: 9, size: 2 ** 41 }],
]

describe.skipIf(zdbOracle().skip)('zdb', () => {
  it.each(VARIANTS)('finds nothing wrong: %s', async (_, more) => {
    await withPool(TREE, { ...OPTIONS, datasets: DATASETS ?? [], ...more }, async ({ folder, path, pool }) => {
      for (const program of ZDBS) expect(runOk(program, ['-l', path]).text).toContain('labels = 0 1 2 3')
      for (const { status, text, stderr } of await Promise.all(ZDBS.map((program) => zdbChecks(folder, 'tank', program)))) {
        expect(status, text.slice(-3000) + stderr).toBe(0)
        expect(text).toContain(`txg = ${pool.plan.txgs.last}\n`)
        expect(text).toContain('tank/system/root@blank')
        expect(text).toContain('No leaks (block sum matches space maps exactly)')
      }
    })
  })

  it('sees properties, attributes and links as they were given', async () => {
    await withPool(TREE, { ...OPTIONS, datasets: DATASETS ?? [] }, async ({ folder }) => {
      const dump = async (dataset: string): Promise<string> => (await zdb(['-e', '-p', folder, '-ddddd', dataset])).text
      const [zoo = '', home = '', pool = ''] = await Promise.all(['tank/system/root', 'tank/home', 'tank'].map(dump))
      expect(zoo).toMatch(/path\t\/zoo\/owners\/setuid\n\tuid {5}65536\n[\s\S]*?mode\t104755\n\tsize\t2/)
      expect(zoo).toMatch(/path\t\/zoo\/links\/deeper\/third\n[\s\S]*?links\t3\n/)
      expect(zoo).toMatch(/user\.comment = c{300}/)
      expect(zoo).toMatch(/path\t\/zoo\/devices\/null\n[\s\S]*?mode\t20666\n[\s\S]*?rdev\t0x0*100003/)
      expect(home).toMatch(/path\t\/link-145\n\ttarget\ta{145}\n/)
      expect(home).toMatch(/path\t\/link-and-xattr\n\ttarget\ttarget\n[\s\S]*?trusted\.x = y{200}\n/)
      for (const line of ['com.sun:auto-snapshot = false', 'recordsize = 16384', 'quota = 100M', 'mountpoint = none']) {
        expect(pool).toContain(line)
      }
    })
  })

  it('sees one root directory in snapshots of either state', async () => {
    await withPool(TREE, { ...OPTIONS, datasets: DATASETS ?? [] }, async ({ folder }) => {
      const names = ['tank/local/nix@a', 'tank/local/nix@full', 'tank/local/nix']
      const roots = await Promise.all(names.map((name) => zdb(['-e', '-p', folder, '-ddddd', name, '6'])))
      expect(roots.map(({ text }) => /path\t\/\n[\s\S]*?gen\t(\d+)\n/.exec(text)?.[1])).toEqual(['4', '4', '4'])
    })
  })

  it('has the same bytes for the same input, at any place', async () => {
    const bytes = await withPool(TREE, OPTIONS, async ({ image }) => {
      const parts: Buffer[] = []
      for (const extent of image.extents) for await (const chunk of extent.read()) parts.push(Buffer.from(chunk))
      return Buffer.concat(parts)
    })
    const again = await withPool(TREE, OPTIONS, async ({ image }) => {
      const parts: Buffer[] = []
      for (const extent of image.extents) for await (const chunk of extent.read()) parts.push(Buffer.from(chunk))
      return Buffer.concat(parts)
    })
    expect(again.equals(bytes)).toBe(true)
  })
})

describe.skipIf(oracle('grub-fstest').skip)('GRUB', () => {
  it.each([
    ['legacy', 'off'],
    ['legacy', 'gzip'],
    ['openzfs-2.1-linux', 'lz4'],
  ] as const)('reads files: %s, %s', async (compatibility, compression) => {
    const large = noise(1 << 20, 9)
    const tree = directory({
      hello: file('hello, world\n'),
      boot: directory({ large: file(large), words: file(Buffer.alloc(300_000, 'words ')), many: many(3000, () => file('x'), STORE_NAME) }),
    })
    const properties = { compression }
    await withPool(tree, { ...OPTIONS, compatibility, properties }, ({ path }) => {
      const read = (name: string): Buffer => runOk('grub-fstest', [path, 'cat', `(loop0)/@/${name}`]).stdout
      expect(read('hello').toString()).toBe('hello, world\n')
      expect(read('boot/large').equals(large)).toBe(true)
      expect(read('boot/words').equals(Buffer.alloc(300_000, 'words '))).toBe(true)
      expect(runOk('grub-fstest', [path, 'ls', '(loop0)/@/boot/many/']).text.split(STORE_NAME).length).toBe(3001)
    })
  })
})
