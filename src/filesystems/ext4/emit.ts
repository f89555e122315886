/** From the plan to bytes. Blocks that are not written are zero, and most of a new file system is. */

import { unitsFor } from '../../bytes/align.ts'
import { crc32c } from '../../bytes/crc32c.ts'
import { bytesExtent, type Extent } from '../../io/image.ts'
import { checksumSeed, inodeChecksumSeed, withU64 } from './checksums.ts'
import {
  attributeHeader,
  BLOCK_SIZE,
  BLOCKS_PER_GROUP,
  EXTENT_CHECKSUM_OFFSET,
  INODES_PER_BLOCK,
  JOURNAL_INODE,
  JOURNAL_MAGIC,
  JOURNAL_SUPERBLOCK_V2,
  journalSuperblock,
  SUPERBLOCK_OFFSET,
} from './disk.ts'
import { bodyExtents } from './emit-bodies.ts'
import { blockBitmap, encodeDescriptors, encodeSuperblock, FreeCursor, type GroupUse, groupUses, inodeBitmap } from './emit-groups.ts'
import { encodeInodes } from './emit-inode.ts'
import { encodeExtents } from './extents.ts'
import { backupGroups } from './geometry.ts'
import type { Ext4Plan } from './plan.ts'
import { doubleIndirectBlock, reservedDescriptorBlocks } from './resize-inode.ts'

/** Inode table blocks that are made at a time. */
const TABLE_BLOCKS_AT_A_TIME = 64

/** The extents of the planned file system, sorted. Only host files are read, when their extent is. */
export function ext4Extents(plan: Ext4Plan): Extent[] {
  const seed = checksumSeed(plan.uuid)
  const uses = groupUses(plan)
  const extents = [
    ...copyExtents(plan, uses, seed),
    ...bitmapExtents(plan, uses),
    ...tableExtents(plan, uses, seed),
    ...nodeExtents(plan, seed),
    ...attributeExtents(plan, seed),
    lazyBlock(plan.resizeBlock, () => doubleIndirectBlock(plan)),
  ]
  if (plan.journalBlockCount > 0) {
    const first = plan.firstRuns[JOURNAL_INODE] as number
    extents.push(bytesExtent((plan.runs.diskBlocks[first] as number) * BLOCK_SIZE, encodeJournalSuperblock(plan)))
  }
  for (const extent of bodyExtents(plan, seed)) extents.push(extent)
  return extents.sort((a, b) => a.start - b.start)
}

function lazyBlock(block: number, encode: () => Uint8Array, length = BLOCK_SIZE): Extent {
  return {
    start: block * BLOCK_SIZE,
    length,
    async *read() {
      yield encode()
    },
  }
}

/** Superblock and descriptors of group 0 and of the backup groups, and the reserved descriptor blocks of group 0. */
function copyExtents(plan: Ext4Plan, uses: readonly GroupUse[], seed: number): Extent[] {
  let descriptors: Uint8Array | undefined
  const encodeOnce = (): Uint8Array => {
    descriptors ??= encodeDescriptors(plan, uses, seed)
    return descriptors
  }
  const descriptorLength = plan.descriptorBlockCount * BLOCK_SIZE
  const extents: Extent[] = []
  for (const group of [0, ...backupGroups(plan.groupCount)]) {
    const start = group * BLOCKS_PER_GROUP * BLOCK_SIZE
    extents.push(
      bytesExtent(start + (group === 0 ? SUPERBLOCK_OFFSET : 0), encodeSuperblock(plan, group)),
      lazyBlock(group * BLOCKS_PER_GROUP + 1, encodeOnce, descriptorLength),
    )
  }
  if (plan.reservedDescriptorBlockCount > 0 && plan.groupCount > 1) {
    const length = plan.reservedDescriptorBlockCount * BLOCK_SIZE
    extents.push(lazyBlock(1 + plan.descriptorBlockCount, () => reservedDescriptorBlocks(plan), length))
  }
  return extents
}

function bitmapExtents(plan: Ext4Plan, uses: readonly GroupUse[]): Extent[] {
  const extents: Extent[] = []
  for (const [group, use] of uses.entries()) {
    if (use.hasBlockBitmap) {
      const block = plan.layout.blockBitmaps[group] as number
      extents.push(lazyBlock(block, () => blockBitmap(plan, group, new FreeCursor(plan.freeRanges))))
    }
    if (use.hasInodeBitmap) extents.push(lazyBlock(plan.layout.inodeBitmaps[group] as number, () => inodeBitmap(plan, use)))
  }
  return extents
}

/** The used beginning of each inode table. */
function tableExtents(plan: Ext4Plan, uses: readonly GroupUse[], seed: number): Extent[] {
  const extents: Extent[] = []
  for (const [group, { usedInodeCount }] of uses.entries()) {
    if (usedInodeCount === 0) continue
    const blockCount = unitsFor(usedInodeCount, INODES_PER_BLOCK)
    const firstInode = 1 + group * plan.inodesPerGroup
    extents.push({
      start: (plan.layout.inodeTables[group] as number) * BLOCK_SIZE,
      length: blockCount * BLOCK_SIZE,
      async *read() {
        for (let block = 0; block < blockCount; block += TABLE_BLOCKS_AT_A_TIME) {
          const count = Math.min(TABLE_BLOCKS_AT_A_TIME, blockCount - block) * INODES_PER_BLOCK
          yield encodeInodes(plan, firstInode + block * INODES_PER_BLOCK, count, seed)
        }
      },
    })
  }
  return extents
}

/** Nodes of extent trees. */
function nodeExtents(plan: Ext4Plan, seed: number): Extent[] {
  const extents: Extent[] = []
  for (const [inode, nodeBlocks] of plan.extentNodes) {
    const [first, count] = [plan.firstRuns[inode] as number, plan.runCounts[inode] as number]
    let nodes: readonly Uint8Array[] | undefined
    for (const [index, block] of nodeBlocks.entries()) {
      const encode = (): Uint8Array => {
        nodes ??= encodeExtents(plan.runs, first, count, nodeBlocks).nodes
        const bytes = nodes[index] as Uint8Array
        const checksum = crc32c(inodeChecksumSeed(seed, inode), bytes, 0, EXTENT_CHECKSUM_OFFSET)
        new DataView(bytes.buffer).setUint32(EXTENT_CHECKSUM_OFFSET, checksum, true)
        return bytes
      }
      extents.push(lazyBlock(block, encode))
    }
  }
  return extents
}

function attributeExtents(plan: Ext4Plan, seed: number): Extent[] {
  const extents: Extent[] = []
  for (const [inode, block] of plan.attributeBlocks) {
    const encode = (): Uint8Array => {
      const bytes = Uint8Array.from(plan.tree.attributes.get(inode)?.block ?? [])
      attributeHeader.write(bytes, 0, { checksum: crc32c(withU64(seed, block), bytes) })
      return bytes
    }
    extents.push(lazyBlock(block, encode))
  }
  return extents
}

/** journal: an empty one. The kernel chooses its features, checksums among them, when it first mounts. */
function encodeJournalSuperblock(plan: Ext4Plan): Uint8Array {
  return journalSuperblock.encode({
    magic: JOURNAL_MAGIC,
    blockType: JOURNAL_SUPERBLOCK_V2,
    blockSize: BLOCK_SIZE,
    blockCount: plan.journalBlockCount,
    firstLogBlock: 1,
    firstTransaction: 1,
    uuid: plan.uuid,
    userCount: 1,
  })
}
