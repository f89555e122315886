/**
 * Which blocks each inode gets: one after the other from the front, in the order in which the image is
 * written. Directories come first, then files as a depth-first walk by name meets them.
 */
import { unitsFor } from '../../bytes/align.ts'
import type { BlockRun } from '../../io/block-runs.ts'
import { blockRuns } from '../../io/blocks.ts'
import type { Image } from '../../io/image.ts'
import type { TreeNode } from '../../tree/tree.ts'
import {
  BLOCK_SIZE,
  BLOCKS_PER_GROUP,
  EXTENT_BLOCK_COUNT_MAXIMUM,
  GROUPS_PER_FLEX,
  INODE_BLOCK_SIZE,
  JOURNAL_INODE,
  LOST_AND_FOUND_INODE,
  ROOT_INODE,
} from './disk.ts'
import { extentLevels, type Runs } from './extents.ts'
import type { Geometry } from './geometry.ts'
import { countByGroup, type Layout } from './layout.ts'
import { type BlockRange, Space } from './space.ts'
import type { Ext4Tree } from './tree.ts'

/** How many blocks the inodes need, extent trees not counted. */
export interface Bodies {
  /** By inode number: of directory, link target or content. */
  readonly blockCounts: Uint32Array
  /** By inode number: which blocks of a file with holes hold data. */
  readonly maps: ReadonlyMap<number, Iterable<BlockRun>>
  /** With attribute blocks. */
  readonly totalBlockCount: number
}

export function bodiesOf(tree: Ext4Tree): Bodies {
  const blockCounts = new Uint32Array(tree.nodes.length)
  const maps = new Map<number, Iterable<BlockRun>>()
  let totalBlockCount = 0
  for (const { inode, layout } of tree.directories) {
    blockCounts[inode] = layout.blockCount
    totalBlockCount += layout.blockCount
  }
  for (const inode of tree.others) {
    const node = tree.nodes[inode] as TreeNode
    let blockCount = 0
    if (node.kind === 'symlink') blockCount = isFastSymlink(node) ? 0 : 1
    else if (node.kind === 'file') {
      if (node.content.kind === 'image' && !isWhole(node.content.image)) {
        const map = blockRuns(node.content.image, BLOCK_SIZE)
        maps.set(inode, map)
        for (const run of map) blockCount += run.count
      } else blockCount = unitsFor(node.size, BLOCK_SIZE)
    }
    blockCounts[inode] = blockCount
    totalBlockCount += blockCount
  }
  for (const { block } of tree.attributes.values()) if (block !== undefined) totalBlockCount++
  return { blockCounts, maps, totalBlockCount }
}

/** Whether an image has data all over, as most have: then all its blocks hold some. */
function isWhole({ size, extents: [extent] }: Image): boolean {
  return extent !== undefined && extent.sparse === undefined && extent.start === 0 && extent.length === size
}

/** Whether the target stands in the inode itself, where extents would be. */
export function isFastSymlink(node: TreeNode): boolean {
  return node.kind === 'symlink' && node.target.length < INODE_BLOCK_SIZE
}

export interface Allocation {
  /** Of all inodes, in the order of allocation. */
  readonly runs: Runs
  /** By inode number: its first run, and how many. */
  readonly firstRuns: Uint32Array
  readonly runCounts: Uint32Array
  /** By inode number: blocks of the nodes of its extent tree, see `encodeExtents`. */
  readonly extentNodes: ReadonlyMap<number, readonly number[]>
  /** By inode number: its block of extended attributes. */
  readonly attributeBlocks: ReadonlyMap<number, number>
  /** The block of block numbers of the resize inode. */
  readonly resizeBlock: number
  readonly freeRanges: readonly BlockRange[]
  /** Blocks that were asked for and are not there; then the rest says nothing. */
  readonly missingBlockCount: number
}

