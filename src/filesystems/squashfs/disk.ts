/** Every record of SquashFS 4.0, all little endian; sections are those of "Squashfs Binary Format". */
import { struct } from '../../bytes/struct.ts'

export const U32_MAXIMUM = 0xffffffff
/** Largest unsigned 16 bit number. */
export const U16_MAXIMUM = 0xffff

/** Section 2.2, Packing Metadata: metadata is cut into blocks of this many bytes before compression. */
export const METADATA_BLOCK_SIZE = 8192
/** In the 16 bit header of a metadata block: stored as it is. */
export const METADATA_UNCOMPRESSED = 0x8000
/** The kernel reads whole device blocks; 4 KiB suits all of them (section 2, Overview). */
export const IMAGE_ALIGNMENT = 4096

/** Section 3, The Superblock. */
export const MAGIC = 0x73717368
export const VERSION_MAJOR = 4
export const VERSION_MINOR = 0
export const BLOCK_SIZE_MINIMUM = 4096
export const BLOCK_SIZE_MAXIMUM = 1048576
/** Where a table lies that is not there. */
export const NO_TABLE = 0xffffffffffffffffn

/** `none` is gzip of which every block is stored as it is: the format has no number for it. */
export const COMPRESSOR = { gzip: 1, xz: 4, lz4: 5, zstd: 6, none: 1 } as const

export const FLAG = {
  inodesUncompressed: 0x0001,
  dataUncompressed: 0x0002,
  fragmentsUncompressed: 0x0008,
  noFragments: 0x0010,
  deduplicated: 0x0040,
  exportable: 0x0080,
  xattrsUncompressed: 0x0100,
  noXattrs: 0x0200,
  compressorOptions: 0x0400,
  idsUncompressed: 0x0800,
} as const

export const superblock = struct('squashfs superblock', 96, {
  magic: [0, 'u32le'],
  inodeCount: [4, 'u32le'],
  modificationTimeSeconds: [8, 'u32le'],
  blockSize: [12, 'u32le'],
  fragmentCount: [16, 'u32le'],
  compressor: [20, 'u16le'],
  blockLog: [22, 'u16le'],
  flags: [24, 'u16le'],
  idCount: [26, 'u16le'],
  versionMajor: [28, 'u16le'],
  versionMinor: [30, 'u16le'],
  /** An inode reference, see `REFERENCE_BLOCK_FACTOR`. */
  rootInode: [32, 'u64le'],
  /** Without the padding at the end. */
  bytesUsed: [40, 'u64le'],
  idTable: [48, 'u64le'],
  xattrTable: [56, 'u64le'],
  inodeTable: [64, 'u64le'],
  directoryTable: [72, 'u64le'],
  fragmentTable: [80, 'u64le'],
  exportTable: [88, 'u64le'],
})

/** Section 3.1, Compression Options: one uncompressed metadata block right after the superblock. */
export const gzipOptions = struct('squashfs gzip options', 8, {
  compressionLevel: [0, 'u32le'],
  windowSize: [4, 'u16le'],
  /** Bits of tried strategies; 0 is zlib's default alone. */
  strategies: [6, 'u16le'],
})
export const GZIP_DEFAULT_LEVEL = 9
export const GZIP_WINDOW_LOG = 15

export const xzOptions = struct('squashfs xz options', 8, {
  dictionarySize: [0, 'u32le'],
  filters: [4, 'u32le'],
})

export const lz4Options = struct('squashfs lz4 options', 8, {
  version: [0, 'u32le'],
  flags: [4, 'u32le'],
})
/** Blocks without a frame. */
export const LZ4_VERSION_LEGACY = 1
export const LZ4_HIGH_COMPRESSION = 1

export const zstdOptions = struct('squashfs zstd options', 4, {
  compressionLevel: [0, 'u32le'],
})
export const ZSTD_DEFAULT_LEVEL = 15

/** Section 5, Inode Table: numbers of the basic types; an extended type is `EXTENDED` further on. */
export const INODE_TYPE = {
  directory: 1,
  file: 2,
  symlink: 3,
  blockDevice: 4,
  characterDevice: 5,
  fifo: 6,
  socket: 7,
} as const
export const EXTENDED = 7

/**
 * A reference is the position of a metadata block on disk, from the start of its table, times this, plus
 * an offset into the block's uncompressed bytes (section 2.2).
 */
export const REFERENCE_BLOCK_FACTOR = 0x10000

/** In place of a fragment index or xattr index: there is none. */
export const NO_INDEX = 0xffffffff
/** In the size word of a data or fragment block: stored as it is (section 4). */
export const DATA_UNCOMPRESSED = 1 << 24

/** Section 5.1, Common Inode Header. */
const INODE_HEADER = {
  type: [0, 'u16le'],
  permissions: [2, 'u16le'],
  uidIndex: [4, 'u16le'],
  gidIndex: [6, 'u16le'],
  modificationTimeSeconds: [8, 'u32le'],
  inodeNumber: [12, 'u32le'],
} as const

/** Section 5.2, Directory Inodes. */
export const basicDirectory = struct('squashfs directory inode', 32, {
  ...INODE_HEADER,
  blockIndex: [16, 'u32le'],
  linkCount: [20, 'u32le'],
  /** `LISTING_SIZE_EXTRA` more than the listing has bytes. */
  fileSize: [24, 'u16le'],
  blockOffset: [26, 'u16le'],
  parentInode: [28, 'u32le'],
})
/** The kernel counts the entries `.` and `..`, which are not stored, as three bytes. */
export const LISTING_SIZE_EXTRA = 3

