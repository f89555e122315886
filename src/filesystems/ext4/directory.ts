/** How the entries of a directory are spread over blocks: one block, or a hash tree. */
import { unitsFor } from '../../bytes/align.ts'
import type { Problem } from '../../tree/limits.ts'
import type { Entry } from '../../tree/tree.ts'
import { DIRECTORY_LEAF_SIZE, directoryEntry, HASH_TREE_NODE_LIMIT, HASH_TREE_ROOT_LIMIT } from './disk.ts'
import { hashName } from './hash.ts'

export type DirectoryLayout = LinearLayout | HashedLayout

/** All entries are in block 0; further blocks are empty. */
export interface LinearLayout {
  readonly kind: 'linear'
  readonly blockCount: number
}

/** Block 0 is the root of the tree, then come index nodes, if any, and then leaves. */
export interface HashedLayout {
  readonly kind: 'hashed'
  readonly blockCount: number
  /** 0: the root names the leaves itself. */
  readonly nodeCount: number
  /** Indexes of the entries, by hash. */
  readonly order: Uint32Array
  /** By leaf: where it begins in `order`; one more for the end. */
  readonly leafStarts: Uint32Array
  /** By leaf: the least hash, its lowest bit set when the leaf before ends with the same hash. */
  readonly leafHashes: Uint32Array
}

/** Leaves and index nodes are filled to this share, so that a first new name does not split them. */
const FILL = 0.8
const LEAF_FILL_SIZE = Math.floor(DIRECTORY_LEAF_SIZE * FILL)
const NODE_FILL_COUNT = Math.floor(HASH_TREE_NODE_LIMIT * FILL)
/** Without the largedir feature trees have two levels of index. */
const LEAF_COUNT_MAXIMUM = HASH_TREE_ROOT_LIMIT * NODE_FILL_COUNT

/** Bytes of an entry: header and name, a multiple of 4. */
export function recordLength(nameLength: number): number {
  return (directoryEntry.size + nameLength + 3) & ~3
}

/** Of `.` and `..`. */
export const DOT_ENTRIES_SIZE = recordLength(1) + recordLength(2)

/** `entries` in at least `blockCountMinimum` blocks; a problem when there are too many. */
export function planDirectory(entries: readonly Entry[], blockCountMinimum: number, hashStart: Int32Array): DirectoryLayout | Problem {
  let size = DOT_ENTRIES_SIZE
  for (const { name } of entries) size += recordLength(name.length)
  if (size <= DIRECTORY_LEAF_SIZE) return { kind: 'linear', blockCount: blockCountMinimum }
  return planHashTree(entries, hashStart)
}

function planHashTree(entries: readonly Entry[], hashStart: Int32Array): HashedLayout | Problem {
  const hashes = Uint32Array.from(entries, ({ name }) => hashName(name, hashStart))
  const order = Uint32Array.from(entries, (_, index) => index).sort((a, b) => (hashes[a] as number) - (hashes[b] as number) || a - b)
  const leafStarts: number[] = []
  const leafHashes: number[] = []
  let room = 0
  let before = -1
  for (let at = 0; at < order.length; at++) {
    const index = order[at] as number
    const hash = hashes[index] as number
    const length = recordLength((entries[index] as Entry).name.length)
    if (length > room) {
      leafStarts.push(at)
      leafHashes.push(hash === before ? hash + 1 : hash)
      room = LEAF_FILL_SIZE
    }
    room -= length
    before = hash
  }
  const leafCount = leafStarts.length
  if (leafCount > LEAF_COUNT_MAXIMUM) {
    return {
      code: 'LIMIT',
      message: `${entries.length} entries need ${leafCount} blocks, an indexed directory has up to ${LEAF_COUNT_MAXIMUM}; use more directories`,
    }
  }
  const nodeCount = leafCount <= HASH_TREE_ROOT_LIMIT ? 0 : unitsFor(leafCount, NODE_FILL_COUNT)
  return {
    kind: 'hashed',
    blockCount: 1 + nodeCount + leafCount,
    nodeCount,
    order,
    leafStarts: Uint32Array.from([...leafStarts, order.length]),
    leafHashes: Uint32Array.from(leafHashes),
  }
}

/** The first leaf of index node `node`; leaves are spread evenly. */
export function firstLeafOf({ nodeCount, leafHashes }: HashedLayout, node: number): number {
  return Math.floor((node * leafHashes.length) / nodeCount)
}
