/**
 * The records of ext4, all little endian. Sections are those of the Linux kernel's
 * Documentation/filesystems/ext4 (the file names without `.rst`).
 */
import { struct } from '../../bytes/struct.ts'

export const BLOCK_SIZE = 4096
/** log2(BLOCK_SIZE / 1024). */
export const BLOCK_LOG = 2
export const SECTOR_SIZE = 512
export const SECTORS_PER_BLOCK = BLOCK_SIZE / SECTOR_SIZE
/** As many as one bitmap block has bits for. */
export const BLOCKS_PER_GROUP = BLOCK_SIZE * 8
export const INODES_PER_GROUP_MAXIMUM = BLOCK_SIZE * 8
export const INODE_SIZE = 256
export const INODES_PER_BLOCK = BLOCK_SIZE / INODE_SIZE
export const DESCRIPTOR_SIZE = 64
export const DESCRIPTORS_PER_BLOCK = BLOCK_SIZE / DESCRIPTOR_SIZE
export const FLEX_GROUP_LOG = 4
/** The bitmaps and inode tables of so many groups lie together in the first of them. */
export const GROUPS_PER_FLEX = 1 << FLEX_GROUP_LOG
/** The resize inode maps with 32-bit block numbers. */
export const BLOCK_COUNT_MAXIMUM = 0xffffffff

/** super: "The Super Block". Its place in block 0, after the boot sectors; in a backup it is byte 0. */
export const SUPERBLOCK_OFFSET = 1024
export const superblock = struct('ext4 superblock', 1024, {
  inodeCount: [0x0, 'u32le'],
  blockCountLow: [0x4, 'u32le'],
  reservedBlockCountLow: [0x8, 'u32le'],
  freeBlockCountLow: [0xc, 'u32le'],
  freeInodeCount: [0x10, 'u32le'],
  firstDataBlock: [0x14, 'u32le'],
  blockLog: [0x18, 'u32le'],
  clusterLog: [0x1c, 'u32le'],
  blocksPerGroup: [0x20, 'u32le'],
  clustersPerGroup: [0x24, 'u32le'],
  inodesPerGroup: [0x28, 'u32le'],
  mountTimeSeconds: [0x2c, 'u32le'],
  writeTimeSeconds: [0x30, 'u32le'],
  mountCount: [0x34, 'u16le'],
  /** 0xffff: no check because of a number of mounts. */
  mountCountMaximum: [0x36, 'u16le'],
  magic: [0x38, 'u16le'],
  state: [0x3a, 'u16le'],
  errorBehaviour: [0x3c, 'u16le'],
  minorRevision: [0x3e, 'u16le'],
  checkTimeSeconds: [0x40, 'u32le'],
  checkIntervalSeconds: [0x44, 'u32le'],
  creatorSystem: [0x48, 'u32le'],
  revision: [0x4c, 'u32le'],
  reservedUid: [0x50, 'u16le'],
  reservedGid: [0x52, 'u16le'],
  firstInode: [0x54, 'u32le'],
  inodeSize: [0x58, 'u16le'],
  /** The group in which this copy lies. */
  blockGroup: [0x5a, 'u16le'],
  compatibleFeatures: [0x5c, 'u32le'],
  incompatibleFeatures: [0x60, 'u32le'],
  readOnlyCompatibleFeatures: [0x64, 'u32le'],
  uuid: [0x68, 'bytes', 16],
  volumeName: [0x78, 'bytes', 16],
  lastMounted: [0x88, 'bytes', 64],
  reservedDescriptorBlockCount: [0xce, 'u16le'],
  journalUuid: [0xd0, 'bytes', 16],
  journalInode: [0xe0, 'u32le'],
  journalDevice: [0xe4, 'u32le'],
  lastOrphan: [0xe8, 'u32le'],
  hashSeed: [0xec, 'bytes', 16],
  defaultHashVersion: [0xfc, 'u8'],
  journalBackupType: [0xfd, 'u8'],
  descriptorSize: [0xfe, 'u16le'],
  defaultMountOptions: [0x100, 'u32le'],
  firstMetaBlockGroup: [0x104, 'u32le'],
  creationTimeSeconds: [0x108, 'u32le'],
  /** A copy of the journal inode: its block map, and its size, high half first. */
  journalBlocks: [0x10c, 'bytes', 60],
  journalSizeHigh: [0x148, 'u32le'],
  journalSizeLow: [0x14c, 'u32le'],
  blockCountHigh: [0x150, 'u32le'],
  reservedBlockCountHigh: [0x154, 'u32le'],
  freeBlockCountHigh: [0x158, 'u32le'],
  extraInodeSizeMinimum: [0x15c, 'u16le'],
  extraInodeSizeWanted: [0x15e, 'u16le'],
  flags: [0x160, 'u32le'],
  flexGroupLog: [0x174, 'u8'],
  checksumType: [0x175, 'u8'],
  kibibytesWritten: [0x178, 'u64le'],
  /** Blocks that can never hold files, so that the kernel need not count them. */
  overheadBlockCount: [0x248, 'u32le'],
  checksum: [0x3fc, 'u32le'],
})

