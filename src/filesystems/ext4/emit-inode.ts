/** Inodes and the tables they stand in (inodes: "Index Nodes"). */
import { crc32c } from '../../bytes/crc32c.ts'
import type { DeviceNode, TreeNode } from '../../tree/tree.ts'
import { isFastSymlink } from './allocate.ts'
import { inodeChecksumSeed } from './checksums.ts'
import {
  BAD_BLOCKS_INODE,
  BLOCK_SIZE,
  EXTRA_INODE_SIZE,
  FILE_TYPES,
  INODE_ATTRIBUTES_OFFSET,
  INODE_BLOCK_SIZE,
  INODE_FLAG_EXTENTS,
  INODE_FLAG_INDEX,
  INODE_SIZE,
  inode as inodeRecord,
  JOURNAL_INODE,
  RESIZE_INODE,
  SECTORS_PER_BLOCK,
} from './disk.ts'
import { encodeExtents } from './extents.ts'
import type { Ext4Plan } from './plan.ts'
import { resizeInodeFields } from './resize-inode.ts'
import type { PlannedDirectory } from './tree.ts'

const SPECIAL_FILE_MODE = FILE_TYPES.file.mode | 0o600
const U32_FACTOR = 2 ** 32
const NO_BYTES = new Uint8Array(0)

/** What differs from inode to inode. */
export interface InodeFields {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly timeSeconds: number
  readonly linkCount: number
  readonly size: number
  readonly blockCount: number
  readonly flags: number
  /** Up to 60 bytes: extents, block numbers, a device number, or the target of a link. */
  readonly block: Uint8Array
  readonly attributeBlock: number
  /** What follows the fields. */
  readonly attributes: Uint8Array
}

/** The `count` inodes from `first` on, as they stand in the table. */
export function encodeInodes(plan: Ext4Plan, first: number, count: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(count * INODE_SIZE)
  for (let index = 0; index < count; index++) {
    const inode = first + index
    if (inode > plan.usedInodeCount) break
    writeInode(bytes.subarray(index * INODE_SIZE, (index + 1) * INODE_SIZE), plan, inode, seed)
  }
  return bytes
}

function writeInode(bytes: Uint8Array, plan: Ext4Plan, inode: number, seed: number): void {
  const fields = fieldsOf(plan, inode)
  if (fields !== undefined) writeFields(bytes, fields)
  // As mke2fs does, and like all special inodes that are not used it has no extra fields.
  else if (inode === BAD_BLOCKS_INODE) {
    const time = plan.timeSeconds
    inodeRecord.write(bytes, 0, { accessTime: time, changeTime: time, modificationTime: time })
  }
  const checksum = crc32c(inodeChecksumSeed(seed, inode), bytes)
  const checksumLow = checksum & 0xffff
  inodeRecord.write(bytes, 0, fields === undefined ? { checksumLow } : { checksumLow, checksumHigh: checksum >>> 16 })
}

function fieldsOf(plan: Ext4Plan, inode: number): InodeFields | undefined {
  const node = plan.tree.nodes[inode]
  if (node !== undefined) return nodeFields(plan, inode, node)
  const special = {
    mode: SPECIAL_FILE_MODE,
    uid: 0,
    gid: 0,
    timeSeconds: plan.timeSeconds,
    linkCount: 1,
    attributeBlock: 0,
    attributes: NO_BYTES,
  }
  if (inode === RESIZE_INODE) return { ...special, flags: 0, ...resizeInodeFields(plan) }
  if (inode !== JOURNAL_INODE || plan.journalBlockCount === 0) return undefined
  const [size, blockCount, block] = [plan.journalBlockCount * BLOCK_SIZE, blockCountOf(plan, inode), extentsOf(plan, inode)]
  return { ...special, flags: INODE_FLAG_EXTENTS, size, blockCount, block }
}

function nodeFields(plan: Ext4Plan, inode: number, node: TreeNode): InodeFields {
  const attributeBlock = plan.attributeBlocks.get(inode) ?? 0
  return {
    mode: FILE_TYPES[node.kind].mode | node.mode,
    uid: node.uid,
    gid: node.gid,
    timeSeconds: node.mtimeSeconds,
    linkCount: plan.tree.linkCounts[inode] as number,
    size: sizeOf(plan, inode, node),
    blockCount: blockCountOf(plan, inode) + Number(attributeBlock !== 0),
    flags: flagsOf(plan, inode, node),
    block: blockOf(plan, inode, node),
    attributeBlock,
    attributes: plan.tree.attributes.get(inode)?.inInode ?? NO_BYTES,
  }
}

