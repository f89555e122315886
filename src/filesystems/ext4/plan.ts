/** From a tree and options to the addresses of an ext4 file system. Pure: no content is read. */
import { alignUp, unitsFor } from '../../bytes/align.ts'
import { ImageError } from '../../errors.ts'
import { checkDepth } from '../../tree/depth.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import { type Allocation, allocate, type Bodies, bodiesOf } from './allocate.ts'
import { BLOCK_COUNT_MAXIMUM, BLOCK_SIZE, BLOCKS_PER_GROUP, INODES_PER_GROUP_MAXIMUM } from './disk.ts'
import {
  bytesPerInode,
  chooseGeometry,
  defaultInodeCount,
  type Geometry,
  type InodeCounts,
  JOURNAL_FILE_SYSTEM_MINIMUM,
  metadataBlockCount,
  nextUsableSize,
} from './geometry.ts'
import { hashStart } from './hash.ts'
import { type Layout, planLayout } from './layout.ts'
import { type Ext4Options, type ResolvedExt4Options, resolveOptions } from './options.ts'
import { type Ext4Tree, planTree } from './tree.ts'

export interface Ext4Plan extends Geometry, Allocation {
  /** Bytes of the image; what is beyond the last block is zero. */
  readonly size: number
  readonly label: Uint8Array
  /** 16 bytes each, in the order of their text. */
  readonly uuid: Uint8Array
  readonly hashSeed: Uint8Array
  readonly timeSeconds: number
  readonly inodeCount: number
  /** The special inodes and those of the tree: the first so many. */
  readonly usedInodeCount: number
  readonly freeBlockCount: number
  /** Of those, for root alone. */
  readonly reservedBlockCount: number
  readonly layout: Layout
  readonly tree: Ext4Tree
}

/**
 * Lay out a file system. Throws USAGE for options and trees that are malformed, UNSUPPORTED for what ext4 or
 * this writer does not have, and LIMIT for what is too large; where `size` is too small it says which would do.
 */
export function planExt4(root: DirectoryNode, options: Ext4Options): Ext4Plan {
  checkDepth(root)
  const resolved = resolveOptions(options)
  const tree = planTree(root, { timeSeconds: resolved.timeSeconds, hashStart: hashStart(resolved.hashSeed) })
  const bodies = bodiesOf(tree)
  const need: Need = {
    options: resolved,
    tree,
    bodies,
    inodeCount: tree.nodes.length - 1,
  }
  checkInodeCount(need)
  const { deviceBlockCount } = resolved
  if (deviceBlockCount === undefined) return smallestPlan(need)
  const attempt = attemptPlan(need, deviceBlockCount)
  if (typeof attempt !== 'number') return attempt
  const enough = smallestPlan(need).size
  throw new ImageError(
    'LIMIT',
    `ext4: no space: ${resolved.inodeCount ?? need.inodeCount} inodes, ${bodies.totalBlockCount} blocks of files and ${resolved.freeBlockCount} free ones do not fit in ${
      deviceBlockCount * BLOCK_SIZE
    } bytes; ${enough} would do`,
  )
}

interface Need {
  readonly options: ResolvedExt4Options
  readonly tree: Ext4Tree
  readonly bodies: Bodies
  /** Special inodes included. */
  readonly inodeCount: number
}

function checkInodeCount({ options, inodeCount }: Need): void {
  if (options.inodeCount !== undefined && options.inodeCount < inodeCount) {
    throw new ImageError('LIMIT', `ext4: inodeCount is ${options.inodeCount}, the tree needs ${inodeCount} with the special ones; raise it`)
  }
  const most = Math.floor(BLOCK_COUNT_MAXIMUM / BLOCKS_PER_GROUP) * INODES_PER_GROUP_MAXIMUM
  if (Math.max(inodeCount, options.inodeCount ?? 0) > most) {
    throw new ImageError('LIMIT', `ext4: ${inodeCount} inodes are more than the largest file system has, ${most}`)
  }
}

