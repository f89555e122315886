/** Records of a qcow2 image (QEMU, docs/interop/qcow2.rst); all numbers are big endian. */

import { struct } from '../../bytes/struct.ts'
import { ascii } from '../../bytes/text.ts'

/** Section "Header", with the additional field of version 3, padded to a multiple of 8. */
export const header = struct('qcow2 header', 112, {
  magic: [0, 'u32be'],
  version: [4, 'u32be'],
  backingFileOffset: [8, 'u64be'],
  backingFileSize: [16, 'u32be'],
  clusterBits: [20, 'u32be'],
  /** Bytes of the virtual disk. */
  size: [24, 'u64be'],
  cryptMethod: [32, 'u32be'],
  l1Size: [36, 'u32be'],
  l1TableOffset: [40, 'u64be'],
  refcountTableOffset: [48, 'u64be'],
  refcountTableClusters: [56, 'u32be'],
  snapshotCount: [60, 'u32be'],
  snapshotsOffset: [64, 'u64be'],
  incompatibleFeatures: [72, 'u64be'],
  compatibleFeatures: [80, 'u64be'],
  autoclearFeatures: [88, 'u64be'],
  refcountOrder: [96, 'u32be'],
  headerLength: [100, 'u32be'],
  compressionType: [104, 'u8'],
})

/** Bytes of a version 2 header; the fields after them do not exist there. */
export const HEADER_SIZE_V2 = 72
/** The least of version 3. */
export const HEADER_SIZE_V3 = 104

/** `QFI` and 0xfb. */
export const MAGIC = 0x514649fb

export const CLUSTER_BITS = { minimum: 9, maximum: 21, default: 16 } as const

/** Bits of `incompatibleFeatures`. */
export const INCOMPATIBLE = { dirty: 1, corrupt: 2, externalData: 4, compressionType: 8, extendedL2: 16 } as const

export const COMPRESSION_TYPE = { zlib: 0, zstd: 1 } as const

/** QEMU compresses with this window and inflates with no larger one. */
export const ZLIB_WINDOW_BITS = 12

/** log2 of the bits of a reference count: 16, as version 2 has always. */
export const REFCOUNT_ORDER = 4
export const REFCOUNT_SIZE = 2

/** Bytes of an entry of the L1, L2 and refcount tables. */
export const ENTRY_SIZE = 8

/** What QEMU is willing to open (block/qcow2.h), which is less than the format holds. */
export const L1_TABLE_LIMIT = 32 << 20
export const REFCOUNT_TABLE_LIMIT = 8 << 20

/** Sections "L1 table entry", "L2 table entry": the high word of an entry. */
export const HIGH = {
  /** The cluster's reference count is exactly one. */
  copied: 0x80000000,
  compressed: 0x40000000,
  /** Bits 32 to 55 of an offset. */
  offset: 0x00ffffff,
} as const

/** Section "Extended L2 Entries": so many subclusters, whose bits follow the entry: allocated in the low word, zero in the high one. */
export const SUBCLUSTER_COUNT = 32
export const EXTENDED_ENTRY_SIZE = 16
/** The least of images with such entries. */
export const EXTENDED_CLUSTER_BITS = 14

/** Section "Snapshots": what every entry of the table begins with; extra data, id and name follow, up to a multiple of 8. */
export const snapshot = struct('qcow2 snapshot', 40, {
  l1TableOffset: [0, 'u64be'],
  l1Size: [8, 'u32be'],
  idSize: [12, 'u16be'],
  nameSize: [14, 'u16be'],
  extraSize: [36, 'u32be'],
})
/** Of the extra data, where there are so many: the disk's size at that time. */
export const snapshotExtra = struct('qcow2 snapshot extra data', 16, { size: [8, 'u64be'] })
/** QEMU takes no more (block/qcow2.h). */
export const SNAPSHOT_LIMIT = 65536
export const SNAPSHOT_EXTRA_LIMIT = 1024

/** Bit 0 of a standard descriptor: the cluster reads as zeros. */
export const LOW_ZERO = 1

/** "Compressed Clusters Descriptor": so many low bits are the host offset, the rest below bit 62 counts further sectors. */
export function compressedOffsetBits(clusterBits: number): number {
  return 62 - (clusterBits - 8)
}

/** Sections "Header extensions" and "Feature name table". */
const FEATURE_NAME_TABLE = 0x6803f857
export const extension = struct('qcow2 header extension', 8, { type: [0, 'u32be'], length: [4, 'u32be'] })
const featureName = struct('qcow2 feature name', 48, { kind: [0, 'u8'], bit: [1, 'u8'], name: [2, 'bytes', 46] })

/** Extensions whose data are a name: of the backing file's format, and of the external data file. */
export const BACKING_FORMAT = 0xe2792aca
export const DATA_FILE = 0x44415441

/** Kind (0 incompatible, 1 compatible, 2 autoclear), bit and name, as qemu-img writes them. */
const FEATURES = [
  [0, 0, 'dirty bit'],
  [0, 1, 'corrupt bit'],
  [0, 2, 'external data file'],
  [0, 3, 'compression type'],
  [0, 4, 'extended L2 entries'],
  [1, 0, 'lazy refcounts'],
  [2, 0, 'bitmaps'],
  [2, 1, 'raw external data'],
] as const

/** The header extensions: the feature name table and the end. With the header they are 512 bytes, the smallest cluster. */
export function headerExtensions(): Uint8Array {
  const names = FEATURES.map(([kind, bit, name]) => featureName.encode({ kind, bit, name: ascii(name, 'qcow2 feature') }))
  const start = extension.encode({ type: FEATURE_NAME_TABLE, length: names.length * featureName.size })
  return new Uint8Array(Buffer.concat([start, ...names, extension.encode({ type: 0, length: 0 })]))
}
