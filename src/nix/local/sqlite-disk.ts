/** Records of SQLite's files (SQLite, "Database File Format"). */
import { struct } from '../../bytes/struct.ts'

/** At the beginning of the file, and of page 1 (1.3). */
export const DATABASE_HEADER = struct('SQLite database header', 100, {
  magic: [0, 'bytes', 16],
  /** 1 for 65536. */
  pageSize: [16, 'u16be'],
  /** Bytes at the end of each page that are not used. */
  reserved: [20, 'u8'],
  changeCounter: [24, 'u32be'],
  /** 1 for UTF-8. */
  textEncoding: [56, 'u32be'],
})

export const DATABASE_MAGIC = 'SQLite format 3\0'

/** At the beginning of a B-tree page, behind the database header on page 1 (1.6). */
export const PAGE_HEADER = struct('SQLite page', 12, {
  kind: [0, 'u8'],
  cellCount: [3, 'u16be'],
  /** Of interior pages. */
  rightMost: [8, 'u32be'],
})

/** The flags by which pages say what they are. */
export const PAGE_KIND = { indexInterior: 2, tableInterior: 5, indexLeaf: 10, tableLeaf: 13 } as const

/** At the beginning of the write-ahead log (4.1). */
export const LOG_HEADER = struct('SQLite write-ahead log', 32, {
  /** Its lowest bit says in which byte order checksums are. */
  magic: [0, 'u32be'],
  version: [4, 'u32be'],
  pageSize: [8, 'u32be'],
  salts: [16, 'bytes', 8],
  firstSum: [24, 'u32be'],
  secondSum: [28, 'u32be'],
})

export const LOG_MAGIC = 0x377f0682
export const LOG_VERSION = 3_007_000

/** Before each page in the log. */
export const FRAME_HEADER = struct('SQLite log frame', 24, {
  page: [0, 'u32be'],
  /** Pages of the database after the commit that this frame ends; 0 for others. */
  pageCount: [4, 'u32be'],
  salts: [8, 'bytes', 8],
  firstSum: [16, 'u32be'],
  secondSum: [20, 'u32be'],
})
