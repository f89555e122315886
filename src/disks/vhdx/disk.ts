/** Records of a VHDX file (MS-VHDX, section 2); all numbers are little endian. */
import { crc32c } from '../../bytes/crc32c.ts'
import { guidFromText } from '../../bytes/guid.ts'
import { struct } from '../../bytes/struct.ts'
import { ascii } from '../../bytes/text.ts'
import { MEBIBYTE } from '../../bytes/units.ts'

/** 2.2.1. */
export const fileIdentifier = struct('VHDX file type identifier', 520, { signature: [0, 'bytes', 8], creator: [8, 'bytes', 512] })

/** 2.2.2; the checksum is that of all 4096 bytes. */
export const header = struct('VHDX header', 4096, {
  signature: [0, 'bytes', 4],
  checksum: [4, 'u32le'],
  sequenceNumber: [8, 'u64le'],
  fileWriteGuid: [16, 'bytes', 16],
  dataWriteGuid: [32, 'bytes', 16],
  /** All zeros: the log is empty. */
  logGuid: [48, 'bytes', 16],
  logVersion: [64, 'u16le'],
  version: [66, 'u16le'],
  logLength: [68, 'u32le'],
  logOffset: [72, 'u64le'],
})

/** 2.2.3.1; the checksum is that of all 64 KiB. */
export const regionTable = struct('VHDX region table', 16, { signature: [0, 'bytes', 4], checksum: [4, 'u32le'], entryCount: [8, 'u32le'] })
/** 2.2.3.2. */
export const regionEntry = struct('VHDX region table entry', 32, {
  guid: [0, 'bytes', 16],
  fileOffset: [16, 'u64le'],
  length: [24, 'u32le'],
  /** Bit 0: a reader must know this region. */
  required: [28, 'u32le'],
})

/** 2.3.1.1; the checksum is that of the whole entry. */
export const logEntry = struct('VHDX log entry header', 64, {
  signature: [0, 'bytes', 4],
  checksum: [4, 'u32le'],
  /** Bytes, with descriptors and data: whole log sectors. */
  entryLength: [8, 'u32le'],
  /** Where in the log the oldest entry lies that this one needs. */
  tail: [12, 'u32le'],
  sequenceNumber: [16, 'u64le'],
  descriptorCount: [24, 'u32le'],
  logGuid: [32, 'bytes', 16],
})
/** 2.3.1.2: so many bytes of the file become zero. */
export const zeroDescriptor = struct('VHDX zero descriptor', 32, {
  signature: [0, 'bytes', 4],
  zeroLength: [8, 'u64le'],
  fileOffset: [16, 'u64le'],
})
/** 2.3.1.3: a log sector of data, whose first eight and last four bytes stand here. */
export const dataDescriptor = struct('VHDX data descriptor', 32, {
  signature: [0, 'bytes', 4],
  trailingBytes: [4, 'bytes', 4],
  leadingBytes: [8, 'bytes', 8],
  fileOffset: [16, 'u64le'],
})
/** Entries and data begin at multiples of it (2.3). */
export const LOG_SECTOR_SIZE = 4096

/** 2.6.2.6; keys and values follow, as UTF-16. */
export const parentLocator = struct('VHDX parent locator', 20, { locatorType: [0, 'bytes', 16], keyValueCount: [18, 'u16le'] })
export const locatorEntry = struct('VHDX parent locator entry', 12, {
  keyOffset: [0, 'u32le'],
  valueOffset: [4, 'u32le'],
  keyLength: [8, 'u16le'],
  valueLength: [10, 'u16le'],
})

/** 2.6.1.1. */
export const metadataTable = struct('VHDX metadata table', 32, { signature: [0, 'bytes', 8], entryCount: [10, 'u16le'] })
/** 2.6.1.2; the offset counts from the start of the region. */
export const metadataEntry = struct('VHDX metadata table entry', 32, {
  itemId: [0, 'bytes', 16],
  offset: [16, 'u32le'],
  length: [20, 'u32le'],
  flags: [24, 'u32le'],
})
/** 2.6.2.1; bit 0 of the flags: blocks stay allocated (a fixed disk), bit 1: there is a parent. */
export const fileParameters = struct('VHDX file parameters', 8, { blockSize: [0, 'u32le'], flags: [4, 'u32le'] })
/** 2.6.2.2. */
export const virtualDiskSize = struct('VHDX virtual disk size', 8, { size: [0, 'u64le'] })
/** 2.6.2.3. */
export const virtualDiskId = struct('VHDX virtual disk id', 16, { id: [0, 'bytes', 16] })
/** 2.6.2.4 and 2.6.2.5. */
export const sectorSize = struct('VHDX sector size', 4, { size: [0, 'u32le'] })