export function allocate(geometry: Geometry, layout: Layout, tree: Ext4Tree, bodies: Bodies): Allocation {
  const space = new Space(geometry.blockCount, layout.used)
  const runs = { inodes: [] as number[], fileBlocks: [] as number[], diskBlocks: [] as number[], blockCounts: [] as number[] }
  const firstRuns = new Uint32Array(tree.nodes.length)
  const runCounts = new Uint32Array(tree.nodes.length)
  const extentNodes = new Map<number, readonly number[]>()
  const attributeBlocks = new Map<number, number>()
  let missing = 0

  const addRun = (inode: number, fileBlock: number, diskBlock: number, blockCount: number): void => {
    for (let done = 0; done < blockCount; done += EXTENT_BLOCK_COUNT_MAXIMUM) {
      runs.inodes.push(inode)
      runs.fileBlocks.push(fileBlock + done)
      runs.diskBlocks.push(diskBlock + done)
      runs.blockCounts.push(Math.min(EXTENT_BLOCK_COUNT_MAXIMUM, blockCount - done))
    }
  }
  const takeBody = (inode: number, map: Iterable<BlockRun>, goal?: number): void => {
    const first = runs.inodes.length
    for (const { first: firstFileBlock, count } of map) {
      let fileBlock = firstFileBlock
      const use = (diskBlock: number, blockCount: number): void => {
        addRun(inode, fileBlock, diskBlock, blockCount)
        fileBlock += blockCount
      }
      missing += goal === undefined ? space.take(count, use) : space.takeFrom(goal, count, use)
    }
    firstRuns[inode] = first
    runCounts[inode] = runs.inodes.length - first
    const nodes: number[] = []
    for (const count of extentLevels(runs.inodes.length - first)) for (let node = 0; node < count; node++) nodes.push(takeBlock())
    if (nodes.length > 0) extentNodes.set(inode, nodes)
  }
  const takeBlock = (): number => {
    let block = 0
    missing += space.take(1, (start) => {
      block = start
    })
    return block
  }
  const takeInode = (inode: number): void => {
    const blockCount = bodies.blockCounts[inode] as number
    const map = bodies.maps.get(inode) ?? (blockCount === 0 ? [] : [{ first: 0, count: blockCount, before: 0 }])
    takeBody(inode, map)
    if (tree.attributes.get(inode)?.block !== undefined) attributeBlocks.set(inode, takeBlock())
  }

  takeInode(ROOT_INODE)
  takeInode(LOST_AND_FOUND_INODE)
  const resizeBlock = takeBlock()
  if (geometry.journalBlockCount > 0) {
    const goal = journalGoal(geometry, space.freeRanges())
    takeBody(JOURNAL_INODE, [{ first: 0, count: geometry.journalBlockCount, before: 0 }], goal)
  }
  for (const { inode } of tree.directories) if (inode !== ROOT_INODE && inode !== LOST_AND_FOUND_INODE) takeInode(inode)
  for (const inode of tree.others) takeInode(inode)
  return {
    runs: {
      inodes: Uint32Array.from(runs.inodes),
      fileBlocks: Uint32Array.from(runs.fileBlocks),
      diskBlocks: Uint32Array.from(runs.diskBlocks),
      blockCounts: Uint32Array.from(runs.blockCounts),
    },
    firstRuns,
    runCounts,
    extentNodes,
    attributeBlocks,
    resizeBlock,
    freeRanges: space.freeRanges(),
    missingBlockCount: missing,
  }
}

/** Where mke2fs begins the journal: in the freest of the groups about the middle (`lib/ext2fs/mkjournal.c`). */
function journalGoal(geometry: Geometry, freeRanges: readonly BlockRange[]): number {
  const free = countByGroup(freeRanges, geometry.groupCount)
  const middle = Math.floor(Math.floor(geometry.blockCount / 2) / BLOCKS_PER_GROUP)
  let first = Math.max(0, middle - 1)
  let middleGroup = middle
  if (middle > GROUPS_PER_FLEX) {
    middleGroup = middle - (middle % GROUPS_PER_FLEX)
    while (middleGroup < geometry.groupCount && free[middleGroup] === 0) middleGroup++
    if (middleGroup === geometry.groupCount) middleGroup = 0
    first = middleGroup
  }
  const last = Math.min(middleGroup + 1, geometry.groupCount - 1)
  let best = first
  for (let group = first + 1; group <= last; group++) if ((free[group] as number) > (free[best] as number)) best = group
  return best * BLOCKS_PER_GROUP
}
