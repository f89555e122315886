/** Pools as large as their content needs, and those that are too small for it. */
import { describe, expect, it } from 'vitest'
import { type ZfsPoolOptions, zfsPool } from '../../../src/filesystems/zfs/index.ts'
import type { Target } from '../../../src/io/target.ts'
import type { DirectoryNode } from '../../../src/tree/tree.ts'
import { ZDBS, zdb, zdbChecks, zdbOracle } from '../../oracles/zfs.ts'
import { directory, file, many, noise, OPTIONS, sparse, withPool, ZOO } from './support.ts'

const MEBIBYTE = 1 << 20
const AUTO: ZfsPoolOptions = { ...OPTIONS, size: 'auto' }

/** Forgets what is written. */
const NOWHERE: Target = {
  write: async () => undefined,
  read: () => Promise.reject(new Error('nothing is kept')),
  setSize: async () => undefined,
}

const TREE = directory({
  zoo: ZOO,
  names: many(2500, (index) => file(`content ${index}`), 'a name that is longer than those which small maps can hold, by far '),
  noise: file(noise(9 * MEBIBYTE, 1)),
  words: file(Buffer.alloc(40 * MEBIBYTE, 'compressible words ')),
  sparse: sparse(2 ** 40, { 7: 'near', [2 ** 39]: noise(300_000, 2) }),
})

const VARIANTS: readonly (readonly [name: string, more: Partial<ZfsPoolOptions>])[] = [
  ['lz4', {}],
  ['with room', { freeSize: 1000 * MEBIBYTE }],
  ['zstd, ashift 9, two copies', { ashift: 9, properties: { compression: 'zstd-1', copies: '2' } }],
  ['legacy, uncompressed, ashift 14', { compatibility: 'legacy', ashift: 14, properties: { compression: 'off' }, roundTo: 100 * MEBIBYTE }],
  ['large records, more than 64 metaslabs', { freeSize: 6000 * MEBIBYTE, properties: { compression: 'lz4', recordsize: '1M' } }],
  [
    'datasets with snapshots and reservations',
    {
      freeSize: 10 * MEBIBYTE,
      datasets: [
        { name: 'tank/root', mount: '/', snapshots: [{ name: 'blank', state: 'empty' }] },
        { name: 'tank/zoo', mount: '/zoo', properties: { copies: '3' }, snapshots: [{ name: 'full', state: 'populated' }] },
        { name: 'tank/reserved', properties: { refreservation: '300M' } },
        { name: 'tank/more', properties: { reservation: '200M' } },
      ],
    },
  ],
]

describe.skipIf(zdbOracle().skip)('zdb', () => {
  it.each(VARIANTS)('finds nothing wrong: %s', async (_, more) => {
    await withPool(TREE, { ...AUTO, ...more }, async ({ folder, path, pool, image }) => {
      expect(image.size).toBeLessThanOrEqual(pool.sizeLimit)
      expect(image.size % (more.roundTo ?? MEBIBYTE)).toBe(0)
      expect((await zdb(['-l', path])).text).toContain('labels = 0 1 2 3')
      const metaslabSize = 2 ** pool.plan.size.geometry.metaslabShift
      const metaslabCount = Math.floor((image.size - 4.5 * MEBIBYTE) / metaslabSize)
      for (const { status, text, stderr } of await Promise.all(ZDBS.map((program) => zdbChecks(folder, 'tank', program)))) {
        expect(status, text + stderr).toBe(0)
        expect(text).toContain('No leaks (block sum matches space maps exactly)')
        expect(text).toMatch(new RegExp(`^\\s*metaslabs\\s+${metaslabCount} `, 'm'))
      }
    })
  })
})

