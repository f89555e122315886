/** From a size to block groups and the sizes of the metadata, as mke2fs chooses them. */
import { unitsFor } from '../../bytes/align.ts'
import { BLOCK_SIZE, BLOCKS_PER_GROUP, DESCRIPTORS_PER_BLOCK, INODES_PER_BLOCK, INODES_PER_GROUP_MAXIMUM } from './disk.ts'

export interface Geometry {
  /** Of the file system. A rest that is too small for a group of its own is left over. */
  readonly blockCount: number
  readonly groupCount: number
  /** Of the group descriptor table. */
  readonly descriptorBlockCount: number
  /** Into which that table can grow. */
  readonly reservedDescriptorBlockCount: number
  readonly inodesPerGroup: number
  /** Of the inode table of one group. */
  readonly inodeTableBlockCount: number
  /** 0: no journal. */
  readonly journalBlockCount: number
}

/** Why no file system can be made: `tooSmall`, or more inodes than the groups can have. */
export type GeometryProblem = 'tooSmall' | 'tooManyInodes'

/** A last group has at least so many blocks beyond its metadata. */
const LAST_GROUP_MINIMUM = 50
/** The reserved descriptors let a file system grow to so many times its size. */
const GROWTH_FACTOR = 1024
const U32_MAXIMUM = 0xffffffff
/** Block numbers in one block of the resize inode. */
const RESERVED_DESCRIPTOR_BLOCKS_MAXIMUM = BLOCK_SIZE / 4

/** Blocks of the smallest file system that has a journal. */
export const JOURNAL_FILE_SYSTEM_MINIMUM = 2048

/** Below so many blocks of the file system (`lib/ext2fs/mkjournal.c`) the journal has that many. */
const JOURNAL_SIZES: readonly (readonly [below: number, blockCount: number])[] = [
  [JOURNAL_FILE_SYSTEM_MINIMUM, 0],
  [32768, 1024],
  [262144, 4096],
  [524288, 8192],
  [4194304, 16384],
  [8388608, 32768],
  [16777216, 65536],
  [33554432, 131072],
  [Number.POSITIVE_INFINITY, 262144],
]

export function journalSize(blockCount: number): number {
  return JOURNAL_SIZES.find(([below]) => blockCount < below)?.[1] ?? 0
}

/** Below so many blocks mke2fs makes one inode for that many bytes (types floppy, small, default, big, huge). */
const INODE_RATIOS: readonly (readonly [below: number, bytesPerInode: number])[] = [
  [768, 8192],
  [131072, 4096],
  [2 ** 30, 16384],
  [2 ** 32, 32768],
]

export function bytesPerInode(blockCount: number): number {
  return INODE_RATIOS.find(([below]) => blockCount < below)?.[1] ?? 65536
}

export function defaultInodeCount(blockCount: number): number {
  return Math.min(Math.floor((blockCount * BLOCK_SIZE) / bytesPerInode(blockCount)), U32_MAXIMUM)
}

/** The groups besides group 0 that hold copies of superblock and descriptors: 1 and the powers of 3, 5 and 7. */
export function backupGroups(groupCount: number): number[] {
  const groups = groupCount > 1 ? [1] : []
  for (const base of [3, 5, 7]) for (let group = base; group < groupCount; group *= base) groups.push(group)
  return groups.sort((a, b) => a - b)
}

/** Superblock, descriptors and reserved descriptors at the beginning of group 0 and of each backup group. */
export function baseBlockCount(geometry: Geometry): number {
  return 1 + geometry.descriptorBlockCount + geometry.reservedDescriptorBlockCount
}

/** Blocks of all metadata that is there before the first file, without journal. */
export function metadataBlockCount(geometry: Geometry): number {
  const copies = 1 + backupGroups(geometry.groupCount).length
  return copies * baseBlockCount(geometry) + geometry.groupCount * (2 + geometry.inodeTableBlockCount)
}

export function groupBlockCount(geometry: Geometry, group: number): number {
  return Math.min(BLOCKS_PER_GROUP, geometry.blockCount - group * BLOCKS_PER_GROUP)
}

export interface InodeCounts {
  /** As many as would be good. */
  readonly wanted: number
  /** As many as there have to be. */
  readonly least: number
}

/** The geometry on a device of `deviceBlockCount` blocks. */
export function chooseGeometry(deviceBlockCount: number, inodes: InodeCounts, journal: boolean): Geometry | GeometryProblem {
  for (let blockCount = deviceBlockCount; blockCount > 0; ) {
    const geometry = geometryOf(blockCount, inodes.wanted, journal)
    if (geometry.inodesPerGroup * geometry.groupCount < inodes.least) return 'tooManyInodes'
    const rest = blockCount % BLOCKS_PER_GROUP
    if (rest === 0 || rest >= lastGroupMinimum(geometry)) return geometry
    blockCount -= rest
  }
  return 'tooSmall'
}

/** The smallest device of at least `deviceBlockCount` blocks whose last blocks make a group. */
export function nextUsableSize(deviceBlockCount: number, inodes: InodeCounts, journal: boolean): number {
  const rest = deviceBlockCount % BLOCKS_PER_GROUP
  if (rest === 0) return deviceBlockCount
  return deviceBlockCount - rest + Math.max(rest, lastGroupMinimum(geometryOf(deviceBlockCount, inodes.wanted, journal)))
}

/** Blocks that the last of the groups of `geometry` must have. */
function lastGroupMinimum(geometry: Geometry): number {
  const last = geometry.groupCount - 1
  const base = last === 0 || backupGroups(geometry.groupCount).includes(last) ? baseBlockCount(geometry) : 0
  return base + 2 + geometry.inodeTableBlockCount + LAST_GROUP_MINIMUM
}

function geometryOf(blockCount: number, inodeCount: number, journal: boolean): Geometry {
  const groupCount = unitsFor(blockCount, BLOCKS_PER_GROUP)
  const descriptorBlockCount = unitsFor(groupCount, DESCRIPTORS_PER_BLOCK)
  const mostGroups = unitsFor(Math.min(blockCount * GROWTH_FACTOR, U32_MAXIMUM), BLOCKS_PER_GROUP)
  const reserved = unitsFor(mostGroups, DESCRIPTORS_PER_BLOCK) - descriptorBlockCount
  // Inode numbers have 32 bits.
  const tableMaximum = Math.floor(Math.min(INODES_PER_GROUP_MAXIMUM, U32_MAXIMUM / groupCount) / INODES_PER_BLOCK)
  const inodeTableBlockCount = Math.max(1, Math.min(unitsFor(unitsFor(inodeCount, groupCount), INODES_PER_BLOCK), tableMaximum))
  return {
    blockCount,
    groupCount,
    descriptorBlockCount,
    reservedDescriptorBlockCount: Math.min(reserved, RESERVED_DESCRIPTOR_BLOCKS_MAXIMUM),
    inodesPerGroup: inodeTableBlockCount * INODES_PER_BLOCK,
    inodeTableBlockCount,
    journalBlockCount: journal ? journalSize(blockCount) : 0,
  }
}
