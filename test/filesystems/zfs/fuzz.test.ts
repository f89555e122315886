/**
 * Random trees in pools of random shape, and what lies at the borders of records, maps and names: the reader must find
 * nothing wrong, and what went in.
 *
 *     FUZZ_SECONDS=600 FUZZ_SEED=1000 npx vitest run test/filesystems/zfs/fuzz.test.ts
 */
import { describe, expect, it } from 'vitest'
import { type ZfsDataset, type ZfsPoolOptions, type ZfsProperties, zfsPool } from '../../../src/filesystems/zfs/index.ts'
import { bytesExtent, type Image } from '../../../src/io/image.ts'
import { BufferTarget } from '../../../src/io/target.ts'
import type { Attributes, DirectoryNode, Entry, FileNode, TreeNode } from '../../../src/tree/tree.ts'
import { Dice } from '../../dice.ts'
import { checkZfs, openZfs } from '../../readers/zfs-reader/index.ts'
import { nameHash, readZap } from '../../readers/zfs-reader/zap.ts'
import { type Mounts, partOf, poolDifferences } from './compare.ts'
import { directory, file, many, noise, OPTIONS, symlink, withPool, xattr } from './support.ts'

const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 2)
const FIRST_SEED = Number(process.env['FUZZ_SEED'] ?? 1)
const HANG_MILLISECONDS = 60_000
/** About as many nodes a tree; what comes after them is small. */
const NODES = 300
const EDGES = [0, 1, 95, 104, 112, 113, 511, 512, 513, 4095, 4096, 4097, 16384, 65536, 131071, 131072, 131073, 262144, 400_000]

type NameOf = (dice: Dice) => Uint8Array

const anyName: NameOf = (dice) => {
  const length = dice.chance(10) ? dice.pick([49, 50, 51, 253, 254, 255]) : 1 + dice.below(dice.chance(30) ? 60 : 12)
  const wild = dice.chance(25)
  const name = Uint8Array.from({ length }, () => (wild ? 1 + dice.below(255) : 0x61 + dice.below(26)))
  return name.map((byte) => (byte === 0x2f ? 0x5f : byte))
}

/** Names for file systems that compare other forms of them. */
const plainName: NameOf = (dice) =>
  Buffer.from(Array.from({ length: 6 + dice.below(20) }, () => dice.pick([...'abcdefgXYZ0189-é', 'ü', 'Ж', '中'])).join(''))

class Grower {
  readonly #dice: Dice
  readonly #nameOf: NameOf
  readonly #seen: TreeNode[] = []

  constructor(dice: Dice, nameOf: NameOf) {
    this.#dice = dice
    this.#nameOf = nameOf
  }

