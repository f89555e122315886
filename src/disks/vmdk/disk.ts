/** Records of a VMDK sparse extent (VMware, "Virtual Disk Format 5.0"); all numbers are little endian, most count sectors. */
import { struct } from '../../bytes/struct.ts'

export const SECTOR_SIZE = 512

/** "Hosted Sparse Extent Header". */
export const header = struct('VMDK sparse extent header', 512, {
  magic: [0, 'u32le'],
  version: [4, 'u32le'],
  flags: [8, 'u32le'],
  /** Sectors of the disk. */
  capacity: [12, 'u64le'],
  /** Sectors of a grain. */
  grainSize: [20, 'u64le'],
  descriptorOffset: [28, 'u64le'],
  descriptorSize: [36, 'u64le'],
  entriesPerTable: [44, 'u32le'],
  redundantDirectoryOffset: [48, 'u64le'],
  directoryOffset: [56, 'u64le'],
  /** Sectors before the first grain. */
  overhead: [64, 'u64le'],
  uncleanShutdown: [72, 'u8'],
  /** Newline characters, by which a transfer in text mode shows. */
  newlines: [73, 'bytes', 4],
  compressAlgorithm: [77, 'u16le'],
})

/** "Stream-Optimized Compressed Sparse Extents": before a grain, whose data follows at once. */
export const grainMarker = struct('VMDK grain marker', 12, { sector: [0, 'u64le'], size: [8, 'u32le'] })
/** Before a table, directory or footer of so many sectors; fills a sector. */
export const metadataMarker = struct('VMDK metadata marker', 512, { sectorCount: [0, 'u64le'], size: [8, 'u32le'], type: [12, 'u32le'] })

/** `KDMV`. */
export const MAGIC = 0x564d444b
export const FLAG = { newlineTest: 1, redundantTables: 2, zeroedGrains: 4, compressed: 1 << 16, markers: 1 << 17 } as const
export const VERSION = { sparse: 1, streamOptimized: 3 } as const
export const NEWLINES = Uint8Array.of(0x0a, 0x20, 0x0d, 0x0a)
export const DEFLATE = 1
/** In the header: the directory's place stands in the footer. */
export const DIRECTORY_AT_END = 0xffffffffffffffffn
export const MARKER = { endOfStream: 0, grainTable: 1, grainDirectory: 2, footer: 3 } as const
/** A table entry that stands for zeros, with `FLAG.zeroedGrains`. */
export const ZEROED_GRAIN = 1

export const GRAIN_SECTORS = 128
export const GRAIN_SIZE = GRAIN_SECTORS * SECTOR_SIZE
export const ENTRIES_PER_TABLE = 512
export const ENTRY_SIZE = 4 as const
export const TABLE_SECTORS = (ENTRIES_PER_TABLE * ENTRY_SIZE) / SECTOR_SIZE
export const DESCRIPTOR_OFFSET_SECTORS = 1
export const DESCRIPTOR_SECTORS = 20

/** Places are sector numbers of 32 bits: 2 TiB, for the file and, as VMware has it, for the disk. */
export const SECTOR_LIMIT = 2 ** 32