/** Enlarge until it fits. Each step adds what is missing, which no smaller step could do. */
function smallestPlan(need: Need): Ext4Plan {
  const { freeBlockCount, journal, roundToBlockCount } = need.options
  let blockCount = need.bodies.totalBlockCount + freeBlockCount
  if (journal) blockCount = Math.max(blockCount, JOURNAL_FILE_SYSTEM_MINIMUM)
  for (;;) {
    const deviceBlockCount = alignUp(Math.max(1, blockCount), roundToBlockCount)
    if (deviceBlockCount > BLOCK_COUNT_MAXIMUM) {
      throw new ImageError(
        'LIMIT',
        `ext4: the tree and ${freeBlockCount} free blocks need ${deviceBlockCount} blocks of ${BLOCK_SIZE} bytes, this writer goes up to ${BLOCK_COUNT_MAXIMUM}`,
      )
    }
    const attempt = attemptPlan(need, deviceBlockCount)
    if (typeof attempt !== 'number') return attempt
    blockCount = deviceBlockCount + attempt
  }
}

/** The plan at this size, or how many blocks are missing at least. */
function attemptPlan(need: Need, deviceBlockCount: number): Ext4Plan | number {
  const { options, tree, bodies } = need
  const inodes = inodeCountsFor(need, deviceBlockCount)
  const geometry = chooseGeometry(deviceBlockCount, inodes, options.journal)
  if (geometry === 'tooManyInodes') return missingForInodes(inodes.least, deviceBlockCount)
  const usable = nextUsableSize(deviceBlockCount, inodes, options.journal)
  if (geometry === 'tooSmall') return Math.max(1, usable - deviceBlockCount)
  if (options.journal && geometry.journalBlockCount === 0) return Math.max(1, JOURNAL_FILE_SYSTEM_MINIMUM - deviceBlockCount)
  // Blocks that are too few for a group do not count.
  const missingOf = (short: number): number => Math.max(1, geometry.blockCount + short - deviceBlockCount, usable - deviceBlockCount)
  const overhead = metadataBlockCount(geometry) + geometry.journalBlockCount + 1
  const short = need.bodies.totalBlockCount + options.freeBlockCount + overhead - geometry.blockCount
  if (short > 0) return missingOf(short)
  const layout = planLayout(geometry)
  const allocation = allocate(geometry, layout, tree, bodies)
  const freeBlockCount = allocation.freeRanges.reduce((sum, range) => sum + range.end - range.start, 0)
  const missing = allocation.missingBlockCount + Math.max(0, options.freeBlockCount - freeBlockCount)
  if (missing > 0) return missingOf(missing)
  return {
    ...geometry,
    ...allocation,
    size: deviceBlockCount * BLOCK_SIZE,
    label: options.label,
    uuid: options.uuid,
    hashSeed: options.hashSeed,
    timeSeconds: options.timeSeconds,
    inodeCount: geometry.inodesPerGroup * geometry.groupCount,
    usedInodeCount: need.inodeCount,
    freeBlockCount,
    reservedBlockCount: Math.floor((geometry.blockCount * options.reservedPercent) / 100),
    layout,
    tree,
  }
}

/** As many as mke2fs makes, or more, so that at least half as many of them are left for the free space. */
function inodeCountsFor({ options, bodies, inodeCount }: Need, deviceBlockCount: number): InodeCounts {
  if (options.inodeCount !== undefined) return { wanted: options.inodeCount, least: options.inodeCount }
  const free = Math.max(0, deviceBlockCount - bodies.totalBlockCount) * BLOCK_SIZE
  const comfortable = inodeCount + Math.floor(free / bytesPerInode(deviceBlockCount) / 2)
  return { wanted: Math.max(defaultInodeCount(deviceBlockCount), comfortable), least: inodeCount }
}

/** As many groups as the inodes need, the last one just large enough to count. */
function missingForInodes(inodeCount: number, deviceBlockCount: number): number {
  const groups = unitsFor(inodeCount, INODES_PER_GROUP_MAXIMUM)
  return Math.max(1, (groups - 1) * BLOCKS_PER_GROUP + 1 - deviceBlockCount)
}
