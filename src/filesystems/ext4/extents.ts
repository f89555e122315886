/** Extent trees (ifork: "Extent Tree"): four extents in the inode, or blocks of 340 below it. */
import { unitsFor } from '../../bytes/align.ts'
import {
  BLOCK_SIZE,
  EXTENT_MAGIC,
  EXTENTS_IN_BLOCK,
  EXTENTS_IN_INODE,
  extent,
  extentHeader,
  extentIndex,
  INODE_BLOCK_SIZE,
} from './disk.ts'

/** Runs of file blocks; each lies in one run of blocks on disk. Those of one inode stand together, ascending. */
export interface Runs {
  readonly inodes: Uint32Array
  readonly fileBlocks: Uint32Array
  readonly diskBlocks: Uint32Array
  readonly blockCounts: Uint32Array
}

/** How many nodes each level below the inode has, the leaves first; empty when the inode holds the extents. */
export function extentLevels(extentCount: number): number[] {
  const levels: number[] = []
  for (let count = extentCount; count > EXTENTS_IN_INODE; levels.push(count)) count = unitsFor(count, EXTENTS_IN_BLOCK)
  return levels
}

export interface EncodedExtents {
  /** `block` of the inode. */
  readonly inInode: Uint8Array
  /** Blocks of the nodes, but for their checksums, as `nodeBlocks` has them. */
  readonly nodes: readonly Uint8Array[]
}

/**
 * The tree over the runs from `first` on. `nodeBlocks` says where the nodes lie: level by level, the leaves
 * first, as many as `extentLevels` says.
 */
export function encodeExtents(runs: Runs, first: number, count: number, nodeBlocks: readonly number[]): EncodedExtents {
  if (count <= EXTENTS_IN_INODE) return { inInode: encodeFewExtents(runs, first, count), nodes: NO_NODES }
  const inInode = new Uint8Array(INODE_BLOCK_SIZE)
  const levels = extentLevels(count)
  const nodes: Uint8Array[] = []
  /** What the level below begins with, entry by entry. */
  let firstFileBlocks: number[] = []
  let below = 0
  for (const [depth, nodeCount] of [...levels, 1].entries()) {
    const isTop = depth === levels.length
    const entryCount = depth === 0 ? count : (levels[depth - 1] as number)
    const perNode = isTop ? EXTENTS_IN_INODE : EXTENTS_IN_BLOCK
    const starts: number[] = []
    for (let node = 0; node < nodeCount; node++) {
      const bytes = isTop ? inInode : new Uint8Array(BLOCK_SIZE)
      const from = node * perNode
      const end = Math.min(entryCount, from + perNode)
      extentHeader.write(bytes, 0, { magic: EXTENT_MAGIC, entryCount: end - from, entryCountMaximum: perNode, depth })
      for (let entry = from; entry < end; entry++) {
        const at = extentHeader.size + (entry - from) * extent.size
        if (depth === 0) writeExtent(bytes, at, runs, first + entry)
        else {
          const firstFileBlock = firstFileBlocks[entry] as number
          extentIndex.write(bytes, at, { firstFileBlock, nodeBlockLow: nodeBlocks[below + entry] as number })
        }
      }
      starts.push(depth === 0 ? (runs.fileBlocks[first + from] ?? 0) : (firstFileBlocks[from] as number))
      if (!isTop) nodes.push(bytes)
    }
    if (depth > 0) below += entryCount
    firstFileBlocks = starts
  }
  return { inInode, nodes }
}

const NO_NODES: readonly Uint8Array[] = []

/** As nearly every file has them. */
function encodeFewExtents(runs: Runs, first: number, count: number): Uint8Array {
  const inInode = new Uint8Array(INODE_BLOCK_SIZE)
  extentHeader.write(inInode, 0, { magic: EXTENT_MAGIC, entryCount: count, entryCountMaximum: EXTENTS_IN_INODE, depth: 0 })
  for (let entry = 0; entry < count; entry++) writeExtent(inInode, extentHeader.size + entry * extent.size, runs, first + entry)
  return inInode
}

function writeExtent(bytes: Uint8Array, at: number, runs: Runs, run: number): void {
  extent.write(bytes, at, {
    firstFileBlock: runs.fileBlocks[run] as number,
    blockCount: runs.blockCounts[run] as number,
    firstBlockLow: runs.diskBlocks[run] as number,
  })
}
