/** Superblock, group descriptors and bitmaps: what sums up the rest. */
import { crc32c } from '../../bytes/crc32c.ts'
import { superblockChecksum, withU32 } from './checksums.ts'
import {
  BLOCK_LOG,
  BLOCK_SIZE,
  BLOCKS_PER_GROUP,
  CHECKSUM_TYPE_CRC32C,
  COMPATIBLE,
  DESCRIPTOR_SIZE,
  ERRORS_CONTINUE,
  EXTRA_INODE_SIZE,
  FIRST_INODE,
  FLAG_SIGNED_HASH,
  FLEX_GROUP_LOG,
  GROUP_BLOCKS_UNINITIALIZED,
  GROUP_INODES_UNINITIALIZED,
  GROUP_TABLE_ZEROED,
  groupDescriptor,
  HASH_HALF_MD4,
  INCOMPATIBLE,
  INODE_SIZE,
  JOURNAL_BACKUP_BLOCKS,
  JOURNAL_INODE,
  MOUNT_USER_XATTR_ACL,
  READ_ONLY_COMPATIBLE,
  REVISION_DYNAMIC,
  STATE_VALID,
  SUPERBLOCK_MAGIC,
  superblock,
} from './disk.ts'
import { encodeExtents } from './extents.ts'
import { backupGroups, baseBlockCount, groupBlockCount, metadataBlockCount } from './geometry.ts'
import { countByGroup } from './layout.ts'
import type { Ext4Plan } from './plan.ts'
import type { BlockRange } from './space.ts'

const NO_MOUNT_COUNT_CHECK = 0xffff
const U32_FACTOR = 2 ** 32
const sumOf = (flags: Readonly<Record<string, number>>): number => Object.values(flags).reduce((sum, flag) => sum + flag, 0)

/** The copy for `group`. Copies in other groups than the first are not marked as valid, as e2fsprogs leaves them. */
export function encodeSuperblock(plan: Ext4Plan, group: number): Uint8Array {
  const hasJournal = plan.journalBlockCount > 0
  const journalSize = plan.journalBlockCount * BLOCK_SIZE
  const bytes = superblock.encode({
    inodeCount: plan.inodeCount,
    blockCountLow: plan.blockCount,
    reservedBlockCountLow: plan.reservedBlockCount,
    freeBlockCountLow: plan.freeBlockCount,
    freeInodeCount: plan.inodeCount - plan.usedInodeCount,
    blockLog: BLOCK_LOG,
    clusterLog: BLOCK_LOG,
    blocksPerGroup: BLOCKS_PER_GROUP,
    clustersPerGroup: BLOCKS_PER_GROUP,
    inodesPerGroup: plan.inodesPerGroup,
    writeTimeSeconds: plan.timeSeconds,
    mountCountMaximum: NO_MOUNT_COUNT_CHECK,
    magic: SUPERBLOCK_MAGIC,
    state: group === 0 ? STATE_VALID : 0,
    errorBehaviour: ERRORS_CONTINUE,
    checkTimeSeconds: plan.timeSeconds,
    revision: REVISION_DYNAMIC,
    firstInode: FIRST_INODE,
    inodeSize: INODE_SIZE,
    blockGroup: group,
    compatibleFeatures: sumOf(COMPATIBLE) - (hasJournal ? 0 : COMPATIBLE.hasJournal),
    incompatibleFeatures: sumOf(INCOMPATIBLE),
    readOnlyCompatibleFeatures: sumOf(READ_ONLY_COMPATIBLE),
    uuid: plan.uuid,
    volumeName: plan.label,
    reservedDescriptorBlockCount: plan.reservedDescriptorBlockCount,
    hashSeed: plan.hashSeed,
    defaultHashVersion: HASH_HALF_MD4,
    descriptorSize: DESCRIPTOR_SIZE,
    defaultMountOptions: MOUNT_USER_XATTR_ACL,
    creationTimeSeconds: plan.timeSeconds,
    extraInodeSizeMinimum: EXTRA_INODE_SIZE,
    extraInodeSizeWanted: EXTRA_INODE_SIZE,
    flags: FLAG_SIGNED_HASH,
    flexGroupLog: FLEX_GROUP_LOG,
    checksumType: CHECKSUM_TYPE_CRC32C,
    // mke2fs begins with this, so that it is not 0, and then counts its own writes.
    kibibytesWritten: 1,
    overheadBlockCount: metadataBlockCount(plan) + plan.journalBlockCount,
  })
  if (hasJournal) {
    const [first, count] = [plan.firstRuns[JOURNAL_INODE] as number, plan.runCounts[JOURNAL_INODE] as number]
    superblock.write(bytes, 0, {
      journalInode: JOURNAL_INODE,
      journalBackupType: JOURNAL_BACKUP_BLOCKS,
      journalBlocks: encodeExtents(plan.runs, first, count, plan.extentNodes.get(JOURNAL_INODE) ?? []).inInode,
      journalSizeHigh: Math.floor(journalSize / U32_FACTOR),
      journalSizeLow: journalSize % U32_FACTOR,
    })
  }
  superblock.write(bytes, 0, { checksum: superblockChecksum(bytes, superblock.fields.checksum[0]) })
  return bytes
}

/** What the descriptor of a group says of its use. */
export interface GroupUse {
  readonly freeBlockCount: number
  readonly usedInodeCount: number
  readonly directoryCount: number
  readonly hasBlockBitmap: boolean
  readonly hasInodeBitmap: boolean
}