describe('size auto', () => {
  it('leaves blocks where they are when more is to stay free', async () => {
    const small = await packed(TREE, AUTO)
    const large = await packed(TREE, { ...AUTO, freeSize: 200 * MEBIBYTE })
    expect(large.size).toBeGreaterThan(small.size)
    // All but the labels at the end, whose place is another.
    expect(large.runs.slice(2, -3)).toEqual(small.runs.slice(2, -3))
  })

  it('is no larger than it has to be', async () => {
    const { size } = await packed(directory({ noise: file(noise(40 * MEBIBYTE, 3)) }), AUTO)
    expect(size).toBeLessThan(300 * MEBIBYTE)
    const reserved = {
      datasets: [
        { name: 'tank', mount: '/' },
        { name: 'tank/r', properties: { refreservation: '1G' } },
      ],
    }
    const more = await packed(directory({ noise: file(noise(40 * MEBIBYTE, 3)) }), { ...AUTO, ...reserved })
    expect(more.size).toBeGreaterThan(1024 * MEBIBYTE + 40 * MEBIBYTE + 128 * MEBIBYTE)
    expect(more.size).toBeLessThan(1024 * MEBIBYTE + 400 * MEBIBYTE)
  })

  it('never exceeds its limit, however badly contents compress and names are spread', async () => {
    const trees: Record<string, DirectoryNode> = {
      nothing: directory({}),
      'small files of noise': many(1500, (index) => file(noise(1 + 2 * index, index))),
      'files just above a record': many(60, (index) => file(noise(131_073, index))),
      'long names': many(2500, () => file(''), 'n'.repeat(240)),
      'few long names': directory(
        Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`d${i}`, many(1, () => file(''), 'n'.repeat(200))])),
      ),
      'many owners': many(1500, (index) => file('', { uid: index, gid: 100_000 + index })),
      'holes everywhere': sparseMany(),
    }
    for (const [name, tree] of Object.entries(trees)) {
      for (const more of [{}, { ashift: 14 }, { compatibility: 'legacy', properties: { compression: 'off' } }] as const) {
        const { size, limit, used, bound } = await packed(tree, { ...AUTO, ...more })
        expect(size, name).toBeLessThanOrEqual(limit)
        expect(used, name).toBeLessThanOrEqual(bound)
      }
    }
  })

  it.each([
    ['USAGE', { freeSize: -1 }],
    ['USAGE', { freeSize: 0.5 }],
    ['USAGE', { roundTo: 100_000 }],
    ['LIMIT', { freeSize: 2 ** 47 }],
  ] as const)('%s for %j', (code, more) => {
    expect(() => zfsPool(directory({}), { ...AUTO, ...more })).toThrow(expect.objectContaining({ code }))
  })
})

function sparseMany(): DirectoryNode {
  const parts = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [index * 2 ** 36 + index * 1000, noise(500, index)]))
  return directory({ a: sparse(101 * 2 ** 36, parts), b: sparse(2 ** 41, { [2 ** 40]: 'x' }) })
}

async function packed(tree: DirectoryNode, options: ZfsPoolOptions) {
  const pool = zfsPool(tree, options)
  const { size, extents } = await pool.pack(NOWHERE, 0, { jobs: 2, threads: 'none' })
  const runs = extents.map(({ start, length }) => [start, length])
  // Without the four labels.
  const used = extents.reduce((sum, { length }) => sum + length, 0) - MEBIBYTE
  return { size, limit: pool.sizeLimit, used, bound: pool.plan.size.spaceBound, runs }
}

describe('a pool that is too small', () => {
  const content = directory({ a: file(noise(40 * MEBIBYTE, 4)), b: file(Buffer.alloc(60 * MEBIBYTE, 'words ')) })

  it.each([{}, { ashift: 9 }, { properties: { recordsize: '1M', compression: 'zstd-1' } }])(
    'says so before it is full, with a size that will do: %j',
    async (more) => {
      const options = { ...OPTIONS, ...more, size: 64 * MEBIBYTE }
      const writes: number[] = []
      const target: Target = { ...NOWHERE, write: async (position, bytes) => void writes.push(position + bytes.length) }
      const error: unknown = await zfsPool(content, options)
        .pack(target, 0, { jobs: 1, threads: 'none' })
        .catch((caught: unknown) => caught)
      expect(error).toMatchObject({
        code: 'LIMIT',
        message: expect.stringMatching(/of a pool of 67108864 bytes \d+ are usable.*; give it \d+ MiB/),
      })
      const mebibytes = Number(/give it (\d+) MiB/.exec((error as Error).message)?.[1])
      expect(mebibytes).toBeLessThan(1024)
      await packed(content, { ...options, size: mebibytes * MEBIBYTE })
    },
  )

  it('is refused at planning when not even the metadata fit', () => {
    const node = file('')
    const entries = Array.from({ length: 120_000 }, (_, index) => ({ name: Buffer.from(`${index}`), node: { ...node } }))
    const tree: DirectoryNode = { ...directory({}), entries }
    expect(() => zfsPool(tree, { ...OPTIONS, size: 64 * MEBIBYTE })).toThrow(
      /its metadata and reservations take \d+ at least; give it \d+ MiB/,
    )
  })

  it('is refused when reservations do not fit', async () => {
    const reserve = (property: string): ZfsPoolOptions => ({
      ...OPTIONS,
      datasets: [
        { name: 'tank', mount: '/' },
        { name: 'tank/r', properties: { [property]: '130M' } },
      ],
    })
    expect(() => zfsPool(directory({}), reserve('refreservation'))).toThrow(/reservations/)
    await expect(packed(directory({}), reserve('reservation'))).rejects.toMatchObject({ code: 'LIMIT' })
  })
})