/** `indexCount` directory index records follow. */
export const extendedDirectory = struct('squashfs extended directory inode', 40, {
  ...INODE_HEADER,
  linkCount: [16, 'u32le'],
  fileSize: [20, 'u32le'],
  blockIndex: [24, 'u32le'],
  parentInode: [28, 'u32le'],
  indexCount: [32, 'u16le'],
  blockOffset: [34, 'u16le'],
  xattrIndex: [36, 'u32le'],
})

/** Section 5.3, File Inodes: the size words of the blocks follow, 32 bits each. */
export const basicFile = struct('squashfs file inode', 32, {
  ...INODE_HEADER,
  blocksStart: [16, 'u32le'],
  fragmentIndex: [20, 'u32le'],
  blockOffset: [24, 'u32le'],
  fileSize: [28, 'u32le'],
})

export const extendedFile = struct('squashfs extended file inode', 56, {
  ...INODE_HEADER,
  blocksStart: [16, 'u64le'],
  fileSize: [24, 'u64le'],
  /** Bytes in blocks of zeros; the kernel takes them off `st_blocks`. */
  sparse: [32, 'u64le'],
  linkCount: [40, 'u32le'],
  fragmentIndex: [44, 'u32le'],
  blockOffset: [48, 'u32le'],
  xattrIndex: [52, 'u32le'],
})

/** Section 5.4, Symbolic Links: the target follows, and after it `xattrIndex` where the type is extended. */
export const symlinkInode = struct('squashfs symlink inode', 24, {
  ...INODE_HEADER,
  linkCount: [16, 'u32le'],
  targetSize: [20, 'u32le'],
})
export const symlinkTrailer = struct('squashfs extended symlink inode', 4, {
  xattrIndex: [0, 'u32le'],
})

/** Section 5.5, Device Special Files. */
export const basicDevice = struct('squashfs device inode', 24, {
  ...INODE_HEADER,
  linkCount: [16, 'u32le'],
  deviceNumber: [20, 'u32le'],
})
export const extendedDevice = struct('squashfs extended device inode', 28, {
  ...INODE_HEADER,
  linkCount: [16, 'u32le'],
  deviceNumber: [20, 'u32le'],
  xattrIndex: [24, 'u32le'],
})

/** Section 5.6, IPC Inodes (FIFO or Socket). */
export const basicIpc = struct('squashfs fifo or socket inode', 20, {
  ...INODE_HEADER,
  linkCount: [16, 'u32le'],
})
export const extendedIpc = struct('squashfs extended fifo or socket inode', 24, {
  ...INODE_HEADER,
  linkCount: [16, 'u32le'],
  xattrIndex: [20, 'u32le'],
})

/** Section 6, Directory Table. */
export const directoryHeader = struct('squashfs directory header', 12, {
  /** One less than there are entries. */
  count: [0, 'u32le'],
  /** Position in the inode table of the metadata block that holds the inodes of all entries. */
  start: [4, 'u32le'],
  inodeNumber: [8, 'u32le'],
})
export const DIRECTORY_HEADER_ENTRIES_MAXIMUM = 256

/** The name follows. */
export const directoryEntry = struct('squashfs directory entry', 8, {
  offset: [0, 'u16le'],
  /** Inode number less that of the header: 16 bits, two's complement. */
  inodeOffset: [2, 'u16le'],
  /** A basic type, also where the inode is extended. */
  type: [4, 'u16le'],
  /** One less than the name has bytes. */
  nameSize: [6, 'u16le'],
})
export const INODE_OFFSET_MINIMUM = -32768
export const INODE_OFFSET_MAXIMUM = 32767

/** Section 6.1, Directory Index: the name of the first entry after a directory header follows. */
export const directoryIndex = struct('squashfs directory index', 12, {
  /** Bytes from the listing's start to that header. */
  index: [0, 'u32le'],
  /** Position in the directory table of the metadata block that holds that header. */
  start: [4, 'u32le'],
  nameSize: [8, 'u32le'],
})

/** Section 7, Fragment Table. */
export const fragmentEntry = struct('squashfs fragment entry', 16, {
  start: [0, 'u64le'],
  size: [8, 'u32le'],
})

/** Section 8, Export Table: one inode reference an inode number. */
export const exportEntry = struct('squashfs export entry', 8, {
  inode: [0, 'u64le'],
})

/** Section 9, ID Table. */
export const idEntry = struct('squashfs id entry', 4, {
  id: [0, 'u32le'],
})

/** Section 10, Extended Attribute Table: the rest of the name follows. */
export const xattrKey = struct('squashfs xattr key', 4, {
  type: [0, 'u16le'],
  nameSize: [2, 'u16le'],
})
/** Prefixes by their type number. */
export const XATTR_PREFIXES = ['user.', 'trusted.', 'security.'] as const

/** The value follows. */
export const xattrValue = struct('squashfs xattr value', 4, {
  valueSize: [0, 'u32le'],
})

export const xattrId = struct('squashfs xattr id', 16, {
  reference: [0, 'u64le'],
  count: [8, 'u32le'],
  /** Bytes of all names with prefix and a final zero, and of all values: as mksquashfs counts, for `st_blocks`. */
  size: [12, 'u32le'],
})

/** What the superblock's `xattrTable` points to; positions of the id table's metadata blocks follow. */
export const xattrTableHeader = struct('squashfs xattr table header', 16, {
  keysStart: [0, 'u64le'],
  idCount: [8, 'u32le'],
})

/** Section 2.3, Storing Lookup Tables: the position of one metadata block of the table. */
export const tableLocation = struct('squashfs table location', 8, {
  position: [0, 'u64le'],
})
