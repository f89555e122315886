import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/bytes/text.ts'
import { type FatOptions, planFat } from '../../../src/filesystems/fat/index.ts'
import type { DirectoryNode, TreeNode } from '../../../src/tree/tree.ts'
import { directory, file, hole } from './support.ts'

const coded = (code: string) => expect.objectContaining({ code })
const attributes = { mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 1 }

describe('fat: the plan', () => {
  it('places directories, then files, in the order of names and without gaps', () => {
    const tree = directory({ b: file('b'.repeat(700)), a: directory({ z: file('z'), y: directory({}) }), empty: file(''), c: file('c') })
    const plan = planFat(tree, { type: 12, clusterSize: 512 })
    expect(plan.directories.map(({ path, firstCluster, clusterCount }) => [path, firstCluster, clusterCount])).toEqual([
      ['/', 0, 0],
      ['/a', 2, 1],
      ['/a/y', 3, 1],
    ])
    expect(plan.files.map(({ path, firstCluster, clusterCount }) => [path, firstCluster, clusterCount])).toEqual([
      ['/a/z', 4, 1],
      ['/b', 5, 2],
      ['/c', 7, 1],
      ['/empty', 0, 0],
    ])
    expect([plan.clusterCount, plan.usedClusterCount, plan.freeClusterCount]).toEqual([6, 6, 0])
  })

  it('does not hang on the order of entries', () => {
    const tree = directory({ 'one long name': file('1'), 'one long other': file('2'), sub: directory({ x: file('x'), y: file('y') }) })
    const turned: DirectoryNode = { ...tree, entries: tree.entries.toReversed() }
    expect(planFat(turned)).toEqual(planFat(tree))
  })

  it('writes a node under two names twice', () => {
    const shared = file('shared')
    expect(planFat(directory({ A: shared, B: shared })).usedClusterCount).toBe(2)
  })

  it('takes the type by size, as Windows does', () => {
    const typeOf = (mebibytes: number) => planFat(directory({}), { size: mebibytes * 2 ** 20 }).type
    expect([1, 16, 17, 512, 513, 4096].map(typeOf)).toEqual([12, 12, 16, 16, 32, 32])
    const computed = (size: number) => planFat(directory({ X: hole(size) })).type
    expect([0, 15 * 2 ** 20, 20 * 2 ** 20, 500 * 2 ** 20, 600 * 2 ** 20, 5e9 - 1e9].map(computed)).toEqual([12, 12, 16, 16, 32, 32])
  })

  it('takes the cluster size of Windows for a given size, another if the tree does not fit with it', () => {
    const clusterSize = (tree: DirectoryNode, mebibytes: number) => planFat(tree, { size: mebibytes * 2 ** 20 }).clusterSize
    expect([100, 250, 500, 1000, 10_000].map((size) => clusterSize(directory({}), size))).toEqual([2048, 4096, 8192, 4096, 8192])
    const many = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`F${i}`, file('x')]))
    expect(clusterSize(directory({ D: directory(many) }), 100)).toBe(2048)
    expect(clusterSize(directory({ D: directory(many) }), 250)).toBe(4096)
    // 80 MiB hold 50,000 clusters of 1 KiB or less, which are too many for FAT16.
    expect(planFat(directory({ D: directory(many) }), { size: 80 * 2 ** 20 })).toMatchObject({ type: 32, clusterSize: 512 })
  })

  it('begins the data area at a multiple of the cluster size on request', () => {
    for (const type of [12, 16, 32] as const) {
      const plan = planFat(directory({ X: hole(3_000_000) }), { type, clusterSize: 4096, alignData: true })
      expect((plan.firstDataSector * 512) % 4096).toBe(0)
      expect(plan.reservedSectorCount + 2 * plan.sectorsPerFat + plan.rootSectorCount).toBe(plan.firstDataSector)
    }
  })

  it('grows the root directory of FAT12 and FAT16', () => {
    const names = (count: number) => directory(Object.fromEntries(Array.from({ length: count }, (_, i) => [`F${i}`, file('')])))
    expect(planFat(names(512), { type: 12 }).rootEntryCount).toBe(512)
    expect(planFat(names(512), { type: 12, label: 'X' }).rootEntryCount).toBe(528)
    expect(planFat(names(513), { type: 16, sectorSize: 4096 }).rootEntryCount).toBe(640)
    expect(planFat(names(3), { type: 12, rootEntryCount: 1 }).rootEntryCount).toBe(16)
  })
})

