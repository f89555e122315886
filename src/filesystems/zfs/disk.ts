/** The records of a pool. Sources: OpenZFS 2.1, `include/sys`, the file named beside each; all little endian. */
import { struct } from '../../bytes/struct.ts'

/** spa.h, `blkptr_t`. A copy (`dva_t`) has its size and place in sectors of 512 bytes; its vdev is 0 here. */
export const BLOCK_POINTER = struct('block pointer', 128, {
  allocatedSectors0: [0, 'u32le'],
  sector0: [8, 'u64le'],
  allocatedSectors1: [16, 'u32le'],
  sector1: [24, 'u64le'],
  allocatedSectors2: [32, 'u32le'],
  sector2: [40, 'u64le'],
  /** Less one. */
  logicalSectors: [48, 'u16le'],
  /** Less one. */
  physicalSectors: [50, 'u16le'],
  compression: [52, 'u8'],
  checksum: [53, 'u8'],
  type: [54, 'u8'],
  /** And the flags `BLOCK_POINTER_FLAGS`. */
  level: [55, 'u8'],
  physicalBirthTxg: [72, 'u64le'],
  birthTxg: [80, 'u64le'],
  fill: [88, 'u64le'],
  checksumWords: [96, 'bytes', 32],
})

/** In the byte of the level. */
export const BLOCK_POINTER_FLAGS = { littleEndian: 0x80 } as const

/** spa.h, "Embedded" `blkptr_t`: up to 112 bytes of content in three pieces around two words. */
export const EMBEDDED_POINTER = struct('embedded block pointer', 128, {
  payload0: [0, 'bytes', 48],
  /** Bits 0 to 24 the logical, 25 to 31 the physical size in bytes, each less one. */
  sizes: [48, 'u32le'],
  /** And `EMBEDDED_FLAG`. */
  compression: [52, 'u8'],
  embeddedType: [53, 'u8'],
  type: [54, 'u8'],
  level: [55, 'u8'],
  payload1: [56, 'bytes', 24],
  birthTxg: [80, 'u64le'],
  payload2: [88, 'bytes', 40],
})
export const EMBEDDED_FLAG = 0x80
export const EMBEDDED_PAYLOAD_SIZES = [48, 24, 40] as const
export const EMBEDDED_SIZE_MAXIMUM = 112

/** dnode.h, `dnode_phys_t`, up to its block pointers. */
export const DNODE = struct('dnode', 64, {
  type: [0, 'u8'],
  indirectShift: [1, 'u8'],
  levels: [2, 'u8'],
  blockPointers: [3, 'u8'],
  bonusType: [4, 'u8'],
  checksum: [5, 'u8'],
  compression: [6, 'u8'],
  flags: [7, 'u8'],
  dataSectors: [8, 'u16le'],
  bonusSize: [10, 'u16le'],
  extraSlots: [12, 'u8'],
  maxBlock: [16, 'u64le'],
  used: [24, 'u64le'],
})
export const DNODE_POINTERS_OFFSET = 64
/** A spill block is pointed to from the end of the dnode. */
export const DNODE_SPILL_OFFSET = 384
export const DNODE_BONUS_END = 512
export const DNODE_FLAGS = { usedBytes: 1, userUsedAccounted: 2, spill: 4, userObjectsAccounted: 8 } as const

/** dmu_objset.h, `objset_phys_t`; the log header (zil.h) between the first dnode and the type is zero: no log. */
export const OBJSET = struct('objset', 4096, {
  metaDnode: [0, 'bytes', 512],
  type: [704, 'u64le'],
  flags: [712, 'u64le'],
  userUsedDnode: [1024, 'bytes', 512],
  groupUsedDnode: [1536, 'bytes', 512],
  projectUsedDnode: [2048, 'bytes', 512],
})
export const OBJSET_FLAGS = { userAccounting: 1, userObjectAccounting: 2, projectQuota: 4 } as const

