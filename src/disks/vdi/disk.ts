/** Records of a VirtualBox disk image, version 1.1 (VirtualBox, src/VBox/Storage/VDICore.h). */
import { struct } from '../../bytes/struct.ts'

/** VDIPREHEADER, and VDIHEADER1PLUS from byte 72 on. */
export const header = struct('VDI header', 512, {
  fileInfo: [0, 'bytes', 64],
  signature: [64, 'u32le'],
  version: [68, 'u32le'],
  /** Bytes of VDIHEADER1PLUS. */
  headerSize: [72, 'u32le'],
  imageType: [76, 'u32le'],
  flags: [80, 'u32le'],
  comment: [84, 'bytes', 256],
  blocksOffset: [340, 'u32le'],
  dataOffset: [344, 'u32le'],
  /** Cylinders, heads and sectors are 0: the BIOS chooses. */
  cylinders: [348, 'u32le'],
  heads: [352, 'u32le'],
  sectors: [356, 'u32le'],
  sectorSize: [360, 'u32le'],
  diskSize: [368, 'u64le'],
  blockSize: [376, 'u32le'],
  blockExtra: [380, 'u32le'],
  blockCount: [384, 'u32le'],
  allocatedBlockCount: [388, 'u32le'],
  uuidCreate: [392, 'bytes', 16],
  uuidModify: [408, 'bytes', 16],
  uuidLinkage: [424, 'bytes', 16],
  uuidParentModify: [440, 'bytes', 16],
  logicalCylinders: [456, 'u32le'],
  logicalHeads: [460, 'u32le'],
  logicalSectors: [464, 'u32le'],
  logicalSectorSize: [468, 'u32le'],
})

export const FILE_INFO = '<<< Oracle VM VirtualBox Disk Image >>>\n'
export const SIGNATURE = 0xbeda107f
export const VERSION = 0x00010001
export const HEADER_SIZE = 400
export const IMAGE_TYPE = { dynamic: 1, fixed: 2, differencing: 4 } as const
export const SECTOR_SIZE = 512
export const BLOCK_SIZE = 1 << 20

/** Entries of the block map: never allocated, and known to be zeros. Others are places in the data area. */
export const UNALLOCATED = 0xffffffff
export const ZERO = 0xfffffffe
export const ENTRY_SIZE = 4 as const

/** QEMU opens no more blocks than fit in a map of 2^32 bytes (block/vdi.c). */
export const BLOCK_COUNT_LIMIT = 0x3fffffff
