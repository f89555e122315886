/**
 * Records of an ISO 9660 volume (ECMA-119, 4th edition), of Joliet, and of El Torito 1.0.
 * ECMA-119 counts bytes from 1 (BP); offsets here count from 0.
 */
import { struct } from '../../bytes/struct.ts'
import { ImageError } from '../../errors.ts'

/** Logical blocks and sectors of this writer; the only size that every reader takes. */
export const BLOCK_SIZE = 2048
/** Blocks 0 to 15 are the system area (ECMA-119 7.2.1). */
export const SYSTEM_AREA_BLOCKS = 16
/** Volume space size and extent locations are 32-bit numbers. */
export const BLOCK_LIMIT = 0xffffffff
/** Longest section of a file that is followed by another one: the length field has 32 bits, sections are whole blocks. */
export const SECTION_LIMIT = 0xfffff800

export const DESCRIPTOR_TYPE = { boot: 0, primary: 1, supplementary: 2, terminator: 255 } as const
export const STANDARD_IDENTIFIER = new TextEncoder().encode('CD001')

/** Primary and supplementary volume descriptors (ECMA-119 8.4, 8.5). */
export const volumeDescriptor = struct('volume descriptor', BLOCK_SIZE, {
  type: [0, 'u8'],
  standardIdentifier: [1, 'bytes', 5],
  version: [6, 'u8'],
  systemIdentifier: [8, 'bytes', 32],
  volumeIdentifier: [40, 'bytes', 32],
  volumeSpaceSize: [80, 'u32both'],
  /** Supplementary only: the encoding of names. */
  escapeSequences: [88, 'bytes', 32],
  volumeSetSize: [120, 'u16both'],
  volumeSequenceNumber: [124, 'u16both'],
  logicalBlockSize: [128, 'u16both'],
  pathTableSize: [132, 'u32both'],
  pathTableLBlock: [140, 'u32le'],
  pathTableMBlock: [148, 'u32be'],
  rootDirectoryRecord: [156, 'bytes', 34],
  volumeSetIdentifier: [190, 'bytes', 128],
  publisherIdentifier: [318, 'bytes', 128],
  dataPreparerIdentifier: [446, 'bytes', 128],
  applicationIdentifier: [574, 'bytes', 128],
  copyrightFileIdentifier: [702, 'bytes', 37],
  abstractFileIdentifier: [739, 'bytes', 37],
  bibliographicFileIdentifier: [776, 'bytes', 37],
  creationDate: [813, 'bytes', 17],
  modificationDate: [830, 'bytes', 17],
  expirationDate: [847, 'bytes', 17],
  effectiveDate: [864, 'bytes', 17],
  fileStructureVersion: [881, 'u8'],
  applicationUse: [883, 'bytes', 512],
})

/** Boot record volume descriptor (El Torito 1.0, figure 7). */
export const bootRecordDescriptor = struct('boot record', BLOCK_SIZE, {
  type: [0, 'u8'],
  standardIdentifier: [1, 'bytes', 5],
  version: [6, 'u8'],
  bootSystemIdentifier: [7, 'bytes', 32],
  catalogBlock: [71, 'u32le'],
})

/** Volume descriptor set terminator (ECMA-119 8.3). */
export const terminator = struct('terminator', BLOCK_SIZE, {
  type: [0, 'u8'],
  standardIdentifier: [1, 'bytes', 5],
  version: [6, 'u8'],
})

/** The fixed part of a directory record (ECMA-119 9.1); the identifier follows, then the system use area. */
export const directoryRecord = struct('directory record', 33, {
  recordLength: [0, 'u8'],
  extentBlock: [2, 'u32both'],
  dataLength: [10, 'u32both'],
  recordingDate: [18, 'bytes', 7],
  fileFlags: [25, 'u8'],
  volumeSequenceNumber: [28, 'u16both'],
  identifierLength: [32, 'u8'],
})
/** Largest even record length that its one-byte field holds. */
export const RECORD_LIMIT = 254
export const FILE_FLAG = { directory: 0x02, multiExtent: 0x80 } as const