/** uberblock_impl.h, `struct uberblock`; the checksum stands at the end of its slot. */
export const UBERBLOCK = struct('uberblock', 216, {
  magic: [0, 'u64le'],
  version: [8, 'u64le'],
  txg: [16, 'u64le'],
  guidSum: [24, 'u64le'],
  timeSeconds: [32, 'u64le'],
  rootPointer: [40, 'bytes', 128],
  softwareVersion: [168, 'u64le'],
  multihostMagic: [176, 'u64le'],
  multihostDelay: [184, 'u64le'],
  multihostConfig: [192, 'u64le'],
  checkpointTxg: [200, 'u64le'],
  raidzReflow: [208, 'u64le'],
})
export const UBERBLOCK_MAGIC = 0x00bab10c
export const MULTIHOST_MAGIC = 0xa11cea11

/** zio.h, `zio_eck_t`: at the end of each part of a label. */
export const EMBEDDED_CHECKSUM = struct('embedded checksum', 40, {
  magic: [0, 'u64le'],
  checksum: [8, 'bytes', 32],
})
export const EMBEDDED_CHECKSUM_MAGIC = 0x0210da7ab10c7a11n
/** In place of the checksum while it is computed: the place of the part on the device. */
export const CHECKSUM_VERIFIER = struct('checksum verifier', 32, { offset: [0, 'u64le'] })

/** vdev_impl.h, `vdev_label_t`: the places in a label. */
export const LABEL_PARTS = {
  bootEnvironment: { offset: 8 << 10, size: 8 << 10 },
  config: { offset: 16 << 10, size: 112 << 10 },
  uberblocks: { offset: 128 << 10, size: 128 << 10 },
} as const

/** zap_impl.h, `mzap_phys_t` and `mzap_ent_phys_t`. */
export const MICRO_ZAP = struct('micro ZAP', 64, { blockType: [0, 'u64le'], salt: [8, 'u64le'], normalizationFlags: [16, 'u64le'] })
export const MICRO_ZAP_ENTRY = struct('micro ZAP entry', 64, {
  value: [0, 'u64le'],
  collisionDifferentiator: [8, 'u32le'],
  name: [14, 'bytes', 50],
})
/** zap_impl.h, `ZBT_*`. */
export const ZAP_BLOCK_TYPE = { leaf: 1n << 63n, header: (1n << 63n) + 1n, micro: (1n << 63n) + 3n } as const

/** zap_impl.h, `zap_phys_t`; the table of leaves fills the second half of the block. */
export const FAT_ZAP = struct('fat ZAP', 104, {
  blockType: [0, 'u64le'],
  magic: [8, 'u64le'],
  tableBlock: [16, 'u64le'],
  tableBlocks: [24, 'u64le'],
  tableShift: [32, 'u64le'],
  tableNextBlock: [40, 'u64le'],
  tableBlocksCopied: [48, 'u64le'],
  freeBlock: [56, 'u64le'],
  leaves: [64, 'u64le'],
  entries: [72, 'u64le'],
  salt: [80, 'u64le'],
  normalizationFlags: [88, 'u64le'],
  flags: [96, 'u64le'],
})
export const FAT_ZAP_MAGIC = 0x2f52ab2abn

/** zap_leaf.h, `zap_leaf_phys_t`, up to its hash table. */
export const ZAP_LEAF = struct('ZAP leaf', 48, {
  blockType: [0, 'u64le'],
  prefix: [16, 'u64le'],
  magic: [24, 'u32le'],
  freeChunks: [28, 'u16le'],
  entries: [30, 'u16le'],
  prefixLength: [32, 'u16le'],
  freeList: [34, 'u16le'],
  flags: [36, 'u8'],
})
export const ZAP_LEAF_MAGIC = 0x2ab1eaf
/** zap_leaf.h, `ZLF_ENTRIES_CDSORTED`. */
export const ZAP_LEAF_IS_SORTED = 1
/** zap_leaf.h, `zap_leaf_chunk_t`. */
export const ZAP_ENTRY_CHUNK = struct('ZAP entry chunk', 24, {
  chunkType: [0, 'u8'],
  valueIntegerSize: [1, 'u8'],
  next: [2, 'u16le'],
  nameChunk: [4, 'u16le'],
  nameIntegers: [6, 'u16le'],
  valueChunk: [8, 'u16le'],
  valueIntegers: [10, 'u16le'],
  collisionDifferentiator: [12, 'u32le'],
  hash: [16, 'u64le'],
})
export const ZAP_ARRAY_CHUNK = struct('ZAP array chunk', 24, { chunkType: [0, 'u8'], content: [1, 'bytes', 21], next: [22, 'u16le'] })
export const ZAP_CHUNK_TYPE = { array: 251, entry: 252, free: 253 } as const
export const ZAP_CHUNK_END = 0xffff