export const SIGNATURE = {
  file: ascii('vhdxfile', 'VHDX signature'),
  header: ascii('head', 'VHDX signature'),
  regionTable: ascii('regi', 'VHDX signature'),
  metadata: ascii('metadata', 'VHDX signature'),
  logEntry: ascii('loge', 'VHDX signature'),
  zeroDescriptor: ascii('zero', 'VHDX signature'),
  dataDescriptor: ascii('desc', 'VHDX signature'),
  dataSector: ascii('data', 'VHDX signature'),
} as const

export const VERSION = 1
export const HAS_PARENT = 2

/** 2.2: places in the first MiB. */
export const PLACE = { headers: [64 << 10, 128 << 10], regionTables: [192 << 10, 256 << 10] } as const
export const REGION_TABLE_SIZE = 64 << 10
/** 2.2.3.1 and 2.6.1.1. */
export const ENTRY_LIMIT = 2047
/** 2.6.1: the metadata table; items lie behind it. */
export const METADATA_TABLE_SIZE = 64 << 10
/** Regions, the log and payload blocks begin at multiples of it. */
export const ALIGNMENT = MEBIBYTE

export const REGION = {
  bat: guidFromText('2DC27766-F623-4200-9D64-115E9BFD4A08'),
  metadata: guidFromText('8B7CA206-4790-4B9A-B8FE-575F050F886E'),
} as const

export const ITEM = {
  fileParameters: guidFromText('CAA16737-FA36-4D43-B3B6-33F0AA44E76B'),
  virtualDiskSize: guidFromText('2FA54224-CD1B-4876-B211-5DBED83BF4B8'),
  virtualDiskId: guidFromText('BECA12AB-B2E6-4523-93EF-C309E000C746'),
  logicalSectorSize: guidFromText('8141BF1D-A96F-4709-BA47-F233A8FAAB5F'),
  physicalSectorSize: guidFromText('CDA348C7-445D-4471-9CC9-E9885251C556'),
  parentLocator: guidFromText('A8D35F2D-B30B-454D-ABF7-D3D84834AB0C'),
} as const

/** 2.6.1.2: flags of a metadata item. */
export const ITEM_FLAG = { virtualDisk: 2, required: 4 } as const

/** 2.5.1.1: states of a payload block. Zero, and not not-present, is what QEMU writes too: no reader can take it for anything else. */
export const BLOCK_STATE = { notPresent: 0, undefined: 1, zero: 2, unmapped: 3, unmappedV1: 5, fullyPresent: 6, partlyPresent: 7 } as const
export const STATE_MASK = 7
export const BAT_ENTRY_SIZE = 8 as const

/** 2.6.2.1. */
export const BLOCK_SIZE = { minimum: MEBIBYTE, maximum: 256 * MEBIBYTE, default: 32 * MEBIBYTE } as const
/** 2.6.2.2. */
export const SIZE_LIMIT = 64 * 2 ** 40

/** 2.5: after so many payload blocks the BAT has an entry for a sector bitmap. */
export function chunkRatio(blockSize: number, logicalSectorSize: number): number {
  return (2 ** 23 * logicalSectorSize) / blockSize
}

/** CRC-32C of a record whose checksum field is zero. */
export function checksum(bytes: Uint8Array): number {
  return (crc32c(0xffffffff, bytes) ^ 0xffffffff) >>> 0
}

/** Where the headers and the region tables have their checksum. */
const CHECKSUM_AT = 4

/** Whether a header or region table begins with `signature` and has the checksum that it states. */
export function isSound(bytes: Uint8Array, signature: Uint8Array): boolean {
  const stated = Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32LE(CHECKSUM_AT)
  const copy = Uint8Array.from(bytes)
  copy.fill(0, CHECKSUM_AT, CHECKSUM_AT + 4)
  return Buffer.compare(bytes.subarray(0, signature.length), signature) === 0 && checksum(copy) === stated
}