/** Path table records (ECMA-119 9.4), little endian in the L table, big endian in the M table. */
export const pathTableRecordL = struct('path table record', 8, {
  identifierLength: [0, 'u8'],
  extentBlock: [2, 'u32le'],
  parentNumber: [6, 'u16le'],
})
export const pathTableRecordM = struct('path table record', 8, {
  identifierLength: [0, 'u8'],
  extentBlock: [2, 'u32be'],
  parentNumber: [6, 'u16be'],
})

/** El Torito 1.0, figure 2. */
export const validationEntry = struct('validation entry', 32, {
  headerId: [0, 'u8'],
  platform: [1, 'u8'],
  /** Makes the sixteen 16-bit words of the entry add up to zero. */
  checksum: [28, 'u16le'],
  key55: [30, 'u8'],
  keyAa: [31, 'u8'],
})
/** El Torito 1.0, figures 3 and 5. */
export const bootEntry = struct('boot entry', 32, {
  /** 0x88: bootable. */
  indicator: [0, 'u8'],
  /** 0: no emulation. */
  mediaType: [1, 'u8'],
  /** 0: the BIOS default, 0x7c0. */
  loadSegment: [2, 'u16le'],
  systemType: [4, 'u8'],
  /** 512-byte sectors. */
  sectorCount: [6, 'u16le'],
  imageBlock: [8, 'u32le'],
})
/** El Torito 1.0, figure 4. */
export const sectionHeader = struct('section header', 32, {
  /** 0x91: the last one, 0x90: more follow. */
  indicator: [0, 'u8'],
  platform: [1, 'u8'],
  entryCount: [2, 'u16le'],
})
/** 0xEF by UEFI 2.10, 13.3.2.1. */
export const PLATFORM = { x86: 0, efi: 0xef } as const

/** What isolinux reads from its own bytes 8 to 63 (ISOLINUX documentation, "boot info table"). */
export const bootInfoTable = struct('boot info table', 56, {
  primaryDescriptorBlock: [0, 'u32le'],
  fileBlock: [4, 'u32le'],
  fileLength: [8, 'u32le'],
  /** Sum of the 32-bit words from byte 64 on. */
  checksum: [12, 'u32le'],
})
export const BOOT_INFO_TABLE_OFFSET = 8
export const BOOT_INFO_CHECKSUM_START = 64

/** Seconds since 1970 that a 7-byte date can tell: 1900-01-01 to 2155-12-31 (ECMA-119 9.1.5: a year is one byte). */
const FIRST_SECOND = Date.UTC(1900, 0, 1) / 1000
const LAST_SECOND = Date.UTC(2156, 0, 1) / 1000 - 1

/** ECMA-119 9.1.5, in UTC. Throws LIMIT for a time outside 1900 to 2155; `what` names its owner. */
export function recordingDate(mtimeSeconds: number, what: string): Uint8Array {
  const seconds = Math.floor(mtimeSeconds)
  if (!(seconds >= FIRST_SECOND && seconds <= LAST_SECOND)) {
    throw new ImageError('LIMIT', `iso9660: ${what}: time ${mtimeSeconds} lies outside the years 1900 to 2155; set another`, { path: what })
  }
  const date = new Date(seconds * 1000)
  return Uint8Array.of(
    date.getUTCFullYear() - 1900,
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
    0,
  )
}

/** ECMA-119 8.4.26.1: sixteen digits and a time zone; all zero digits mean "not specified". */
export function volumeDate(mtimeSeconds: number | undefined): Uint8Array {
  const bytes = new Uint8Array(17)
  let digits = '0000000000000000'
  if (mtimeSeconds !== undefined) {
    recordingDate(mtimeSeconds, 'volume')
    const iso = new Date(Math.floor(mtimeSeconds) * 1000).toISOString()
    digits = `${iso.replaceAll(/[-:T]/g, '').slice(0, 14)}00`
  }
  bytes.set(new TextEncoder().encode(digits))
  return bytes
}
