/**
 * How much of the device the blocks of a plan may take, and surely take, before any content was read. What depends on how
 * well blocks compress, or on hashes of names, is bounded with a margin.
 */
import { alignUp } from '../../bytes/align.ts'
import {
  BLOCK_POINTER_SIZE,
  BLOCK_SIZE_MAXIMUM,
  DNODE_BLOCK_SIZE,
  DNODE_SIZE,
  DNODES_PER_BLOCK,
  INDIRECT_SHIFT_MAXIMUM,
} from './constants.ts'
import type { DatasetStyle } from './dataset-style.ts'
import { OBJSET } from './disk.ts'
import { indirectShiftFor, levelsFor } from './object-writer.ts'
import { recordShape } from './zpl/content.ts'
import { type FileSystemPlan, type PlannedNode, SYSTEM_OBJECT } from './zpl/plan.ts'

export interface StorageFacts extends Pick<DatasetStyle, 'copies' | 'recordSize'> {
  /** Blocks take so many bytes, or a multiple. */
  readonly unit: number
  readonly metadataCopies: number
  /** Whether metadata are compressed. */
  readonly isCompressed: boolean
}

/** What LZ4 makes of a block with so many bytes at its beginning and zeros behind them, with a margin. */
function packedZeros(bytes: number): number {
  return bytes + (bytes >> 5) + 2048
}

/** Blocks of pointers over `blockCount` blocks, of which `pointers` are no holes: all copies. */
function pointersBound(blockCount: number, pointers: number, { unit, metadataCopies, isCompressed }: StorageFacts): number {
  const shift = indirectShiftFor(blockCount, isCompressed)
  const perBlock = 2 ** shift / BLOCK_POINTER_SIZE
  let bytes = 0
  let below = pointers
  let count = blockCount
  for (let level = 1; level < levelsFor(blockCount, shift); level++) {
    count = Math.ceil(count / perBlock)
    const blocks = Math.min(count, below)
    bytes += isCompressed ? packedZeros(0) * blocks + packedZeros(BLOCK_POINTER_SIZE * below) + unit * blocks : blocks * 2 ** shift
    below = blocks
  }
  return bytes * metadataCopies
}

/** Names with their values in chunks of 24 bytes, of which 21 hold something. */
const CHUNK_SIZE = 24
const CHUNK_CONTENT_SIZE = 21
/** Leaves are at least half full on the average, but not all. */
const LEAVES_MARGIN = 3
const MICRO_ENTRY_SIZE = 64

function namesBound(names: readonly { readonly name: Uint8Array }[], facts: StorageFacts): number {
  let chunks = 0
  for (const { name } of names) chunks += 2 + Math.ceil((name.length + 1) / CHUNK_CONTENT_SIZE)
  const isSmall = chunks * CHUNK_SIZE < DNODE_BLOCK_SIZE / LEAVES_MARGIN
  const blocks = isSmall ? 3 * DNODE_BLOCK_SIZE : LEAVES_MARGIN * (chunks * CHUNK_SIZE + BLOCK_SIZE_MAXIMUM)
  const bytes = Math.max(blocks, MICRO_ENTRY_SIZE * (names.length + 1))
  const pointers = Math.ceil(bytes / DNODE_BLOCK_SIZE)
  return alignUp(bytes, facts.unit) * facts.metadataCopies + pointersBound(pointers, pointers, facts)
}

/** One block of metadata with `size` bytes of content. */
function blockBound(size: number, { unit, metadataCopies }: StorageFacts): number {
  return alignUp(size, unit) * metadataCopies
}

const SPILL_MARGIN = 512
const XATTR_MARGIN = 64

/** What a node takes at most: its dnode, its data, and what has no room in the dnode. */
export function nodeBound({ node, entries }: PlannedNode, facts: StorageFacts): number {
  let bytes = DNODE_SIZE * facts.metadataCopies
  let spilled = node.kind === 'symlink' ? node.target.length : 0
  for (const { name, value } of node.xattrs ?? []) spilled += 4 * name.length + value.length + XATTR_MARGIN
  if (spilled > 0) bytes += blockBound(spilled + SPILL_MARGIN, facts)
  if (entries !== undefined) bytes += namesBound(entries, facts)
  if (node.kind !== 'file' || node.size === 0) return bytes
  const { recordSize, recordCount } = recordShape(node.size, facts.recordSize)
  let records = recordCount
  if (node.content.kind === 'image') {
    let touched = 0
    for (const { length } of node.content.image.extents) touched += Math.floor(length / recordSize) + 2
    records = Math.min(recordCount, touched)
  }
  return bytes + records * alignUp(recordSize, facts.unit) * facts.copies + pointersBound(recordCount, records, facts)
}

/** Maps of attributes, owners and names of the file system itself, with a margin. */
const SYSTEM_BOUND = 512 << 10
const OWNER_SIZE = 128

/** What a file system takes at most, all its nodes among it. */
export function fileSystemBound({ nodes }: FileSystemPlan, facts: StorageFacts): number {
  const owners = new Set<number>()
  let bytes = 0
  for (const planned of nodes) {
    bytes += nodeBound(planned, facts)
    owners.add(planned.node.uid)
    owners.add(planned.node.gid)
  }
  const dnodeBlocks = Math.ceil((SYSTEM_OBJECT.root + nodes.length) / DNODES_PER_BLOCK)
  const own = SYSTEM_BOUND + LEAVES_MARGIN * OWNER_SIZE * owners.size
  return bytes + own * facts.metadataCopies + pointersBound(dnodeBlocks, dnodeBlocks, facts)
}

/** What a file system takes at least: its dnodes, however well they compress, and its head. */
export function fileSystemMinimum({ nodes }: FileSystemPlan, { unit, metadataCopies, isCompressed }: StorageFacts): number {
  const dnodeBlocks = Math.ceil((SYSTEM_OBJECT.root + nodes.length) / DNODES_PER_BLOCK)
  const blockSize = isCompressed ? unit : DNODE_BLOCK_SIZE
  return (dnodeBlocks * alignUp(blockSize, unit) + alignUp(isCompressed ? 1 : OBJSET.size, unit)) * metadataCopies
}

/** The pool's own objects: what is written in any pool, and what a dataset adds with its snapshots and properties. */
const META_FIXED_BOUND = 4 << 20
const META_DATASET_BOUND = 1 << 20
const META_SNAPSHOT_BOUND = 512 << 10
const META_PROPERTY_BOUND = 16 << 10

export function metaBound(datasets: readonly { readonly snapshots: number; readonly properties: number }[], copies: number): number {
  let bytes = META_FIXED_BOUND
  for (const { snapshots, properties } of datasets) {
    bytes += META_DATASET_BOUND + META_SNAPSHOT_BOUND * snapshots + META_PROPERTY_BOUND * properties
  }
  return bytes * copies
}

/** Of the meta objset at least the head, a block of dnodes and the block of pointers over them, which are not compressed. */
export function metaMinimum(unit: number, copies: number): number {
  return (alignUp(OBJSET.size, unit) + DNODE_BLOCK_SIZE + 2 ** INDIRECT_SHIFT_MAXIMUM) * copies
}