export const SUPERBLOCK_MAGIC = 0xef53
/** `state`: cleanly unmounted. */
export const STATE_VALID = 1
/** `errorBehaviour`: go on. */
export const ERRORS_CONTINUE = 1
/** `revision`: inode sizes and features are variable. */
export const REVISION_DYNAMIC = 1
/** `defaultMountOptions`: `user_xattr` and `acl`. */
export const MOUNT_USER_XATTR_ACL = 0x4 | 0x8
/** `flags`: names are hashed as signed characters, as on x86. */
export const FLAG_SIGNED_HASH = 0x1
export const CHECKSUM_TYPE_CRC32C = 1
export const HASH_HALF_MD4 = 1
/** `journalBackupType`: `journalBlocks` is filled in. */
export const JOURNAL_BACKUP_BLOCKS = 1

/** super: "The superblock compatible features flags", and the two like it. */
export const COMPATIBLE = { hasJournal: 0x4, extendedAttributes: 0x8, resizeInode: 0x10, directoryIndex: 0x20 } as const
export const INCOMPATIBLE = { fileType: 0x2, extents: 0x40, is64Bit: 0x80, flexibleGroups: 0x200 } as const
export const READ_ONLY_COMPATIBLE = {
  sparseSuper: 0x1,
  largeFile: 0x2,
  hugeFile: 0x8,
  directoryLinks: 0x20,
  extraInodeSize: 0x40,
  metadataChecksum: 0x400,
} as const

/** group_descr: "Block Group Descriptors". */
export const groupDescriptor = struct('ext4 group descriptor', DESCRIPTOR_SIZE, {
  blockBitmapLow: [0x0, 'u32le'],
  inodeBitmapLow: [0x4, 'u32le'],
  inodeTableLow: [0x8, 'u32le'],
  freeBlockCountLow: [0xc, 'u16le'],
  freeInodeCountLow: [0xe, 'u16le'],
  directoryCountLow: [0x10, 'u16le'],
  flags: [0x12, 'u16le'],
  blockBitmapChecksumLow: [0x18, 'u16le'],
  inodeBitmapChecksumLow: [0x1a, 'u16le'],
  /** Inodes at the end of the table that were never used. */
  unusedInodeCountLow: [0x1c, 'u16le'],
  checksum: [0x1e, 'u16le'],
  blockBitmapHigh: [0x20, 'u32le'],
  inodeBitmapHigh: [0x24, 'u32le'],
  inodeTableHigh: [0x28, 'u32le'],
  blockBitmapChecksumHigh: [0x38, 'u16le'],
  inodeBitmapChecksumHigh: [0x3a, 'u16le'],
})

/** The inode bitmap is not written: no inode of the group is used. */
export const GROUP_INODES_UNINITIALIZED = 0x1
/** The block bitmap is not written: nothing but the group's own metadata is in it. */
export const GROUP_BLOCKS_UNINITIALIZED = 0x2
/** Unused inodes of the table are zero. */
export const GROUP_TABLE_ZEROED = 0x4