export function groupUses(plan: Ext4Plan): GroupUse[] {
  const { groupCount, inodesPerGroup } = plan
  const free = countByGroup(plan.freeRanges, groupCount)
  const backups = new Set(backupGroups(groupCount))
  const directoryCounts = new Uint32Array(groupCount)
  for (const { inode } of plan.tree.directories) {
    const group = Math.floor((inode - 1) / inodesPerGroup)
    directoryCounts[group] = (directoryCounts[group] as number) + 1
  }
  return Array.from(free, (freeBlockCount, group) => {
    const usedInodeCount = Math.min(inodesPerGroup, Math.max(0, plan.usedInodeCount - group * inodesPerGroup))
    const ownBlockCount = backups.has(group) ? baseBlockCount(plan) : 0
    // The bitmap of the last group is written always: it has padding, which readers do not make up.
    const isEmpty = group > 0 && group < groupCount - 1 && freeBlockCount + ownBlockCount === groupBlockCount(plan, group)
    return {
      freeBlockCount,
      usedInodeCount,
      directoryCount: directoryCounts[group] as number,
      hasBlockBitmap: !isEmpty,
      hasInodeBitmap: usedInodeCount > 0,
    }
  })
}

/** The whole group descriptor table, in whole blocks. */
export function encodeDescriptors(plan: Ext4Plan, uses: readonly GroupUse[], seed: number): Uint8Array {
  const bytes = new Uint8Array(plan.descriptorBlockCount * BLOCK_SIZE)
  const free = new FreeCursor(plan.freeRanges)
  for (const [group, use] of uses.entries()) {
    const at = group * DESCRIPTOR_SIZE
    const blockChecksum = use.hasBlockBitmap ? crc32c(seed, blockBitmap(plan, group, free)) : 0
    const inodeChecksum = use.hasInodeBitmap ? crc32c(seed, inodeBitmap(plan, use), 0, plan.inodesPerGroup / 8) : 0
    groupDescriptor.write(bytes, at, {
      blockBitmapLow: plan.layout.blockBitmaps[group] as number,
      inodeBitmapLow: plan.layout.inodeBitmaps[group] as number,
      inodeTableLow: plan.layout.inodeTables[group] as number,
      freeBlockCountLow: use.freeBlockCount,
      freeInodeCountLow: plan.inodesPerGroup - use.usedInodeCount,
      directoryCountLow: use.directoryCount,
      flags:
        GROUP_TABLE_ZEROED | (use.hasBlockBitmap ? 0 : GROUP_BLOCKS_UNINITIALIZED) | (use.hasInodeBitmap ? 0 : GROUP_INODES_UNINITIALIZED),
      blockBitmapChecksumLow: blockChecksum & 0xffff,
      blockBitmapChecksumHigh: blockChecksum >>> 16,
      inodeBitmapChecksumLow: inodeChecksum & 0xffff,
      inodeBitmapChecksumHigh: inodeChecksum >>> 16,
      unusedInodeCountLow: plan.inodesPerGroup - use.usedInodeCount,
    })
    const checksum = crc32c(withU32(seed, group), bytes, at, at + DESCRIPTOR_SIZE)
    groupDescriptor.write(bytes, at, { checksum: checksum & 0xffff })
  }
  return bytes
}

/** Finds the free ranges of groups that are asked for in ascending order, without a search. */
export class FreeCursor {
  readonly #ranges: readonly BlockRange[]
  #next = 0

  constructor(ranges: readonly BlockRange[]) {
    this.#ranges = ranges
  }

  /** Those that touch the blocks from `start` up to `end`. */
  within(start: number, end: number): readonly BlockRange[] {
    const found: BlockRange[] = []
    while (this.#next < this.#ranges.length && (this.#ranges[this.#next] as BlockRange).end <= start) this.#next++
    for (let index = this.#next; index < this.#ranges.length; index++) {
      const range = this.#ranges[index] as BlockRange
      if (range.start >= end) break
      found.push(range)
    }
    return found
  }
}

/** bitmaps: a bit is set for every used block, and for those beyond the end of the file system. */
export function blockBitmap(plan: Ext4Plan, group: number, free: FreeCursor): Uint8Array {
  const bytes = new Uint8Array(BLOCK_SIZE).fill(0xff)
  const start = group * BLOCKS_PER_GROUP
  const end = start + groupBlockCount(plan, group)
  for (const range of free.within(start, end)) {
    clearBits(bytes, Math.max(0, range.start - start), Math.min(end, range.end) - start)
  }
  return bytes
}

/** bitmaps: the used inodes of a group are its first ones; bits beyond its inodes are set. */
export function inodeBitmap(plan: Ext4Plan, { usedInodeCount }: GroupUse): Uint8Array {
  const bytes = new Uint8Array(BLOCK_SIZE).fill(0xff)
  clearBits(bytes, usedInodeCount, plan.inodesPerGroup)
  return bytes
}

function clearBits(bytes: Uint8Array, from: number, end: number): void {
  let bit = from
  for (; bit < end && bit % 8 !== 0; bit++) clearBit(bytes, bit)
  const wholeEnd = Math.floor(end / 8)
  if (bit / 8 < wholeEnd) {
    bytes.fill(0, bit / 8, wholeEnd)
    bit = wholeEnd * 8
  }
  for (; bit < end; bit++) clearBit(bytes, bit)
}

function clearBit(bytes: Uint8Array, bit: number): void {
  const index = bit >> 3
  bytes[index] = (bytes[index] as number) & ~(1 << (bit & 7))
}
