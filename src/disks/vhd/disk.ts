/** Records of a virtual hard disk (Microsoft, "Virtual Hard Disk Image Format Specification", 2006); all numbers are big endian. */

import { struct } from '../../bytes/struct.ts'
import { ascii } from '../../bytes/text.ts'

export const SECTOR_SIZE = 512

/** "Hard Disk Footer Format". */
export const footer = struct('VHD footer', 512, {
  cookie: [0, 'bytes', 8],
  features: [8, 'u32be'],
  version: [12, 'u32be'],
  /** Of the dynamic header; all ones for a fixed disk. */
  dataOffset: [16, 'u64be'],
  /** Seconds since 2000-01-01 00:00:00 UTC. */
  timestamp: [24, 'u32be'],
  creatorApplication: [28, 'bytes', 4],
  creatorVersion: [32, 'u32be'],
  creatorHostOs: [36, 'bytes', 4],
  originalSize: [40, 'u64be'],
  currentSize: [48, 'u64be'],
  cylinders: [56, 'u16be'],
  heads: [58, 'u8'],
  sectorsPerTrack: [59, 'u8'],
  diskType: [60, 'u32be'],
  /** Ones' complement of the sum of all other bytes. */
  checksum: [64, 'u32be'],
  uniqueId: [68, 'bytes', 16],
  savedState: [84, 'u8'],
})

/** "Dynamic Disk Header Format"; parent fields are those of differencing disks. */
export const dynamicHeader = struct('VHD dynamic header', 1024, {
  cookie: [0, 'bytes', 8],
  dataOffset: [8, 'u64be'],
  tableOffset: [16, 'u64be'],
  headerVersion: [24, 'u32be'],
  maxTableEntries: [28, 'u32be'],
  blockSize: [32, 'u32be'],
  checksum: [36, 'u32be'],
  parentUniqueId: [40, 'bytes', 16],
  /** UTF-16, big endian. */
  parentUnicodeName: [64, 'bytes', 512],
})

export const FOOTER_COOKIE = ascii('conectix', 'VHD cookie')
export const HEADER_COOKIE = ascii('cxsparse', 'VHD cookie')
export const VERSION = 0x00010000
/** "Features": the bit that is always set. */
export const FEATURES = 2
export const NO_OFFSET = 0xffffffffffffffffn
export const DISK_TYPE = { fixed: 2, dynamic: 3, differencing: 4 } as const
/** "Block Allocation Table": the block is not allocated. */
export const UNUSED = 0xffffffff
export const ENTRY_SIZE = 4 as const
export const BLOCK_SIZE = 2 << 20

/** Seconds from 1970 to 2000, where timestamps begin. */
export const EPOCH_SECONDS = 946684800

/** Hyper-V attaches disks up to 2040 GiB. */
export const SIZE_LIMIT = 2040 * 2 ** 30

/**
 * As Windows writes them. Every reader takes the current size after "win "; after a name that it does not know, an older QEMU
 * takes the geometry, which is rounded down (block/vpc.c before version 10).
 */
export const CREATOR = {
  creatorApplication: ascii('win ', 'VHD creator'),
  creatorVersion: 0x000a0000,
  creatorHostOs: ascii('Wi2k', 'VHD creator'),
} as const

/**
 * Creators whose disks end where their geometry ends, whatever size they state: Virtual PC, and QEMU as long as it called
 * itself so (QEMU, block/vpc.c). After all others the current size counts, for VirtualBox, 7-Zip and libvhdi as well.
 */
export const GEOMETRY_CREATORS: readonly string[] = ['vpc ', 'qemu']

export interface Geometry {
  readonly cylinders: number
  readonly heads: number
  readonly sectorsPerTrack: number
}

/** What a larger disk has too. */
export const LARGEST_GEOMETRY: Geometry = { cylinders: 65535, heads: 16, sectorsPerTrack: 255 }

/** Appendix "CHS Calculation". */
export function geometryOf(size: number): Geometry {
  const { cylinders, heads: mostHeads, sectorsPerTrack: mostSectors } = LARGEST_GEOMETRY
  const sectors = Math.min(Math.floor(size / SECTOR_SIZE), cylinders * mostHeads * mostSectors)
  const geometry = (sectorsPerTrack: number, heads: number): Geometry => ({
    cylinders: Math.floor(Math.floor(sectors / sectorsPerTrack) / heads),
    heads,
    sectorsPerTrack,
  })
  if (sectors >= 65535 * 16 * 63) return geometry(255, 16)
  const tracks = Math.floor(sectors / 17)
  const heads = Math.max(4, Math.floor((tracks + 1023) / 1024))
  if (heads <= 16 && tracks < heads * 1024) return geometry(17, heads)
  if (Math.floor(sectors / 31) < 16 * 1024) return geometry(31, 16)
  return geometry(63, 16)
}

/** Of a record whose checksum field is zero: ones' complement of the sum of its bytes. */
export function checksum(record: Uint8Array): number {
  let sum = 0
  for (const byte of record) sum += byte
  return ~sum >>> 0
}
