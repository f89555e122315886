/**
 * From a tree to inodes in the order in which they are written: nothing is read, every limit is checked.
 *
 * Children come before their directory, subdirectories' contents before either: when a directory's
 * listing is written, all inodes it names have their place already. The inodes of one directory get
 * consecutive numbers and lie side by side, so a directory header serves as many entries as it can.
 */
import { unitsFor } from '../../bytes/align.ts'
import { printable } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { entryNameProblem, type Problem } from '../../tree/limits.ts'
import type { DirectoryNode, Entry, FileNode, TreeNode } from '../../tree/tree.ts'
import { sortedEntries } from '../../tree/tree.ts'
import { dataStart } from './compressor-options.ts'
import { DIRECTORY_HEADER_ENTRIES_MAXIMUM, directoryEntry, directoryHeader, METADATA_BLOCK_SIZE, NO_INDEX } from './disk.ts'
import { type ResolvedSquashfsOptions, resolveOptions, type SquashfsOptions } from './format.ts'
import { ID_COUNT_MAXIMUM, nodeProblem } from './limits.ts'
import { type XattrSet, XattrSets } from './xattr-sets.ts'

export interface SquashfsPlan {
  readonly options: ResolvedSquashfsOptions
  /** Where the first data block may lie, bytes from the image's start. */
  readonly dataStart: number
  /** In order of inode number, which starts at 1; the root is the last. */
  readonly inodes: readonly PlannedInode[]
  /** Every file once, in the order of inodes. */
  readonly files: readonly FileNode[]
  /** Distinct user and group ids. */
  readonly ids: readonly number[]
  readonly xattrSets: readonly XattrSet[]
}

export interface PlannedInode {
  readonly number: number
  readonly node: TreeNode
  /** Names of a file; two and the subdirectories of a directory. */
  readonly linkCount: number
  readonly uidIndex: number
  readonly gidIndex: number
  /** Index in `xattrSets`, or `NO_INDEX`. */
  readonly xattrIndex: number
  /** Of a directory. */
  readonly listing: PlannedListing | undefined
}

export interface PlannedListing {
  /** Sorted by name. */
  readonly entries: readonly Entry[]
  /** Of the entries, in their order. */
  readonly inodeNumbers: Uint32Array
  /** For the root: one more than there are inodes. */
  readonly parentNumber: number
  /** Longer than one metadata block, so that a lookup gains from an index. */
  readonly indexed: boolean
}

/** Throws USAGE, LIMIT or UNSUPPORTED with the path in the image. */
export function planSquashfs(root: DirectoryNode, options: SquashfsOptions = {}): SquashfsPlan {
  const resolved = resolveOptions(options)
  const draft: Draft = {
    blockSize: resolved.blockSize,
    inodes: [],
    files: [],
    known: new Map(),
    idIndexes: new Map(),
    xattrSets: new XattrSets(),
    path: [],
  }
  openDirectory(draft, root, new Uint8Array(0))
  for (let frame = draft.path.at(-1); frame !== undefined; frame = draft.path.at(-1)) {
    const entry = frame.listing.entries[frame.next]
    if (entry !== undefined) {
      frame.next++
      if (entry.node.kind === 'directory') openDirectory(draft, entry.node, entry.name)
    } else {
      numberEntries(draft, frame)
      draft.path.pop()
      if (draft.path.length === 0) {
        numberInode(draft, frame.inode, '/')
        frame.listing.parentNumber = draft.inodes.length + 1
      }
    }
  }
  return {
    options: resolved,
    dataStart: dataStart(resolved),
    inodes: draft.inodes,
    files: draft.files,
    ids: [...draft.idIndexes.keys()],
    xattrSets: draft.xattrSets.sets,
  }
}

type InodeDraft = { -readonly [K in keyof PlannedInode]: K extends 'listing' ? ListingDraft | undefined : PlannedInode[K] }
type ListingDraft = { -readonly [K in keyof PlannedListing]: PlannedListing[K] }

/** A directory; its entries before `next` have been looked into. */
interface Frame {
  readonly name: Uint8Array
  readonly inode: InodeDraft
  readonly listing: ListingDraft
  next: number
}

