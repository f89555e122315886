/**
 * The resize inode (special_inodes: "Special inodes") owns the reserved descriptor blocks, so that nothing else
 * gets them: its double indirect block names those of group 0, and each of these the same block of all
 * backup groups. It is the one file without extents.
 */
import { BLOCK_SIZE, BLOCKS_PER_GROUP, INODE_BLOCK_SIZE } from './disk.ts'
import { backupGroups } from './geometry.ts'
import type { Ext4Plan } from './plan.ts'

const NUMBERS_PER_BLOCK = BLOCK_SIZE / 4
const DIRECT_BLOCK_COUNT = 12
/** Place of the double indirect block in the inode, in block numbers. */
const DOUBLE_INDIRECT = 13
/** All that twelve blocks, one indirect and one double indirect block can name. */
const SIZE = (DIRECT_BLOCK_COUNT + NUMBERS_PER_BLOCK + NUMBERS_PER_BLOCK * NUMBERS_PER_BLOCK) * BLOCK_SIZE

export function resizeInodeFields(plan: Ext4Plan): { size: number; blockCount: number; block: Uint8Array } {
  const block = new Uint8Array(INODE_BLOCK_SIZE)
  new DataView(block.buffer).setUint32(DOUBLE_INDIRECT * 4, plan.resizeBlock, true)
  const copies = 1 + backupGroups(plan.groupCount).length
  return { size: SIZE, blockCount: 1 + plan.reservedDescriptorBlockCount * copies, block }
}

/** The double indirect block. The place of a reserved block is its place in the whole descriptor table. */
export function doubleIndirectBlock(plan: Ext4Plan): Uint8Array {
  const bytes = new Uint8Array(BLOCK_SIZE)
  const view = new DataView(bytes.buffer)
  for (let index = 0; index < plan.reservedDescriptorBlockCount; index++) {
    const place = (plan.descriptorBlockCount + index) % NUMBERS_PER_BLOCK
    view.setUint32(place * 4, 1 + plan.descriptorBlockCount + index, true)
  }
  return bytes
}

/** The reserved descriptor blocks of group 0, one after the other. */
export function reservedDescriptorBlocks(plan: Ext4Plan): Uint8Array {
  const bytes = new Uint8Array(plan.reservedDescriptorBlockCount * BLOCK_SIZE)
  const view = new DataView(bytes.buffer)
  const groups = backupGroups(plan.groupCount)
  for (let index = 0; index < plan.reservedDescriptorBlockCount; index++) {
    const block = 1 + plan.descriptorBlockCount + index
    for (const [place, group] of groups.entries()) {
      view.setUint32(index * BLOCK_SIZE + place * 4, group * BLOCKS_PER_GROUP + block, true)
    }
  }
  return bytes
}