  directory(depth: number): DirectoryNode {
    const dice = this.#dice
    const count = dice.chance(8) ? 300 + dice.below(400) : dice.below(depth === 0 ? 60 : 14)
    const names = new Map<string, Uint8Array>()
    for (let i = 0; i < count; i++) {
      const name = this.#nameOf(dice)
      const key = Buffer.from(name).toString('utf8').normalize('NFKC').toUpperCase()
      if (!(name[0] === 0x2e && name.length <= 2) && !names.has(key)) names.set(key, name)
    }
    const entries: Entry[] = [...names.values()].map((name) => ({ name, node: this.#node(depth) }))
    return directory(entries, { ...this.#attributes(), mode: dice.below(0o10000) })
  }

  #node(depth: number): TreeNode {
    const dice = this.#dice
    const seen = this.#seen
    if (seen.length > 0 && dice.chance(6)) return dice.pick(seen)
    if (depth < 5 && seen.length < NODES && dice.chance(20)) return this.directory(depth + 1)
    const node = this.#leaf(seen.length < NODES)
    seen.push(node)
    return node
  }

  #leaf(isLarge: boolean): TreeNode {
    const dice = this.#dice
    const attributes = this.#attributes()
    const kind = dice.below(12)
    if (kind < 8) return isLarge ? this.#file() : file('small', attributes)
    if (kind === 8) return symlink(anyName(dice), { ...attributes, mode: 0o777 })
    if (kind === 9) return symlink(`/${'t'.repeat(dice.pick([1, 142, 143, 144, 145, 300, 4094]))}`, { ...attributes, mode: 0o777 })
    const numbers = { major: dice.below(4096), minor: dice.below(2 ** 20) }
    if (kind === 10) return { kind: dice.pick(['characterDevice', 'blockDevice'] as const), ...attributes, ...numbers }
    return { kind: dice.pick(['fifo', 'socket'] as const), ...attributes }
  }

  #attributes(): Attributes {
    const dice = this.#dice
    const xattrs = Array.from({ length: dice.chance(15) ? 1 + dice.below(4) : 0 }, (_, i) =>
      xattr(
        `${dice.pick(['user', 'trusted', 'security'])}.${i}${'n'.repeat(dice.below(30))}`,
        noise(dice.pick([0, 1, 3, 4, 20, 60, 400, 20_000]), dice.next()),
      ),
    )
    return {
      mode: dice.below(0o10000),
      uid: dice.pick([0, 1000, 65534, 65536, 4000000000]),
      gid: dice.pick([0, 100, 70000]),
      mtimeSeconds: dice.pick([0, 1, -5, 1_700_000_000, 2 ** 31, 2 ** 32 + 7]),
      ...(xattrs.length > 0 ? { xattrs } : {}),
    }
  }

  #file(): FileNode {
    const dice = this.#dice
    const size = dice.chance(50) ? dice.pick(EDGES) + dice.below(2) : dice.below(20_000)
    const bytes = (length: number): Uint8Array => (dice.chance(60) ? noise(length, dice.next()) : Buffer.alloc(length, 'some words '))
    if (!dice.chance(25)) return file(bytes(size), this.#attributes())
    const extents = []
    const whole = dice.chance(5) ? 2 ** 40 + size : size * (1 + dice.below(20))
    for (let at = dice.below(9000); at < whole && extents.length < 40; ) {
      const piece = bytes(Math.min(whole - at, 1 + dice.below(9000)))
      extents.push(bytesExtent(at, piece))
      at += piece.length + dice.pick([0, 1, 4096, dice.below(30_000), 2 ** 33])
    }
    return { ...file('', this.#attributes()), size: whole, content: { kind: 'image', image: { size: whole, extents } } }
  }
}

const COMPRESSIONS = ['on', 'off', 'lz4', 'zle', 'gzip-1', 'gzip']

function randomProperties(dice: Dice, isLegacy: boolean): ZfsProperties {
  const all: ZfsProperties[] = [
    { compression: dice.pick(isLegacy ? COMPRESSIONS.filter((name) => name !== 'lz4') : [...COMPRESSIONS, 'zstd', 'zstd-1', 'zstd-9']) },
    { recordsize: dice.pick(['512', '4K', '16K', '128K', ...(isLegacy ? [] : ['256K', '1M'])]) },
    { checksum: dice.pick(['on', 'fletcher4', 'sha256', 'off']) },
    { copies: dice.pick(['1', '2', '3']) },
    { redundant_metadata: dice.pick(['all', 'most', 'some', 'none']) },
    { 'org.example:note': 'n'.repeat(dice.below(200)) },
    { atime: 'off', xattr: 'sa', acltype: 'posixacl' },
    { mountpoint: 'legacy', 'com.sun:auto-snapshot': 'false' },
    { reservation: '1M', refreservation: dice.pick(['none', '2M']) },
    ...(isLegacy ? [] : [{ filesystem_limit: '100' }]),
  ]
  return Object.assign({}, ...all.filter(() => dice.chance(50)))
}

const FORMS: readonly ZfsProperties[] = [
  { normalization: 'formC' },
  { normalization: 'formKD', casesensitivity: 'insensitive' },
  { casesensitivity: 'mixed' },
  { utf8only: 'on' },
]

interface Case {
  readonly tree: DirectoryNode
  readonly options: ZfsPoolOptions
  readonly mounts: Mounts
}

function randomCase(seed: number): Case {
  const dice = new Dice(seed)
  const compares = dice.chance(20)
  const tree = new Grower(dice, compares ? plainName : anyName).directory(0)
  const compatibility = dice.pick(['openzfs-2.1-linux', 'openzfs-2.1-linux', 'openzfs-2.4-linux', 'legacy', 'grub2'] as const)
  const isLegacy = compatibility === 'legacy' || compatibility === 'grub2'
  const places = tree.entries.flatMap(({ name, node }) => {
    const text = Buffer.from(name).toString()
    return node.kind === 'directory' && Buffer.from(text).equals(name) && !text.includes('.') ? [`/${text}`] : []
  })
  const mounts: Record<string, string> = { 'tank/root': '/' }
  for (const [index, place] of places.filter(() => dice.chance(50)).entries())
    mounts[`tank/${dice.pick(['', 'sub/', 'root/'])}d${index}`] = place
  const snapshots = (): ZfsDataset['snapshots'] => [
    ...Array.from({ length: dice.pick([0, 0, 1, 2]) }, (_, i) => ({ name: `e${i}`, state: 'empty' as const })),
    ...Array.from({ length: dice.pick([0, 0, 1, 2]) }, (_, i) => ({ name: `p${i}`, state: 'populated' as const })),
  ]
  const datasets = Object.entries(mounts).map(([name, mount]) => ({
    name,
    mount,
    snapshots: snapshots() ?? [],
    properties: randomProperties(dice, isLegacy),
  }))
  const options: ZfsPoolOptions = {
    ...OPTIONS,
    seed: `seed ${seed}`,
    size: dice.pick(['auto', 1 << 30, 2 ** 36, 2 ** 41] as const),
    ashift: 9 + dice.below(6),
    compatibility,
    properties: { ...randomProperties(dice, isLegacy), ...(compares ? dice.pick(FORMS) : {}) },
    datasets,
  }
  return { tree, options, mounts }
}

async function expectWhole(tree: DirectoryNode, options: ZfsPoolOptions, mounts: Mounts, message: string): Promise<void> {
  await withPool(tree, options, async ({ path }) => {
    const reading = openZfs(path)
    try {
      expect(checkZfs(reading), message).toEqual([])
      expect(await poolDifferences(reading, tree, mounts), message).toEqual([])
      for (const { name, mount = '/', snapshots = [] } of options.datasets ?? []) {
        const part = partOf(tree, mount, Object.values(mounts))
        for (const { name: own, state } of snapshots) {
          const wanted = state === 'empty' ? { ...part, entries: [] } : part
          expect(await poolDifferences(reading, wanted, { [`${name}@${own}`]: '/' }), message).toEqual([])
        }
      }
    } finally {
      reading.close()
    }
  })
}

it(
  'any tree is clean and whole',
  async () => {
    const end = performance.now() + SECONDS * 1000
    for (let seed = FIRST_SEED; seed < FIRST_SEED + 3 || performance.now() < end; seed++) {
      const { tree, options, mounts } = randomCase(seed)
      await expectWhole(tree, options, mounts, `seed ${seed}`)
    }
  },
  SECONDS * 1000 + HANG_MILLISECONDS,
)

describe('borders', () => {
  const whole = (tree: DirectoryNode, more: Partial<ZfsPoolOptions> = {}): Promise<void> =>
    expectWhole(tree, { ...OPTIONS, ...more }, { tank: '/' }, '')

  it.each(['lz4', 'off', 'zstd'])('sizes around all powers of two, and of pointers that hold their block: %s', async (compression) => {
    const sizes = [
      ...Array.from({ length: 19 }, (_, n) => [2 ** n - 1, 2 ** n, 2 ** n + 1]).flat(),
      ...Array.from({ length: 50 }, (_, n) => 80 + n),
    ]
    const files = [...new Set(sizes)].flatMap((size) => [
      [`noise-${size}`, file(noise(size, size))] as const,
      [`words-${size}`, file(Buffer.alloc(size, 'compressible words '))] as const,
      [`zeros-${size}`, file(new Uint8Array(size))] as const,
    ])
    await whole(directory(Object.fromEntries(files)), { properties: { compression } })
  })

  it.each([0, 1, 2046, 2047, 2048, 2049])('a directory of %i entries', (count) => {
    const twin = file('twin')
    return whole(
      directory({ short: many(count, () => twin), long: many(count, () => twin, 'a name that is longer than a small map can hold it: ') }),
    )
  })

  it('a directory of 30,001 entries', () => {
    const twin = file('twin')
    return whole(many(30_001, (index) => (index % 3 === 0 ? file('') : twin), 'q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6-package-'))
  })

  it.each([1, 48, 49, 50, 51, 254, 255])('names of %i bytes', (length) =>
    whole(
      directory(
        Array.from({ length: 20 }, (_, i) => ({ name: Buffer.from(String.fromCharCode(97 + i).repeat(length)), node: file(`${i}`) })),
      ),
    ),
  )

  it('files with several names, whose contents are in memory or lie in images', () => {
    const image: Image = { size: 300_000, extents: [bytesExtent(5, noise(200_000, 1)), bytesExtent(299_999, Uint8Array.of(1))] }
    const inImage: FileNode = { ...file(''), size: image.size, content: { kind: 'image', image } }
    const inMemory = file(noise(150_000, 2))
    const both = { a: inImage, b: inMemory, c: inImage, d: inMemory }
    return whole(directory({ ...both, first: directory({ ...both, z: inImage }), other: file('between'), second: directory(both) }))
  })

  it('names that differ by case or form', () => whole(directory({ a: file('1'), A: file('2'), é: file('3'), 'e\u0301': file('4') })))
})

/** Names of which all have the same hash, whatever the salt: it is linear, so sums of differences that vanish can be added. */
function sameHashNames(count: number, prefix: string): string[] {
  const positions = 28 + Math.ceil(Math.log2(count))
  const salted = Buffer.from('0100000000000000', 'hex')
  const hashOf = nameHash(salted, 0, 0)
  const nameOf = (bits: bigint): string =>
    prefix + Array.from({ length: positions }, (_, i) => ((bits >> BigInt(i)) & 1n ? 'c' : 'b')).join('')
  const base = hashOf(Buffer.from(nameOf(0n)))
  const pivots = new Map<number, { readonly hash: number; readonly bits: bigint }>()
  const kernel: bigint[] = []
  for (let i = 0; i < positions; i++) {
    let bits = 1n << BigInt(i)
    let hash = hashOf(Buffer.from(nameOf(bits))) ^ base
    for (let found = pivots.get(Math.clz32(hash)); hash !== 0 && found !== undefined; found = pivots.get(Math.clz32(hash))) {
      hash ^= found.hash
      bits ^= found.bits
    }
    if (hash === 0) kernel.push(bits)
    else pivots.set(Math.clz32(hash), { hash, bits })
  }
  return Array.from({ length: count }, (_, index) => nameOf(kernel.reduce((sum, bits, i) => ((index >> i) & 1 ? sum ^ bits : sum), 0n)))
}

describe('names with the same hash', () => {
  const tree = (count: number, prefix: string): DirectoryNode =>
    directory(Object.fromEntries(sameHashNames(count, prefix).map((name, index) => [name, file(`${index}`)])))

  it('are made so', () => {
    const hashOf = nameHash(Buffer.from('fedcba9876543210', 'hex'), 0, 0)
    const names = sameHashNames(1000, 'x')
    expect(new Set(names).size).toBe(1000)
    expect(new Set(names.map((name) => hashOf(Buffer.from(name)))).size).toBe(1)
  })

  it.each([
    ['in one block', 1000, 'x'],
    ['in a leaf', 100, 'a prefix of some length '],
  ])('%s', (_, count, prefix) => expectWhole(tree(count, prefix), OPTIONS, { tank: '/' }, ''))

  it('and one with the differentiator of another is seen', async () => {
    await withPool(tree(10, 'x'), OPTIONS, ({ path }) => {
      const block = contentOf(path)
      expect(readZap(block, block.length).size).toBe(10)
      block.copy(block, 64 + 8, 128 + 8, 128 + 12)
      expect(() => readZap(block, block.length)).toThrow('hash and differentiator of another name')
    })
  })

  it('are refused when no leaf holds them', async () => {
    const pool = zfsPool(tree(4000, 'a prefix of some length '), OPTIONS)
    await expect(pool.pack(new BufferTarget(), 0, { jobs: 1 })).rejects.toMatchObject({ code: 'LIMIT' })
  })
})

describe('a map of many leaves', () => {
  /** The table of leaves fills the second half of the first block, which has 16 KiB here. */
  const blockSize = 16 << 10
  const spoiled = (spoil: (content: Buffer) => void): Promise<() => unknown> =>
    withPool(
      many(1000, () => twin, 'a name that is longer than a small map can hold it: '),
      OPTIONS,
      ({ path }) => {
        const content = contentOf(path)
        spoil(content)
        return () => readZap(content, blockSize)
      },
    )
  const twin = file('')

  it('is read', async () => expect(await spoiled(() => undefined)).not.toThrow())

  it('whose table leads to the wrong leaf is refused', async () => {
    const read = await spoiled((content) => {
      const [first, last] = [blockSize / 2, blockSize - 8]
      const leaf = content.readBigUInt64LE(first)
      content.writeBigUInt64LE(content.readBigUInt64LE(last), first)
      content.writeBigUInt64LE(leaf, last)
    })
    expect(read).toThrow(/has another prefix|does not lead to|do not follow/)
  })

  it('with a name in the wrong bucket is refused', async () => {
    const read = await spoiled((content) => {
      const table = content.subarray(blockSize + 48, blockSize + 48 + 2 * 512)
      table.swap16()
      table.reverse()
    })
    expect(read).toThrow('is in the wrong bucket')
  })

  it('with a chunk that is lost is refused', async () => {
    const read = await spoiled((content) => content.writeUInt16LE(0xffff, blockSize + 34))
    expect(read).toThrow('chunks are lost')
  })
})

/** Of the root directory. */
function contentOf(path: string): Buffer {
  const reading = openZfs(path)
  reading.close()
  const { nodes, root } = reading.fileSystems.get('tank') ?? { nodes: new Map<number, never>(), root: 0 }
  return Buffer.from(nodes.get(root)?.stored.content ?? [])
}