interface Draft {
  readonly blockSize: number
  readonly inodes: InodeDraft[]
  readonly files: FileNode[]
  readonly known: Map<TreeNode, InodeDraft>
  readonly idIndexes: Map<number, number>
  readonly xattrSets: XattrSets
  /** From the root to the directory at hand: a stack of our own, for trees may be deeper than calls. */
  readonly path: Frame[]
}

function openDirectory(draft: Draft, node: DirectoryNode, name: Uint8Array): void {
  if (draft.known.has(node)) {
    fail(pathOf(draft, name), { code: 'USAGE', message: 'the directory stands in the tree twice; only other nodes can be hard links' })
  }
  const entries = sortedEntries(node)
  const listing: ListingDraft = { entries, inodeNumbers: new Uint32Array(entries.length), parentNumber: 0, indexed: false }
  const inode = draftInode(draft, node, listing)
  draft.path.push({ name, inode, listing, next: 0 })
  let listingSize = unitsFor(entries.length, DIRECTORY_HEADER_ENTRIES_MAXIMUM) * directoryHeader.size
  let previous: Uint8Array | undefined
  for (const entry of entries) {
    const problem = entryNameProblem(entry.name, previous)
    if (problem !== undefined) fail(pathOf(draft, entry.name), problem)
    previous = entry.name
    listingSize += directoryEntry.size + entry.name.length
    if (entry.node.kind === 'directory') inode.linkCount++
  }
  listing.indexed = listingSize > METADATA_BLOCK_SIZE
}

function draftInode(draft: Draft, node: TreeNode, listing: ListingDraft | undefined): InodeDraft {
  const linkCount = listing === undefined ? 0 : 2
  const inode: InodeDraft = { number: 0, node, linkCount, uidIndex: 0, gidIndex: 0, xattrIndex: NO_INDEX, listing }
  draft.known.set(node, inode)
  return inode
}

/** Everything below the subdirectories is numbered; now the entries themselves. */
function numberEntries(draft: Draft, { listing }: Frame): void {
  for (const [index, { name, node }] of listing.entries.entries()) {
    const inode = draft.known.get(node) ?? draftInode(draft, node, undefined)
    if (node.kind !== 'directory') inode.linkCount++
    if (inode.number === 0) numberInode(draft, inode, name)
    listing.inodeNumbers[index] = inode.number
  }
}

function numberInode(draft: Draft, inode: InodeDraft, name: Uint8Array | '/'): void {
  const { node, listing } = inode
  const where = (): string => (name === '/' ? name : pathOf(draft, name))
  const problem = nodeProblem(node, draft.blockSize)
  if (problem !== undefined) fail(where(), problem)
  inode.number = draft.inodes.push(inode)
  inode.uidIndex = idIndex(draft, node.uid)
  inode.gidIndex = idIndex(draft, node.gid)
  if (draft.idIndexes.size > ID_COUNT_MAXIMUM) {
    fail(where(), {
      code: 'LIMIT',
      message: `more than ${ID_COUNT_MAXIMUM} different user and group ids; the superblock counts no further`,
    })
  }
  if (node.xattrs !== undefined && node.xattrs.length > 0) inode.xattrIndex = draft.xattrSets.indexOf(node.xattrs)
  if (node.kind === 'file') draft.files.push(node)
  for (const entry of listing?.entries ?? []) {
    if (entry.node.kind !== 'directory') continue
    const child = draft.known.get(entry.node)?.listing
    if (child !== undefined) child.parentNumber = inode.number
  }
}

function idIndex(draft: Draft, id: number): number {
  const known = draft.idIndexes.get(id)
  if (known !== undefined) return known
  const index = draft.idIndexes.size
  draft.idIndexes.set(id, index)
  return index
}

function pathOf(draft: Draft, name: Uint8Array): string {
  return [...draft.path.map((frame) => printable(frame.name)), printable(name)].join('/')
}

function fail(path: string, { code, message }: Problem): never {
  throw new ImageError(code, `squashfs: ${path}: ${message}`, { path })
}