/** inodes: "Index Nodes". */
export const inode = struct('ext4 inode', INODE_SIZE, {
  mode: [0x0, 'u16le'],
  uidLow: [0x2, 'u16le'],
  sizeLow: [0x4, 'u32le'],
  accessTime: [0x8, 'u32le'],
  changeTime: [0xc, 'u32le'],
  modificationTime: [0x10, 'u32le'],
  deletionTime: [0x14, 'u32le'],
  gidLow: [0x18, 'u16le'],
  linkCount: [0x1a, 'u16le'],
  /** Sectors of 512 bytes, those of extent tree and attribute block among them. */
  sectorCountLow: [0x1c, 'u32le'],
  flags: [0x20, 'u32le'],
  block: [0x28, 'bytes', 60],
  generation: [0x64, 'u32le'],
  attributeBlockLow: [0x68, 'u32le'],
  sizeHigh: [0x6c, 'u32le'],
  sectorCountHigh: [0x74, 'u16le'],
  attributeBlockHigh: [0x76, 'u16le'],
  uidHigh: [0x78, 'u16le'],
  gidHigh: [0x7a, 'u16le'],
  checksumLow: [0x7c, 'u16le'],
  extraSize: [0x80, 'u16le'],
  checksumHigh: [0x82, 'u16le'],
  changeTimeExtra: [0x84, 'u32le'],
  modificationTimeExtra: [0x88, 'u32le'],
  accessTimeExtra: [0x8c, 'u32le'],
  creationTime: [0x90, 'u32le'],
  creationTimeExtra: [0x94, 'u32le'],
})

/** Bytes of the inode of old; `extraSize` counts from here. */
export const OLD_INODE_SIZE = 128
export const EXTRA_INODE_SIZE = 32
/** What is left of an inode for extended attributes. */
export const INODE_ATTRIBUTES_OFFSET = OLD_INODE_SIZE + EXTRA_INODE_SIZE
export const INODE_BLOCK_SIZE = 60

export const INODE_FLAG_INDEX = 0x1000
export const INODE_FLAG_EXTENTS = 0x80000

/** inodes: "i_mode", the file type in the high bits; dir: the type in directory entries. */
export const FILE_TYPES = {
  fifo: { mode: 0x1000, entry: 5 },
  characterDevice: { mode: 0x2000, entry: 3 },
  directory: { mode: 0x4000, entry: 2 },
  blockDevice: { mode: 0x6000, entry: 4 },
  file: { mode: 0x8000, entry: 1 },
  symlink: { mode: 0xa000, entry: 7 },
  socket: { mode: 0xc000, entry: 6 },
} as const

/** special_inodes: "Special inodes". */
export const BAD_BLOCKS_INODE = 1
export const ROOT_INODE = 2
export const RESIZE_INODE = 7
export const JOURNAL_INODE = 8
export const FIRST_INODE = 11
/** By custom the first that is not special. */
export const LOST_AND_FOUND_INODE = FIRST_INODE
export const LOST_AND_FOUND_BLOCK_COUNT = 4

/** Of directories: with more, the count is 1, which says that it is not kept (dir_nlink). Of others: the limit. */
export const LINK_COUNT_MAXIMUM = 65000
/** Signed 32 bits, and two more that count up only (inodes: "Inode Timestamps"). */
export const TIME_MINIMUM = -(2 ** 31)
export const TIME_MAXIMUM = 2 ** 34 - 2 ** 31 - 1

/** ifork: "Extent Tree". */
export const extentHeader = struct('ext4 extent header', 12, {
  magic: [0, 'u16le'],
  entryCount: [2, 'u16le'],
  entryCountMaximum: [4, 'u16le'],
  /** 0 for leaves. */
  depth: [6, 'u16le'],
  generation: [8, 'u32le'],
})
export const EXTENT_MAGIC = 0xf30a

export const extentIndex = struct('ext4 extent index', 12, {
  firstFileBlock: [0, 'u32le'],
  nodeBlockLow: [4, 'u32le'],
  nodeBlockHigh: [8, 'u16le'],
})

export const extent = struct('ext4 extent', 12, {
  firstFileBlock: [0, 'u32le'],
  blockCount: [4, 'u16le'],
  firstBlockHigh: [6, 'u16le'],
  firstBlockLow: [8, 'u32le'],
})
/** More would mean an unwritten extent. */
export const EXTENT_BLOCK_COUNT_MAXIMUM = 32768
export const EXTENTS_IN_INODE = (INODE_BLOCK_SIZE - extentHeader.size) / extent.size
/** A checksum of 4 bytes follows them. */
export const EXTENTS_IN_BLOCK = Math.floor((BLOCK_SIZE - extentHeader.size - 4) / extent.size)
export const EXTENT_CHECKSUM_OFFSET = extentHeader.size + EXTENTS_IN_BLOCK * extent.size
/** File block numbers have 32 bits, and the last one is no file's. */
export const FILE_BLOCK_COUNT_MAXIMUM = 0xffffffff