/** space_map.h, `space_map_phys_t`; the histogram is there when the bonus has room for it. */
export const SPACE_MAP = struct('space map', 320, { object: [0, 'u64le'], length: [8, 'u64le'], allocated: [16, 'u64le'] })
export const SPACE_MAP_PLAIN_SIZE = 24
export const SPACE_MAP_HISTOGRAM = { offset: 64, buckets: 32 } as const

/** bpobj.h, `bpobj_phys_t` up to the version that OpenZFS 2.1 calls V2. */
export const BPOBJ = struct('bpobj', 48, {
  pointers: [0, 'u64le'],
  used: [8, 'u64le'],
  compressed: [16, 'u64le'],
  uncompressed: [24, 'u64le'],
  subobjects: [32, 'u64le'],
  subobjectCount: [40, 'u64le'],
})

/** dsl_deadlist.h, `dsl_deadlist_phys_t`. */
export const DEADLIST = struct('deadlist', 320, { used: [0, 'u64le'], compressed: [8, 'u64le'], uncompressed: [16, 'u64le'] })

/** spa_impl.h, `spa_history_phys_t`. */
export const HISTORY = struct('history', 40, {
  createLength: [0, 'u64le'],
  maximumOffset: [8, 'u64le'],
  begin: [16, 'u64le'],
  end: [24, 'u64le'],
  recordsLost: [32, 'u64le'],
})

/** dsl_dir.h, `dsl_dir_phys_t`. */
export const DSL_DIRECTORY = struct('DSL directory', 256, {
  creationSeconds: [0, 'u64le'],
  headDataset: [8, 'u64le'],
  parent: [16, 'u64le'],
  origin: [24, 'u64le'],
  childMap: [32, 'u64le'],
  used: [40, 'u64le'],
  compressed: [48, 'u64le'],
  uncompressed: [56, 'u64le'],
  quota: [64, 'u64le'],
  reserved: [72, 'u64le'],
  properties: [80, 'u64le'],
  delegation: [88, 'u64le'],
  flags: [96, 'u64le'],
  usedByHead: [104, 'u64le'],
  usedBySnapshots: [112, 'u64le'],
  usedByChildren: [120, 'u64le'],
  usedByChildReservations: [128, 'u64le'],
  usedByReservation: [136, 'u64le'],
  clones: [144, 'u64le'],
})
/** `DD_FLAG_USED_BREAKDOWN`. */
export const DSL_DIRECTORY_HAS_BREAKDOWN = 1

/** dsl_dataset.h, `dsl_dataset_phys_t`. */
export const DSL_DATASET = struct('DSL dataset', 320, {
  directory: [0, 'u64le'],
  previousSnapshot: [8, 'u64le'],
  previousSnapshotTxg: [16, 'u64le'],
  nextSnapshot: [24, 'u64le'],
  snapshotNames: [32, 'u64le'],
  children: [40, 'u64le'],
  creationSeconds: [48, 'u64le'],
  creationTxg: [56, 'u64le'],
  deadlist: [64, 'u64le'],
  referenced: [72, 'u64le'],
  compressed: [80, 'u64le'],
  uncompressed: [88, 'u64le'],
  unique: [96, 'u64le'],
  fileSystemGuid: [104, 'u64le'],
  guid: [112, 'u64le'],
  flags: [120, 'u64le'],
  objset: [128, 'bytes', 128],
  nextClones: [256, 'u64le'],
  properties: [264, 'u64le'],
  userReferences: [272, 'u64le'],
})
/** `DS_FLAG_UNIQUE_ACCURATE` and `DS_FLAG_CI_DATASET`. */
export const DATASET_FLAGS = { uniqueIsAccurate: 4, isCaseInsensitive: 0x10000 } as const

/** sa_impl.h, `sa_hdr_phys_t`; the sizes of the attributes of variable size follow, 16 bits each. */
export const ATTRIBUTE_HEADER = struct('attribute header', 6, {
  magic: [0, 'u32le'],
  /** Bits 0 to 9 the layout, 10 to 15 the size of the header in units of 8 bytes. */
  layoutAndSize: [4, 'u16le'],
})
export const ATTRIBUTE_HEADER_MAGIC = 0x2f505a
