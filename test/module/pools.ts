/** The pools that the kernel gets: as many variants as few disks can have. */
import { createHash } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { utf8 } from '../../src/bytes/text.ts'
import { gpt } from '../../src/disks/gpt/index.ts'
import type { ZfsDataset, ZfsPoolOptions } from '../../src/filesystems/zfs/index.ts'
import { zapHash, zapSalt } from '../../src/filesystems/zfs/zap/entries.ts'
import { packedInPlace } from '../../src/images/packed-in-place.ts'
import { poolPlace, wholeDiskPartitions } from '../../src/images/zfs/layout.ts'
import type { GrowingImage } from '../../src/io/image.ts'
import type { DirectoryNode } from '../../src/tree/tree.ts'
import { directory, file, many, noise, sparse, symlink, TIME, xattr, ZOO } from '../filesystems/zfs/support.ts'

const MIB = 1 << 20
const GIB = 2 ** 30
/** The number of the root directory in every file system. */
const ROOT_OBJECT = 6

export interface PoolCase {
  readonly options: ZfsPoolOptions
  readonly root: DirectoryNode
  /** What the disk holds, when that is more than the pool. */
  readonly disk?: (pool: GrowingImage) => GrowingImage
  /** Bytes of the disk, when it is larger than what it holds. */
  readonly diskSize?: number
  /** Steps of `script.sh` beyond those of all pools. */
  readonly steps: readonly ('send' | 'destroy' | 'upgrade' | 'care' | 'names' | 'grow')[]
}

/** Contents of every kind, one directory of them for each way to compress. */
const CONTENTS = directory({
  mebibyte: file(noise(MIB, 9)),
  odd: file(noise(300_001, 10)),
  words: file(Buffer.alloc(500_000, 'compressible words ')),
  runs: file(Buffer.alloc(400_000, `${'a'.repeat(900)}${'\0'.repeat(5000)}`)),
  zeros: file(new Uint8Array(200_000)),
  tiny: file('x'),
  '100': file('y'.repeat(100)),
  '3000': file('z'.repeat(3000)),
  '20000': file(noise(20_000, 11)),
  '131072': file(noise(131_072, 12)),
  '131073': file(noise(131_073, 13)),
  sparse: sparse(5 * 2 ** 40, { 7: 'near', [4 * 2 ** 40]: noise(300_000, 2) }),
  ...Object.fromEntries([1, 59, 144, 145, 1000, 4095].map((length) => [`link-${length}`, symlink('t'.repeat(length))])),
  'link-with-attribute': symlink('target', { xattrs: [xattr('trusted.x', 'y'.repeat(200))] }),
})

const STORE_NAME = 'q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6-a-package-of-some-length-'
const SNAPSHOTS: ZfsDataset['snapshots'] = [
  { name: 'a', state: 'empty' },
  { name: 'b', state: 'empty' },
  { name: 'full', state: 'populated' },
]

export const MIX: PoolCase = {
  options: {
    name: 'mix',
    seed: 'mix',
    size: 512 * MIB,
    timeSeconds: TIME,
    properties: { mountpoint: 'legacy', compression: 'lz4', atime: 'off', xattr: 'sa', acltype: 'posixacl' },
    poolProperties: { autoexpand: 'on', bootfs: 'mix/system/root' },
    datasets: [
      { name: 'mix/system/root', mount: '/', snapshots: [{ name: 'blank', state: 'empty' }] },
      { name: 'mix/local/nix', mount: '/nix', properties: { 'com.sun:auto-snapshot': 'false' }, snapshots: SNAPSHOTS ?? [] },
      { name: 'mix/home', mount: '/home', properties: { quota: '100M', reservation: '50M', checksum: 'sha256' } },
      { name: 'mix/zstd', mount: '/zstd', properties: { compression: 'zstd-3' } },
      { name: 'mix/gzip', mount: '/gzip', properties: { compression: 'gzip-9', recordsize: '16K' } },
      { name: 'mix/zle', mount: '/zle', properties: { compression: 'zle' } },
      { name: 'mix/off', mount: '/off', properties: { compression: 'off', recordsize: '16K', copies: '2' } },
      { name: 'mix/reserved', properties: { mountpoint: 'none', refreservation: '20M' } },
    ],
  },
  root: directory({
    zoo: ZOO,
    nix: directory({ store: many(1000, (index) => file(`content ${index}`), STORE_NAME) }),
    home: CONTENTS,
    zstd: CONTENTS,
    gzip: CONTENTS,
    zle: CONTENTS,
    off: CONTENTS,
  }),
  steps: ['send', 'destroy', 'upgrade', 'care'],
}

const OLD: PoolCase = {
  options: {
    name: 'old',
    seed: 'old',
    size: 256 * MIB,
    ashift: 9,
    compatibility: 'legacy',
    timeSeconds: TIME,
    properties: { mountpoint: 'legacy', compression: 'gzip', acltype: 'posixacl' },
    datasets: [
      { name: 'old/root', mount: '/', snapshots: [{ name: 'blank', state: 'empty' }] },
      { name: 'old/nix', mount: '/nix', properties: { compression: 'off' }, snapshots: SNAPSHOTS ?? [] },
      { name: 'old/small', mount: '/small', properties: { recordsize: '16K' } },
      { name: 'old/twins', mount: '/twins' },
    ],
  },
  root: directory({
    zoo: ZOO,
    nix: directory({ store: many(1000, (index) => file(`content ${index}`), STORE_NAME), more: CONTENTS }),
    small: CONTENTS,
    twins: directory(Object.fromEntries(collidingNames('old old/twins', 6).map((name) => [name, file(name)]))),
  }),
  steps: ['send', 'upgrade'],
}

