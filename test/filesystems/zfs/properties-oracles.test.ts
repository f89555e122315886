/** Pools of every set of features and with every property before `zdb` of OpenZFS. */
import { describe, expect, it, vi } from 'vitest'
import { Allocator } from '../../../src/filesystems/zfs/allocator.ts'
import type { ZfsCompatibility, ZfsPoolOptions } from '../../../src/filesystems/zfs/index.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { ZDBS, zdb, zdbChecks, zdbOracle } from '../../oracles/zfs.ts'
import { checkZfs, openZfs } from '../../readers/zfs-reader/index.ts'
import { directory, file, many, noise, OPTIONS, withPool } from './support.ts'

/** OpenZFS 2.3 or later; undefined when only an older one is there. */
const NEW_ZDB = ZDBS.find((program) => program.includes('backports'))

const TREE = directory({
  noise: file(noise(3 << 20, 5)),
  odd: file(noise(700_001, 6)),
  words: file(Buffer.alloc(5_000_000, 'words and words ')),
  home: directory({ a: file(noise(100_000, 3)), b: file('b') }),
})

interface SetCase {
  readonly compatibility: ZfsCompatibility
  /** OpenZFS 2.1 does not know all features that are in use. */
  readonly isNew?: boolean
  readonly properties: Readonly<Record<string, string>>
}

const LARGE = { compression: 'lz4', recordsize: '1M', filesystem_limit: '10', snapshot_limit: '5' }
const ALL = { ...LARGE, compression: 'zstd-3', recordsize: '16M', dnodesize: 'auto' }
const SETS: readonly SetCase[] = [
  { compatibility: 'legacy', properties: { compression: 'gzip-1' } },
  { compatibility: 'grub2', properties: LARGE },
  { compatibility: 'grub2-2.06', properties: { compression: 'lz4' } },
  { compatibility: 'grub2-2.12', properties: LARGE },
  { compatibility: 'openzfs-2.0-linux', properties: ALL },
  { compatibility: 'openzfs-2.1-linux', properties: ALL },
  { compatibility: 'openzfs-2.2', isNew: true, properties: ALL },
  { compatibility: 'openzfs-2.3', isNew: true, properties: ALL },
  { compatibility: 'openzfs-2.4', isNew: true, properties: ALL },
]