/** With the blocks of the extent tree. */
function blockCountOf(plan: Ext4Plan, inode: number): number {
  const first = plan.firstRuns[inode] as number
  const count = plan.runCounts[inode] as number
  let blockCount = plan.extentNodes.get(inode)?.length ?? 0
  for (let run = first; run < first + count; run++) blockCount += plan.runs.blockCounts[run] as number
  return blockCount
}

function extentsOf(plan: Ext4Plan, inode: number): Uint8Array {
  const nodeBlocks = plan.extentNodes.get(inode) ?? []
  return encodeExtents(plan.runs, plan.firstRuns[inode] as number, plan.runCounts[inode] as number, nodeBlocks).inInode
}

function sizeOf(plan: Ext4Plan, inode: number, node: TreeNode): number {
  switch (node.kind) {
    case 'file':
      return node.size
    case 'directory':
      return (plan.tree.directoryByInode.get(inode) as PlannedDirectory).layout.blockCount * BLOCK_SIZE
    case 'symlink':
      return node.target.length
    case 'characterDevice':
    case 'blockDevice':
    case 'fifo':
    case 'socket':
      return 0
  }
}

function flagsOf(plan: Ext4Plan, inode: number, node: TreeNode): number {
  switch (node.kind) {
    case 'file':
      return INODE_FLAG_EXTENTS
    case 'directory':
      return INODE_FLAG_EXTENTS | (plan.tree.directoryByInode.get(inode)?.layout.kind === 'hashed' ? INODE_FLAG_INDEX : 0)
    case 'symlink':
      return isFastSymlink(node) ? 0 : INODE_FLAG_EXTENTS
    case 'characterDevice':
    case 'blockDevice':
    case 'fifo':
    case 'socket':
      return 0
  }
}

function blockOf(plan: Ext4Plan, inode: number, node: TreeNode): Uint8Array {
  switch (node.kind) {
    case 'file':
    case 'directory':
      return extentsOf(plan, inode)
    case 'symlink':
      return isFastSymlink(node) ? node.target : extentsOf(plan, inode)
    case 'characterDevice':
    case 'blockDevice':
      return deviceNumber(node)
    case 'fifo':
    case 'socket':
      return NO_BYTES
  }
}

/** inodes: "i_block" of devices: the first number while both parts fit in a byte, else the second. */
function deviceNumber({ major, minor }: DeviceNode): Uint8Array {
  const block = new Uint8Array(INODE_BLOCK_SIZE)
  const view = new DataView(block.buffer)
  if (major < 256 && minor < 256) view.setUint32(0, major * 256 + minor, true)
  else view.setUint32(4, (minor & 0xff) + major * 256 + Math.floor(minor / 256) * 2 ** 20, true)
  return block
}

function writeFields(bytes: Uint8Array, fields: InodeFields): void {
  const { uid, gid, size } = fields
  const sectorCount = fields.blockCount * SECTORS_PER_BLOCK
  const time = fields.timeSeconds >>> 0
  // Bits 32 and 33 of the seconds beyond the signed 32 bits (inodes: "Inode Timestamps").
  const extra = Math.floor((fields.timeSeconds + 2 ** 31) / U32_FACTOR) & 3
  inodeRecord.write(bytes, 0, {
    mode: fields.mode,
    uidLow: uid & 0xffff,
    uidHigh: uid >>> 16,
    gidLow: gid & 0xffff,
    gidHigh: gid >>> 16,
    sizeLow: size % U32_FACTOR,
    sizeHigh: Math.floor(size / U32_FACTOR),
    linkCount: fields.linkCount,
    sectorCountLow: sectorCount % U32_FACTOR,
    sectorCountHigh: Math.floor(sectorCount / U32_FACTOR),
    flags: fields.flags,
    block: fields.block,
    attributeBlockLow: fields.attributeBlock,
    extraSize: EXTRA_INODE_SIZE,
    accessTime: time,
    changeTime: time,
    modificationTime: time,
    creationTime: time,
    accessTimeExtra: extra,
    changeTimeExtra: extra,
    modificationTimeExtra: extra,
    creationTimeExtra: extra,
  })
  if (fields.attributes.length > 0) bytes.set(fields.attributes, INODE_ATTRIBUTES_OFFSET)
}
