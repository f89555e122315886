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
  readonly inodes: PlannedInodes
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

/** The inodes of a plan, of which there may be millions: each is put together when it is asked for. */
export interface PlannedInodes extends Iterable<PlannedInode> {
  readonly length: number
  /** The inode of this number, which is one of the plan's. */
  numbered(number: number): PlannedInode
  /** The number of a node of the plan that is no directory; 0 for others. */
  numberOf(node: TreeNode): number
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
    inodes: new InodeTable(),
    files: [],
    directories: new Map(),
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
        numberInode(draft, root, '/')
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

type ListingDraft = { -readonly [K in keyof PlannedListing]: PlannedListing[K] }

/** A directory; its entries before `next` have been looked into. */
interface Frame {
  readonly name: Uint8Array
  readonly listing: ListingDraft
  next: number
}

interface Draft {
  readonly blockSize: number
  readonly inodes: InodeTable
  readonly files: FileNode[]
  readonly directories: Map<TreeNode, ListingDraft>
  readonly idIndexes: Map<number, number>
  readonly xattrSets: XattrSets
  /** From the root to the directory at hand: a stack of our own, for trees may be deeper than calls. */
  readonly path: Frame[]
}

/** What many inodes have in common. */
type Owner = Pick<PlannedInode, 'uidIndex' | 'gidIndex' | 'xattrIndex'>

/** As columns: an object an inode is what takes most of a plan. */
class InodeTable implements PlannedInodes {
  readonly #nodes: TreeNode[] = []
  readonly #linkCounts: number[] = []
  readonly #owners: Owner[] = []
  readonly #listings = new Map<number, PlannedListing>()
  /** Of nodes that are no directories. */
  readonly #numbers = new Map<TreeNode, number>()
  readonly #knownOwners = new Map<string, Owner>()

  get length(): number {
    return this.#nodes.length
  }

  /** Returns its number. */
  add(node: TreeNode, linkCount: number, owner: Owner, listing: PlannedListing | undefined): number {
    const number = this.#nodes.push(node)
    this.#linkCounts.push(linkCount)
    this.#owners.push(this.#known(owner))
    if (listing !== undefined) this.#listings.set(number, listing)
    else this.#numbers.set(node, number)
    return number
  }

  numberOf(node: TreeNode): number {
    return this.#numbers.get(node) ?? 0
  }

  addLink(number: number): void {
    this.#linkCounts[number - 1] = (this.#linkCounts[number - 1] as number) + 1
  }

  numbered(number: number): PlannedInode {
    const [node, linkCount, owner] = [this.#nodes[number - 1], this.#linkCounts[number - 1], this.#owners[number - 1]]
    if (node === undefined || linkCount === undefined || owner === undefined) throw new RangeError(`squashfs: no inode ${number}`)
    const { uidIndex, gidIndex, xattrIndex } = owner
    return { number, node, linkCount, uidIndex, gidIndex, xattrIndex, listing: this.#listings.get(number) }
  }

  *[Symbol.iterator](): Generator<PlannedInode> {
    for (let number = 1; number <= this.length; number++) yield this.numbered(number)
  }

  #known(owner: Owner): Owner {
    const last = this.#owners.at(-1)
    if (last?.uidIndex === owner.uidIndex && last.gidIndex === owner.gidIndex && last.xattrIndex === owner.xattrIndex) return last
    const key = `${owner.uidIndex} ${owner.gidIndex} ${owner.xattrIndex}`
    const known = this.#knownOwners.get(key) ?? owner
    this.#knownOwners.set(key, known)
    return known
  }
}

function openDirectory(draft: Draft, node: DirectoryNode, name: Uint8Array): void {
  if (draft.directories.has(node)) {
    fail(pathOf(draft, name), { code: 'USAGE', message: 'the directory stands in the tree twice; only other nodes can be hard links' })
  }
  const entries = sortedEntries(node)
  const listing: ListingDraft = { entries, inodeNumbers: new Uint32Array(entries.length), parentNumber: 0, indexed: false }
  draft.directories.set(node, listing)
  draft.path.push({ name, listing, next: 0 })
  let listingSize = unitsFor(entries.length, DIRECTORY_HEADER_ENTRIES_MAXIMUM) * directoryHeader.size
  let previous: Uint8Array | undefined
  for (const { name: entryName } of entries) {
    const problem = entryNameProblem(entryName, previous)
    if (problem !== undefined) fail(pathOf(draft, entryName), problem)
    previous = entryName
    listingSize += directoryEntry.size + entryName.length
  }
  listing.indexed = listingSize > METADATA_BLOCK_SIZE
}

/** Everything below the subdirectories is numbered; now the entries themselves. */
function numberEntries(draft: Draft, { listing }: Frame): void {
  for (const [index, entry] of listing.entries.entries()) {
    const known = draft.inodes.numberOf(entry.node)
    if (known !== 0) draft.inodes.addLink(known)
    listing.inodeNumbers[index] = known || numberInode(draft, entry.node, entry)
  }
}

/** `entry` is the one by which the node was reached, and in which its name is asked for when something is wrong. */
function numberInode(draft: Draft, node: TreeNode, entry: Entry | '/'): number {
  const where = (): string => (entry === '/' ? entry : pathOf(draft, entry.name))
  const problem = nodeProblem(node, draft.blockSize)
  if (problem !== undefined) fail(where(), problem)
  const [uidIndex, gidIndex] = [idIndex(draft, node.uid), idIndex(draft, node.gid)]
  if (draft.idIndexes.size > ID_COUNT_MAXIMUM) {
    fail(where(), {
      code: 'LIMIT',
      message: `more than ${ID_COUNT_MAXIMUM} different user and group ids; the superblock counts no further`,
    })
  }
  const xattrIndex = node.xattrs !== undefined && node.xattrs.length > 0 ? draft.xattrSets.indexOf(node.xattrs) : NO_INDEX
  const owner = { uidIndex, gidIndex, xattrIndex }
  if (node.kind !== 'directory') {
    const number = draft.inodes.add(node, 1, owner, undefined)
    if (node.kind === 'file') draft.files.push(node)
    return number
  }
  const listing = draft.directories.get(node)
  // That of this inode, which is added when its subdirectories are counted.
  const parentNumber = draft.inodes.length + 1
  let below = 0
  for (const one of listing?.entries ?? []) {
    const childListing = one.node.kind === 'directory' ? draft.directories.get(one.node) : undefined
    if (childListing === undefined) continue
    below++
    childListing.parentNumber = parentNumber
  }
  return draft.inodes.add(node, 2 + below, owner, listing)
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