describe.skipIf(zdbOracle().skip)('zdb', () => {
  it.each(SETS)('finds nothing wrong: compatibility $compatibility', async ({ compatibility, isNew = false, properties }) => {
    const datasets: ZfsPoolOptions['datasets'] = [
      {
        name: 'tank/root',
        mount: '/',
        properties,
        snapshots: [
          { name: 'blank', state: 'empty' },
          { name: 'full', state: 'populated' },
        ],
      },
      { name: 'tank/root/home', mount: '/home', snapshots: [{ name: 'a', state: 'empty' }] },
    ]
    const poolProperties = { compatibility, bootfs: 'tank/root', 'org.example:owner': 'Zoë' }
    await withPool(TREE, { ...OPTIONS, properties: { mountpoint: 'legacy' }, poolProperties, datasets }, async ({ folder }) => {
      const results = await Promise.all(ZDBS.map(async (program) => ({ program, ...(await zdbChecks(folder, 'tank', program)) })))
      for (const { program, status, text, stderr } of results) {
        if (isNew && program !== NEW_ZDB) {
          expect(status).not.toBe(0)
          expect(stderr).toContain('Operation not supported')
          continue
        }
        expect(status, text.slice(-3000) + stderr).toBe(0)
        expect(text).toContain('No leaks (block sum matches space maps exactly)')
        expect(text).toContain('org.example:owner = Zoë\n')
        if (properties['filesystem_limit'] === undefined) continue
        expect(text).toContain('com.joyent:filesystem_count = 1 \n')
        expect(text).toContain('com.joyent:snapshot_count = 3 \n')
      }
    })
  })

  it('sees features that are enabled and disabled by name', async () => {
    const poolProperties = { compatibility: 'legacy', 'feature@large_blocks': 'enabled', 'feature@userobj_accounting': 'enabled' }
    const properties = { mountpoint: 'legacy', recordsize: '512K' }
    await withPool(TREE, { ...OPTIONS, poolProperties, properties }, async ({ folder }) => {
      for (const program of ZDBS) {
        const { status, text, stderr } = await zdbChecks(folder, 'tank', program)
        expect(status, text.slice(-3000) + stderr).toBe(0)
        expect(text).toContain('org.open-zfs:large_blocks = 1 \n')
        expect(text).toContain('org.zfsonlinux:userobj_accounting = 1 \n')
        expect(text).not.toContain('lz4_compress')
      }
    })
  })

  it('sees properties where they belong, and reservations in the space of those above', async () => {
    const properties = {
      'com.sun:auto-snapshot': 'false',
      'my:note': 'grüße',
      atime: 'off',
      canmount: 'noauto',
      checksum: 'sha256',
      mountpoint: '/srv/a b',
      quota: '200M',
      reservation: '100M',
      refquota: '150M',
      refreservation: '60M',
      snapshot_limit: 'none',
      xattr: 'sa',
    }
    const datasets = [
      { name: 'tank/a', properties },
      { name: 'tank/b', mount: '/' },
    ]
    await withPool(TREE, { ...OPTIONS, datasets }, async ({ folder }) => {
      for (const program of ZDBS) {
        const { status, text } = await zdb(['-e', '-p', folder, '-dddd', 'tank'], program)
        expect(status).toBe(0)
        const numbers = `quota = ${200 << 20};reservation = ${100 << 20};refquota = ${150 << 20};refreservation = ${60 << 20}`
        const stored = 'atime = 0;canmount = 2;checksum = 8;xattr = 2;snapshot_limit = (?:18446744073709551615|-1);my:note = grüße'
        const lines = [...numbers.split(';'), ...stored.split(';'), 'mountpoint = /srv/a b', 'com.sun:auto-snapshot = false']
        expect(lines.filter((line) => !new RegExp(`\\n\\t\\t${line} ?\\n`).test(text))).toEqual([])
        const directoryOf = (quota: string): string => new RegExp(`used_bytes = [^:]*quota = ${quota}\\n[^:]*?clones`).exec(text)?.[0] ?? ''
        expect(directoryOf('200M')).toMatch(/used_bytes = 60M\n[\s\S]*reserved = 100M\n[\s\S]*\[REFRSRV\] = 59.9M\n/)
        expect(/used_breakdown\[CHILD_RSRV\] = 40M\n/.test(text)).toBe(true)
      }
    })
  })

  it.each([
    ['openzfs-2.1-linux', '0x10'],
    ['legacy', '0x18'],
  ] as const)('reads space maps of runs that one word cannot describe: %s', async (compatibility, length) => {
    // 40 MiB and more in one metaslab: two words, or three entries of up to 16 MiB.
    const tree = directory({ words: file(Buffer.alloc(40 << 20, 'words and words ')) })
    const options = { ...OPTIONS, compatibility, properties: { compression: 'off' }, ashift: 9, size: 2 ** 30 }
    await withPool(tree, options, async ({ folder }) => {
      for (const program of ZDBS) {
        const { status, text, stderr } = await zdbChecks(folder, 'tank', program)
        expect(status, text.slice(-3000) + stderr).toBe(0)
        expect(text).toContain('No leaks (block sum matches space maps exactly)')
        expect(text).toMatch(new RegExp(`smp_length = ${length}\\s+smp_alloc = 0x2[89a-f][0-9a-f]{5}\\s`))
      }
    })
  })

  it.each([
    ['openzfs-2.1-linux', '0x10'],
    ['legacy', '0x1b08'],
  ] as const)('reads space maps of metaslabs of 16 GiB that are nearly full: %s', async (compatibility, length) => {
    const { allocate } = Allocator.prototype
    const used = 13.5 * 2 ** 30
    const spy = vi.spyOn(Allocator.prototype, 'allocate').mockImplementationOnce(function (this: Allocator, size, copy) {
      // As if other blocks were there, which nothing refers to.
      allocate.call(this, used, 0)
      return allocate.call(this, size, copy)
    })
    const options = { ...OPTIONS, compatibility, properties: { compression: 'off' }, ashift: 9, size: 2 ** 41 }
    try {
      await withPool(directory({ a: file('x') }), options, async ({ folder, path }) => {
        const reading = openZfs(path)
        expect(checkZfs(reading)).toEqual([`space is leaked: ${used} bytes at 0`])
        reading.close()
        const { status, text, stderr } = await zdb(['-e', '-p', folder, '-mm', 'tank'], ZDBS.at(-1))
        expect(status, stderr).toBe(0)
        expect(text).toMatch(
          new RegExp(`spacemap +\\d+ +free +2\\.50G[\\s\\S]*?smp_length = ${length}\\s+smp_alloc = 0x3600[0-9a-f]{5}\\s`),
        )
      })
    } finally {
      spy.mockRestore()
    }
  })

  it('finds snapshots by names in any case where the dataset says so', async () => {
    const long = 'A-snapshot-with-a-name-that-no-small-map-can-hold-because-it-is-long'
    const snapshots = ['Blank', long].map((name) => ({ name, state: 'empty' as const }))
    const properties = { casesensitivity: 'insensitive' }
    const datasets = [
      { name: 'tank/plain', mount: '/home', snapshots: [...snapshots, { name: 'blank', state: 'empty' as const }] },
      { name: 'tank/any', mount: '/', properties, snapshots },
      { name: 'tank/any/below', snapshots: [{ name: 'Full', state: 'populated' as const }] },
    ]
    await withPool(TREE, { ...OPTIONS, datasets }, async ({ folder }) => {
      const hasFound = async (name: string): Promise<boolean> =>
        (await zdb(['-e', '-p', folder, '-d', `tank/${name}`], ZDBS.at(-1))).status === 0
      for (const name of ['plain@blank', `plain@${long}`, `any@${long.toUpperCase()}`, 'any/below@full']) {
        expect(await hasFound(name), name).toBe(true)
      }
      for (const name of ['plain@BLANK', 'any@Blanc']) expect(await hasFound(name), name).toBe(false)
    })
  })

  it.skipIf(NEW_ZDB === undefined)('finds names by the hash of their normal form', async () => {
    const long = 'Some-Package-With-A-Rather-Long-Name-Für-'
    const entries = directory({ Éclair: directory({ 한글: directory({ ﬁle: many(600, () => file(''), long) }) }) })
    const kinds: Record<string, Record<string, string>> = {
      insensitive: { casesensitivity: 'insensitive' },
      c: { normalization: 'formC' },
      d: { normalization: 'formD', casesensitivity: 'insensitive' },
      kd: { normalization: 'formKD', casesensitivity: 'mixed' },
    }
    const datasets = Object.entries(kinds).map(([name, properties]) => ({ name: `tank/${name}`, mount: `/${name}`, properties }))
    const tree = directory(Object.fromEntries(Object.keys(kinds).map((name) => [name, entries])))
    await withPool(tree, { ...OPTIONS, datasets: [{ name: 'tank', mount: '/' }, ...datasets] }, async ({ folder }) => {
      const find = async (dataset: string, name: string): Promise<number> =>
        (await zdb(['-e', '-p', folder, '-O', dataset, name], NEW_ZDB as string)).status
      for (const { name: dataset } of datasets) {
        // Each name on the way is looked up.
        expect(await find(dataset, `Éclair/한글/ﬁle/${long}77`), dataset).toBe(0)
        // These lookups are exact: the hash may be the same, the name is not.
        expect(await find(dataset, 'éclair')).not.toBe(0)
      }
    })
  })
})

describe.skipIf(oracle('grub-fstest').skip)('GRUB', () => {
  it('reads large records in a pool with the features that it knows', async () => {
    const properties = { compression: 'lz4', recordsize: '1M' }
    await withPool(TREE, { ...OPTIONS, compatibility: 'grub2', properties }, ({ path }) => {
      const read = (name: string): Buffer => runOk('grub-fstest', [path, 'cat', `(loop0)/@/${name}`]).stdout
      expect(read('odd').equals(noise(700_001, 6))).toBe(true)
      expect(read('noise').equals(noise(3 << 20, 5))).toBe(true)
      expect(read('words').equals(Buffer.alloc(5_000_000, 'words and words '))).toBe(true)
    })
  })
})