/** dir: "Linear (Classic) Directories". The name follows, and zeros up to a multiple of 4. */
export const directoryEntry = struct('ext4 directory entry', 8, {
  inode: [0, 'u32le'],
  recordLength: [4, 'u16le'],
  nameLength: [6, 'u8'],
  fileType: [7, 'u8'],
})

/** dir: "struct ext4_dir_entry_tail", which looks like an unused entry. */
export const directoryTail = struct('ext4 directory tail', 12, {
  inode: [0, 'u32le'],
  recordLength: [4, 'u16le'],
  nameLength: [6, 'u8'],
  fileType: [7, 'u8'],
  checksum: [8, 'u32le'],
})
export const DIRECTORY_TAIL_TYPE = 0xde
/** For entries in a leaf block. */
export const DIRECTORY_LEAF_SIZE = BLOCK_SIZE - directoryTail.size

/** dir: "Hash Tree Directories": after the entries `.` and `..` of the root block. */
export const hashTreeRoot = struct('ext4 hash tree root', 8, {
  reserved: [0, 'u32le'],
  hashVersion: [4, 'u8'],
  infoLength: [5, 'u8'],
  indirectLevels: [6, 'u8'],
  flags: [7, 'u8'],
})
export const HASH_TREE_ROOT_OFFSET = 24
/** The first entry's place: its hash is 0 and not stored. */
export const hashTreeCount = struct('ext4 hash tree count', 8, {
  limit: [0, 'u16le'],
  count: [2, 'u16le'],
  block: [4, 'u32le'],
})
export const hashTreeEntry = struct('ext4 hash tree entry', 8, { hash: [0, 'u32le'], block: [4, 'u32le'] })
export const hashTreeTail = struct('ext4 hash tree tail', 8, { reserved: [0, 'u32le'], checksum: [4, 'u32le'] })
/** Of a block's entries, the count among them. */
export const HASH_TREE_ROOT_ENTRIES_OFFSET = HASH_TREE_ROOT_OFFSET + hashTreeRoot.size
export const HASH_TREE_NODE_ENTRIES_OFFSET = directoryEntry.size
export const HASH_TREE_ROOT_LIMIT = (BLOCK_SIZE - HASH_TREE_ROOT_ENTRIES_OFFSET - hashTreeTail.size) / hashTreeEntry.size
export const HASH_TREE_NODE_LIMIT = (BLOCK_SIZE - HASH_TREE_NODE_ENTRIES_OFFSET - hashTreeTail.size) / hashTreeEntry.size

/** attributes: "Extended Attributes". */
export const attributeHeader = struct('ext4 attribute block header', 32, {
  magic: [0, 'u32le'],
  referenceCount: [4, 'u32le'],
  blockCount: [8, 'u32le'],
  hash: [12, 'u32le'],
  checksum: [16, 'u32le'],
})
export const ATTRIBUTE_MAGIC = 0xea020000

/** The name follows, and zeros up to a multiple of 4. */
export const attributeEntry = struct('ext4 attribute entry', 16, {
  nameLength: [0, 'u8'],
  nameIndex: [1, 'u8'],
  /** In a block from its beginning, in an inode from the first entry. */
  valueOffset: [2, 'u16le'],
  valueInode: [4, 'u32le'],
  valueSize: [8, 'u32le'],
  hash: [12, 'u32le'],
})

/** journal: "Super Block", big endian. */
export const journalSuperblock = struct('jbd2 superblock', 1024, {
  magic: [0x0, 'u32be'],
  blockType: [0x4, 'u32be'],
  transaction: [0x8, 'u32be'],
  blockSize: [0xc, 'u32be'],
  blockCount: [0x10, 'u32be'],
  firstLogBlock: [0x14, 'u32be'],
  firstTransaction: [0x18, 'u32be'],
  /** 0: the journal is empty. */
  start: [0x1c, 'u32be'],
  uuid: [0x30, 'bytes', 16],
  userCount: [0x40, 'u32be'],
})
export const JOURNAL_MAGIC = 0xc03b3998
export const JOURNAL_SUPERBLOCK_V2 = 4
