/** The blocks of a directory (dir: "Directory Entries"). */
import { crc32c } from '../../bytes/crc32c.ts'
import type { Entry, TreeNode } from '../../tree/tree.ts'
import { withU32 } from './checksums.ts'
import { firstLeafOf, type HashedLayout, recordLength } from './directory.ts'
import {
  BLOCK_SIZE,
  DIRECTORY_LEAF_SIZE,
  DIRECTORY_TAIL_TYPE,
  directoryEntry,
  directoryTail,
  FILE_TYPES,
  HASH_HALF_MD4,
  HASH_TREE_NODE_ENTRIES_OFFSET,
  HASH_TREE_NODE_LIMIT,
  HASH_TREE_ROOT_ENTRIES_OFFSET,
  HASH_TREE_ROOT_LIMIT,
  HASH_TREE_ROOT_OFFSET,
  hashTreeCount,
  hashTreeEntry,
  hashTreeRoot,
  hashTreeTail,
} from './disk.ts'
import type { PlannedDirectory } from './tree.ts'

const DOT = Uint8Array.of(0x2e)
const DOT_DOT = Uint8Array.of(0x2e, 0x2e)

/** Block `block` of the directory; `seed` is `inodeChecksumSeed` of its inode. */
export function directoryBlock(directory: PlannedDirectory, block: number, seed: number): Uint8Array {
  const { layout, entries } = directory
  const bytes = new Uint8Array(BLOCK_SIZE)
  if (layout.kind === 'linear') {
    const end = block === 0 ? writeEntries(bytes, writeDots(bytes, directory), directory, 0, entries.length) : EMPTY
    return finishLeaf(bytes, end, seed)
  }
  if (block === 0) return hashRoot(bytes, directory, layout, seed)
  if (block <= layout.nodeCount) return hashNode(bytes, layout, block - 1, seed)
  const leaf = block - 1 - layout.nodeCount
  const start = layout.leafStarts[leaf] as number
  return finishLeaf(bytes, writeEntries(bytes, EMPTY, directory, start, layout.leafStarts[leaf + 1] as number, layout.order), seed)
}

/** Where entries end, and where the last one begins. */
interface Written {
  readonly end: number
  readonly last: number
}
const EMPTY: Written = { end: 0, last: 0 }

function writeEntry(bytes: Uint8Array, at: number, inode: number, name: Uint8Array, fileType: number): Written {
  const length = recordLength(name.length)
  directoryEntry.write(bytes, at, { inode, recordLength: length, nameLength: name.length, fileType })
  bytes.set(name, at + directoryEntry.size)
  return { end: at + length, last: at }
}

function writeDots(bytes: Uint8Array, { inode, parentInode }: PlannedDirectory): Written {
  const { end } = writeEntry(bytes, 0, inode, DOT, FILE_TYPES.directory.entry)
  return writeEntry(bytes, end, parentInode, DOT_DOT, FILE_TYPES.directory.entry)
}

function writeEntries(
  bytes: Uint8Array,
  from: Written,
  { entries, children }: PlannedDirectory,
  start: number,
  end: number,
  order?: Uint32Array,
): Written {
  let written = from
  for (let at = start; at < end; at++) {
    const index = order === undefined ? at : (order[at] as number)
    const { name, node } = entries[index] as Entry
    written = writeEntry(bytes, written.end, children[index] as number, name, fileType(node))
  }
  return written
}

function fileType(node: TreeNode): number {
  return FILE_TYPES[node.kind].entry
}

/** The last entry takes the room up to the tail; an empty block is one unused entry. */
function finishLeaf(bytes: Uint8Array, { last }: Written, seed: number): Uint8Array {
  directoryEntry.write(bytes, last, { recordLength: DIRECTORY_LEAF_SIZE - last })
  directoryTail.write(bytes, DIRECTORY_LEAF_SIZE, {
    recordLength: directoryTail.size,
    fileType: DIRECTORY_TAIL_TYPE,
    checksum: crc32c(seed, bytes, 0, DIRECTORY_LEAF_SIZE),
  })
  return bytes
}

/** dir: "struct dx_root": to those who do not know trees, a block with `.` and a `..` that fills it. */
function hashRoot(bytes: Uint8Array, directory: PlannedDirectory, layout: HashedLayout, seed: number): Uint8Array {
  const { last } = writeDots(bytes, directory)
  directoryEntry.write(bytes, last, { recordLength: BLOCK_SIZE - last })
  hashTreeRoot.write(bytes, HASH_TREE_ROOT_OFFSET, {
    hashVersion: HASH_HALF_MD4,
    infoLength: hashTreeRoot.size,
    indirectLevels: layout.nodeCount === 0 ? 0 : 1,
  })
  const { nodeCount, leafHashes } = layout
  const count = nodeCount === 0 ? leafHashes.length : nodeCount
  const hashOf = (index: number): number => leafHashes[nodeCount === 0 ? index : firstLeafOf(layout, index)] as number
  return finishIndex(bytes, HASH_TREE_ROOT_ENTRIES_OFFSET, HASH_TREE_ROOT_LIMIT, count, (index) => [hashOf(index), 1 + index], seed)
}

/** dir: "struct dx_node": to those who do not know trees, an unused entry that fills the block. */
function hashNode(bytes: Uint8Array, layout: HashedLayout, node: number, seed: number): Uint8Array {
  directoryEntry.write(bytes, 0, { recordLength: BLOCK_SIZE })
  const first = firstLeafOf(layout, node)
  const entryOf = (index: number): [hash: number, block: number] => [
    layout.leafHashes[first + index] as number,
    1 + layout.nodeCount + first + index,
  ]
  const count = firstLeafOf(layout, node + 1) - first
  return finishIndex(bytes, HASH_TREE_NODE_ENTRIES_OFFSET, HASH_TREE_NODE_LIMIT, count, entryOf, seed)
}

function finishIndex(
  bytes: Uint8Array,
  at: number,
  limit: number,
  count: number,
  entryOf: (index: number) => readonly [hash: number, block: number],
  seed: number,
): Uint8Array {
  hashTreeCount.write(bytes, at, { limit, count, block: entryOf(0)[1] })
  for (let index = 1; index < count; index++) {
    const [hash, block] = entryOf(index)
    hashTreeEntry.write(bytes, at + index * hashTreeEntry.size, { hash, block })
  }
  const register = crc32c(seed, bytes, 0, at + count * hashTreeEntry.size)
  // The tail itself counts with its checksum as 0.
  hashTreeTail.write(bytes, at + limit * hashTreeEntry.size, { checksum: withU32(withU32(register, 0), 0) })
  return bytes
}