describe('fat: computed sizes', () => {
  const trees: Record<string, DirectoryNode> = {
    empty: directory({}),
    esp: directory({
      EFI: directory({ BOOT: directory({ 'BOOTX64.EFI': hole(123_456) }) }),
      loader: directory({ 'loader.conf': file('x') }),
    }),
    large: directory({ initrd: hole(70_000_001), kernel: hole(12_345_678) }),
    huge: directory({ a: hole(2 ** 32 - 1), b: hole(600_000_000) }),
  }
  const options: FatOptions[] = [
    {},
    { type: 12 },
    { type: 16, label: 'ESP' },
    { type: 32 },
    { clusterSize: 512 },
    { clusterSize: 32768 },
    { sectorSize: 4096 },
    { alignData: true },
    { freeSize: 1_000_000 },
  ]
  for (const [name, tree] of Object.entries(trees)) {
    it.each(options.map((option) => [JSON.stringify(option), option] as const))(`is the smallest for ${name}, %s`, (_, option) => {
      let plan: ReturnType<typeof planFat>
      try {
        plan = planFat(tree, option)
      } catch (error) {
        // A huge tree does not fit into the clusters of FAT12 and FAT16.
        expect(error).toEqual(coded('LIMIT'))
        expect((option.type ?? 0) === 12 || (option.type ?? 0) === 16).toBe(true)
        expect(['large', 'huge']).toContain(name)
        return
      }
      const same = planFat(tree, { ...option, size: plan.size, type: plan.type, clusterSize: plan.clusterSize })
      expect(same).toEqual(plan)
      expect(plan.freeClusterCount * plan.clusterSize).toBeGreaterThanOrEqual(option.freeSize ?? 0)
      expect(() => planFat(tree, { ...option, size: plan.size - plan.sectorSize })).toThrow(`needs ${plan.size} bytes`)
    })
  }

  it('is a multiple of roundTo and leaves what was asked for free', () => {
    const plan = planFat(directory({ X: hole(5_000_000) }), { roundTo: 2 ** 20, freeSize: 3_000_000 })
    expect(plan.size).toBe(8 * 2 ** 20)
    expect(plan.freeClusterCount * plan.clusterSize).toBeGreaterThanOrEqual(3_000_000)
  })
})

describe('fat: counts of clusters about the limits of the types', () => {
  const typeOfCount = (count: number) => (count < 4085 ? 12 : count < 65525 ? 16 : 32)

  it.each([
    [4085, 4_000, 4_200],
    [65525, 65_400, 65_700],
  ])('has none within 16 of %i, whatever the size', (limit, from, to) => {
    const counts = new Set<number>()
    for (let sectors = from; sectors < to + 1200; sectors++) {
      for (const clusterSize of [512, undefined]) {
        const options = clusterSize === undefined ? {} : { clusterSize }
        let plan: ReturnType<typeof planFat>
        try {
          plan = planFat(directory({}), { size: sectors * 512, ...options })
        } catch (error) {
          expect(clusterSize).toBe(512)
          expect(error).toEqual(coded('LIMIT'))
          continue
        }
        if (clusterSize === 512) counts.add(plan.clusterCount)
        expect(plan.type).toBe(typeOfCount(plan.clusterCount))
        expect(Math.abs(plan.clusterCount - limit + 0.5)).toBeGreaterThan(16)
      }
    }
    expect(counts).toContain(limit - 17)
    expect(counts).toContain(limit + 17)
  })

  it.each([
    [4068, 12, 4068],
    [4069, 16, 4102],
    [4102, 16, 4102],
    [65508, 16, 65508],
    [65508 + 1, 32, 65542],
  ] as const)('holds %i clusters of files in FAT%i with %i clusters', (needed, type, count) => {
    const plan = planFat(directory({ X: hole(needed * 512) }), { clusterSize: 512 })
    expect([plan.type, plan.clusterCount]).toEqual([type, count])
  })

  it('refuses a type that cannot hold the tree', () => {
    expect(() => planFat(directory({ X: hole(4069 * 512) }), { type: 12, clusterSize: 512 })).toThrow('it has 1 to 4068 clusters')
    expect(() => planFat(directory({ X: hole(4069 * 32768) }), { type: 12 })).toThrow(coded('LIMIT'))
    expect(() => planFat(directory({}), { type: 32, size: 10 << 20 })).toThrow(
      'FAT32 with the tree needs 34099200 bytes, the volume has 10485760',
    )
    expect(() => planFat(directory({}), { type: 12, clusterSize: 512, size: 3 << 20 })).toThrow('no FAT12 with the asked cluster size')
  })
})