/** 16 KiB a block, and directories whose names collide by themselves: some 70 pairs among the 200,000. */
const MANY: PoolCase = {
  options: {
    name: 'many',
    seed: 'many',
    size: 512 * MIB,
    ashift: 14,
    timeSeconds: TIME,
    properties: { mountpoint: 'legacy', compression: 'lz4' },
    datasets: [{ name: 'many/root', mount: '/' }],
  },
  root: directory({ '3000': linked(3000), '60000': linked(60_000), '200000': linked(200_000) }),
  steps: ['names'],
}

const WIDE: PoolCase = {
  options: {
    name: 'wide',
    seed: 'wide',
    size: 100 * GIB,
    timeSeconds: TIME,
    properties: { mountpoint: 'legacy', compression: 'lz4' },
    datasets: [{ name: 'wide/root', mount: '/', snapshots: [{ name: 'full', state: 'populated' }] }],
  },
  root: CONTENTS,
  steps: ['upgrade'],
}

/** The pools over which kernels panic when space maps are not as they should be: more than 64 metaslabs. */
const WIDE_OLD: PoolCase = {
  ...WIDE,
  options: {
    ...WIDE.options,
    name: 'wideold',
    seed: 'wideold',
    compatibility: 'legacy',
    properties: { mountpoint: 'legacy', compression: 'off' },
    datasets: [{ name: 'wideold/root', mount: '/' }],
  },
}

const GROWN: PoolCase = {
  options: {
    name: 'grown',
    seed: 'grown',
    size: 128 * MIB,
    timeSeconds: TIME,
    properties: { mountpoint: 'legacy', compression: 'lz4' },
    datasets: [{ name: 'grown/root', mount: '/' }],
  },
  root: CONTENTS,
  diskSize: 2 * GIB,
  steps: ['grow'],
}

/** A disk that belongs to the pool: ZFS moves the ends of its partitions itself. */
const WHOLE: PoolCase = {
  ...GROWN,
  options: {
    ...GROWN.options,
    name: 'whole',
    seed: 'whole',
    poolProperties: { autoexpand: 'on' },
    datasets: [{ name: 'whole/root', mount: '/' }],
    devicePath: '/dev/disk/by-id/virtio-whole-part1',
    isWholeDisk: true,
  },
  disk: (pool) =>
    packedInPlace({
      partition: pool,
      start: poolPlace('two-disk', 0).start,
      sizeLimit: pool.sizeLimit + poolPlace('two-disk', 0).overhead,
      diskWith: (image) =>
        gpt(wholeDiskPartitions(image, { seed: 'whole', parity: false, sectorSize: 512 }), {
          seed: 'whole',
          size: image.size + poolPlace('two-disk', 0).overhead,
        }),
    }),
}

export const POOLS: readonly PoolCase[] = [MIX, OLD, MANY, WIDE, WIDE_OLD, GROWN, WHOLE]

/** A pool with a byte that is not as it was packed, in a file: scrubs have to find it. */
const DAMAGED_CONTENT = noise(300_000, 21)
export const DAMAGED: PoolCase = {
  options: { ...GROWN.options, name: 'damaged', seed: 'damaged', datasets: [{ name: 'damaged/root', mount: '/' }] },
  root: directory({ whole: file(noise(300_000, 20)), damaged: file(DAMAGED_CONTENT) }),
  steps: [],
}

/** For the disk of the pool above; leaves others alone. */
export async function damageContent(name: string, disk: string): Promise<void> {
  if (name !== DAMAGED.options.name) return
  const bytes = await readFile(disk)
  const place = bytes.indexOf(DAMAGED_CONTENT.subarray(0, 1000))
  if (place < 0) throw new Error('the pool does not hold the content as it is')
  const handle = await open(disk, 'r+')
  await handle.write(Buffer.of((bytes[place] as number) ^ 1), 0, 1, place)
  await handle.close()
}

/** Hard links, so that they are quickly looked up. */
function linked(count: number): DirectoryNode {
  const target = file(`one file with ${count} names`)
  return many(count, () => target, STORE_NAME)
}

/** Pairs of short names with the same hash, in the root directory of a file system. */
function collidingNames(seed: string, pairs: number): string[] {
  const salt = zapSalt(seed, `object ${ROOT_OBJECT}`)
  const names = new Map<number, string>()
  const found: string[] = []
  for (let index = 0; found.length < 2 * pairs; index++) {
    // Names that count upwards differ in few bits, and a CRC tells such names apart.
    const name = createHash('sha256').update(`${index}`).digest('hex').slice(0, 16)
    const hash = zapHash(utf8(name), salt)
    const twin = names.get(hash)
    if (twin !== undefined) found.push(twin, name)
    names.set(hash, name)
  }
  return found
}
