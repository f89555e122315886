/**
 * The records of a FAT volume. Sections are those of Microsoft's "FAT: General Overview of On-Disk
 * Format", version 1.03 (fatgen103).
 */
import { struct } from '../../bytes/struct.ts'

export type FatType = 12 | 16 | 32

/** "Boot Sector and BPB Structure": the fields all types share. */
export const bootSector = struct('FAT boot sector', 36, {
  /** A short jump over the parameters, which firmware takes as a sign of FAT. */
  jumpBoot: [0, 'bytes', 3],
  oemName: [3, 'bytes', 8],
  bytesPerSector: [11, 'u16le'],
  sectorsPerCluster: [13, 'u8'],
  reservedSectorCount: [14, 'u16le'],
  fatCount: [16, 'u8'],
  /** 32-byte entries of the fixed root directory; 0 on FAT32. */
  rootEntryCount: [17, 'u16le'],
  /** 0 when the count is in `totalSectorCount32`. */
  totalSectorCount16: [19, 'u16le'],
  media: [21, 'u8'],
  /** 0 tells every driver that the volume is FAT32. */
  sectorsPerFat16: [22, 'u16le'],
  sectorsPerTrack: [24, 'u16le'],
  headCount: [26, 'u16le'],
  /** Sectors before the volume on its disk; BIOS boot code reads it. */
  hiddenSectorCount: [28, 'u32le'],
  totalSectorCount32: [32, 'u32le'],
})

/** "Boot Sector and BPB Structure": FAT32 from byte 36 on. */
export const bootSector32 = struct('FAT32 boot sector', 28, {
  sectorsPerFat32: [0, 'u32le'],
  /** 0: all FATs are mirrored. */
  extendedFlags: [4, 'u16le'],
  version: [6, 'u16le'],
  rootCluster: [8, 'u32le'],
  fsInfoSector: [12, 'u16le'],
  backupBootSector: [14, 'u16le'],
})

/** The same fields stand at byte 36 (FAT12, FAT16) or 64 (FAT32). */
export const extendedBootRecord = struct('FAT extended boot record', 26, {
  driveNumber: [0, 'u8'],
  /** 0x29: the three fields after it are there. */
  bootSignature: [2, 'u8'],
  volumeSerial: [3, 'u32le'],
  volumeLabel: [7, 'bytes', 11],
  fileSystemType: [18, 'bytes', 8],
})

export const EXTENDED_BOOT_RECORD_OFFSET = { 12: 36, 16: 36, 32: 64 } as const

/** "FAT32 FSInfo Sector Structure and Backup Boot Sector". */
export const fsInfo = struct('FAT32 FSInfo', 512, {
  leadSignature: [0, 'u32le'],
  structSignature: [484, 'u32le'],
  freeClusterCount: [488, 'u32le'],
  /** Where a driver begins its search for a free cluster. */
  nextFreeCluster: [492, 'u32le'],
  trailSignature: [508, 'u32le'],
})

export const FS_INFO_LEAD = 0x41615252
export const FS_INFO_STRUCT = 0x61417272
export const FS_INFO_TRAIL = 0xaa550000

/** Bytes 510 and 511 of a boot sector, whatever the sector size. */
export const BOOT_SIGNATURE_OFFSET = 510
export const BOOT_SIGNATURE = Uint8Array.of(0x55, 0xaa)

export const FS_INFO_SECTOR = 1
/** Disk tools look there even when sector 0 cannot be read. */
export const BACKUP_BOOT_SECTOR = 6
/** Sectors of the FAT32 boot record: boot sector, FSInfo and one more. */
export const BOOT_RECORD_SECTORS = 3
export const ROOT_CLUSTER = 2
/** The first cluster number of the data area. */
export const FIRST_CLUSTER = 2

/** "FAT 32 Byte Directory Entry Structure". */
export const directoryEntry = struct('FAT directory entry', 32, {
  name: [0, 'bytes', 11],
  attributes: [11, 'u8'],
  /** Windows NT keeps lower-case flags here; this writer leaves it 0 (see names.ts). */
  ntReserved: [12, 'u8'],
  createTimeTenth: [13, 'u8'],
  createTime: [14, 'u16le'],
  createDate: [16, 'u16le'],
  lastAccessDate: [18, 'u16le'],
  firstClusterHigh: [20, 'u16le'],
  writeTime: [22, 'u16le'],
  writeDate: [24, 'u16le'],
  firstClusterLow: [26, 'u16le'],
  /** 0 for directories. */
  fileSize: [28, 'u32le'],
})

/** "FAT Long Directory Entries". */
export const longDirectoryEntry = struct('FAT long directory entry', 32, {
  order: [0, 'u8'],
  name1: [1, 'bytes', 10],
  attributes: [11, 'u8'],
  type: [12, 'u8'],
  /** Of the short name that follows the set. */
  checksum: [13, 'u8'],
  name2: [14, 'bytes', 12],
  firstClusterLow: [26, 'u16le'],
  name3: [28, 'bytes', 4],
})

export const ENTRY_SIZE = directoryEntry.size
/** UTF-16 units in one long entry. */
export const LONG_ENTRY_UNITS = 13
/** Set in `order` of the long entry that stands first, which holds the end of the name. */
export const LAST_LONG_ENTRY = 0x40

export const ATTRIBUTE_VOLUME_ID = 0x08
export const ATTRIBUTE_DIRECTORY = 0x10
export const ATTRIBUTE_ARCHIVE = 0x20
export const ATTRIBUTE_LONG_NAME = 0x0f