describe('fat: what is refused', () => {
  const node = (child: TreeNode): DirectoryNode => directory({ EFI: directory({ x: child }) })

  it.each([
    ['symlink', { kind: 'symlink', ...attributes, target: new Uint8Array(1) }],
    ['blockDevice', { kind: 'blockDevice', ...attributes, major: 1, minor: 1 }],
    ['fifo', { kind: 'fifo', ...attributes }],
    ['socket', { kind: 'socket', ...attributes }],
    ['xattrs', file('x', { xattrs: [{ name: 'user.x', value: new Uint8Array(1) }] })],
  ] as [string, TreeNode][])('%s', (_, child) => {
    expect(() => planFat(node(child))).toThrow(coded('UNSUPPORTED'))
    expect(() => planFat(node(child))).toThrow(/^fat: \/EFI\/x: /)
  })

  it('files of 4 GiB', () => {
    expect(planFat(node(hole(2 ** 32 - 1))).type).toBe(32)
    expect(() => planFat(node(hole(2 ** 32)))).toThrow(
      'fat: /EFI/x: file is 4294967296 bytes, FAT allows 4 GiB - 1; put it on another partition',
    )
  })

  it('names that differ in case only', () => {
    expect(() => planFat(directory({ 'a.txt': file(''), 'A.TXT': file('') }))).toThrow("'A.TXT' and 'a.txt' differ in case only")
  })

  it('directories of more than 65535 entries', () => {
    const names = (count: number) =>
      directory({ D: directory(Object.fromEntries(Array.from({ length: count }, (_, i) => [`F${i}`, file('')]))) })
    expect(planFat(names(65_533)).directories[1]?.entryCount).toBe(65_535)
    expect(() => planFat(names(65_534))).toThrow('fat: /D: 65534 names need 65536 directory entries or more, FAT allows 65535')
    expect(() =>
      planFat(directory({ D: { ...directory({}), entries: new Array(70_000).fill({ name: utf8('X'), node: file('') }) } })),
    ).toThrow('fat: /D: 70000 names')
  })

  it.each([
    [{ size: 1000 }, 'USAGE'],
    [{ size: 0 }, 'USAGE'],
    [{ roundTo: 100 }, 'USAGE'],
    [{ clusterSize: 65536 }, 'UNSUPPORTED'],
    [{ clusterSize: 1536 }, 'UNSUPPORTED'],
    [{ clusterSize: 512, sectorSize: 4096 }, 'UNSUPPORTED'],
    [{ sectorSize: 1024 as 512 }, 'UNSUPPORTED'],
    [{ type: 13 as 12 }, 'UNSUPPORTED'],
    [{ label: 'TWELVE CHARS' }, 'LIMIT'],
    [{ label: 'lower' }, 'USAGE'],
    [{ label: 'A.B' }, 'USAGE'],
    [{ label: '' }, 'USAGE'],
    [{ label: 'Ä' }, 'LIMIT'],
    [{ volumeSerial: 2 ** 32 }, 'USAGE'],
    [{ volumeSerial: -1 }, 'USAGE'],
    [{ hiddenSectors: 0.5 }, 'USAGE'],
    [{ headCount: 256 }, 'USAGE'],
    [{ sectorsPerTrack: 64 }, 'USAGE'],
    [{ freeSize: -1 }, 'USAGE'],
    [{ rootEntryCount: 70_000 }, 'USAGE'],
  ] as [FatOptions, string][])('options %j', (options, code) => {
    expect(() => planFat(directory({}), options)).toThrow(coded(code))
  })
})
