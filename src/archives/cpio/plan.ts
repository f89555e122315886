/**
 * From a tree to the records of an archive and their addresses. Pure: no content is read.
 *
 * Records stand depth first, entries in the order of their bytes, so that a folder comes before what is in
 * it. Inodes count from 1 in this order, and device numbers are 0: nothing of the host shows. The links of a
 * directory are 2 and one for each directory in it, as ext4, XFS and tmpfs count, so that GNU cpio writes the
 * same for the same folder; no reader looks at it.
 */
import { alignUp } from '../../bytes/align.ts'
import { printable, utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { checkDepth } from '../../tree/depth.ts'
import { type DirectoryNode, sortedEntries, type TreeNode } from '../../tree/tree.ts'
import { ALIGNMENT, HEADER_SIZE, TRAILER_SIZE } from './disk.ts'
import { checkEntryName, checkNode, checkRecordName, FILE_SIZE_MAXIMUM, fileSizeError } from './limits.ts'

export interface CpioOptions {
  /** Before every name, such as `nix/store` (UTF-8). Its folders get no records of their own. Default: none. */
  readonly prefix?: string
  /**
   * Whether a node that stands in several places is one file with several names (default), or a file of its
   * own in each place. Directories are always the latter.
   */
  readonly hardLinks?: boolean
  /** A record `.` for the root directory, without a prefix only; default: none. */
  readonly rootRecord?: boolean
}

export const CPIO_DEFAULTS = { prefix: '', hardLinks: true, rootRecord: false } as const

export interface CpioRecord {
  /** Whole name as the archive has it, without the zero byte that ends it. */
  readonly name: Uint8Array
  readonly node: TreeNode
  readonly inode: number
  readonly linkCount: number
  /** Of the header, from the beginning of the archive; a multiple of 4, as is `dataStart`. */
  readonly start: number
  readonly dataStart: number
  /** 0 for all names of a hard link but the last; a symbolic link has its target with each. */
  readonly dataSize: number
}

/** What goes where, as plain data. */
export interface CpioPlan {
  readonly records: readonly CpioRecord[]
  /** Inodes are numbered from 1 to this. */
  readonly inodeCount: number
  /** Of the record that ends the archive. */
  readonly trailerStart: number
  /** Bytes of the archive, a multiple of 4. */
  readonly size: number
}

/** A name and its node, before anything is counted. */
interface Place {
  readonly name: Uint8Array
  readonly node: TreeNode
}

const SLASH = 0x2f
const NO_NAME = new Uint8Array(0)
const ROOT_NAME = utf8('.')

/**
 * Lay out an archive of what is in `root`. Throws LIMIT (files of 4 GiB, paths, targets, numbers), USAGE
 * (names, options, contents that contradict their node) and UNSUPPORTED (extended attributes).
 */
export function planCpio(root: DirectoryNode, options: CpioOptions = {}): CpioPlan {
  checkDepth(root)
  const hardLinks = options.hardLinks ?? CPIO_DEFAULTS.hardLinks
  const places = placesOf(root, options)
  const counts = hardLinks ? countShared(places) : new Map<TreeNode, number>()
  const shared = new Map<TreeNode, { readonly inode: number; left: number }>()
  const records: CpioRecord[] = []
  let lastInode = 0
  let start = 0
  for (const { name, node } of places) {
    const count = counts.get(node) ?? 1
    const inode = shared.get(node)?.inode ?? ++lastInode
    const left = (shared.get(node)?.left ?? count) - 1
    if (count > 1) shared.set(node, { inode, left })
    const linkCount = node.kind === 'directory' ? directoryLinks(node) : count
    const dataSize = dataSizeOf(node, left === 0)
    if (dataSize > FILE_SIZE_MAXIMUM) throw fileSizeError(name, dataSize)
    const dataStart = dataStartOf(start, name)
    records.push({ name, node, inode, linkCount, start, dataStart, dataSize })
    start = alignUp(dataStart + dataSize, ALIGNMENT)
  }
  return { records, inodeCount: lastInode, trailerStart: start, size: start + TRAILER_SIZE }
}

/** Where the data of a record at `start` begins. */
export function dataStartOf(start: number, name: Uint8Array): number {
  return alignUp(start + HEADER_SIZE + name.length + 1, ALIGNMENT)
}

/** The names before every name, none for an empty prefix. Throws USAGE. */
export function checkPrefix(options: CpioOptions): Uint8Array {
  const prefix = options.prefix ?? CPIO_DEFAULTS.prefix
  if (prefix === '') return NO_NAME
  if (options.rootRecord ?? CPIO_DEFAULTS.rootRecord) {
    throw new ImageError('USAGE', `cpio: with the prefix '${prefix}' there is no record for the root; leave one of both out`)
  }
  if (prefix.includes('\0') || prefix.split('/').some((name) => name === '' || name === '.' || name === '..')) {
    throw new ImageError('USAGE', `cpio: '${printable(utf8(prefix))}' is no prefix; give names between slashes, such as 'nix/store'`)
  }
  return utf8(prefix)
}

/** `folder/name`; just `name` for no folder. */
export function joinName(folder: Uint8Array, name: Uint8Array): Uint8Array {
  if (folder.length === 0) return name
  const joined = new Uint8Array(folder.length + 1 + name.length)
  joined.set(folder)
  joined[folder.length] = SLASH
  joined.set(name, folder.length + 1)
  return joined
}

function placesOf(root: DirectoryNode, options: CpioOptions): Place[] {
  const places: Place[] = []
  const add = (name: Uint8Array, node: TreeNode): void => {
    checkRecordName(name)
    checkNode(node, name)
    places.push({ name, node })
    if (node.kind === 'directory') addEntries(name, node)
  }
  const addEntries = (folder: Uint8Array, directory: DirectoryNode): void => {
    let last: Uint8Array | undefined
    for (const { name, node } of sortedEntries(directory)) {
      checkEntryName(name, folder, last)
      last = name
      add(joinName(folder, name), node)
    }
  }
  const prefix = checkPrefix(options)
  if (options.rootRecord ?? CPIO_DEFAULTS.rootRecord) {
    checkNode(root, ROOT_NAME)
    places.push({ name: ROOT_NAME, node: root })
  }
  addEntries(prefix, root)
  return places
}

/** Nodes that stand in several places, and in how many. */
function countShared(places: readonly Place[]): Map<TreeNode, number> {
  const seen = new Set<TreeNode>()
  const counts = new Map<TreeNode, number>()
  for (const { node } of places) {
    if (node.kind === 'directory') continue
    if (seen.has(node)) counts.set(node, (counts.get(node) ?? 1) + 1)
    else seen.add(node)
  }
  return counts
}

function directoryLinks({ entries }: DirectoryNode): number {
  let links = 2
  for (const { node } of entries) if (node.kind === 'directory') links++
  return links
}

/**
 * The content stands with the last name of a file: Linux makes the others links to the first and writes then,
 * GNU cpio and busybox put them off until it comes. A link's target stands with each name, since Linux makes a
 * link of its own of each.
 */
function dataSizeOf(node: TreeNode, isLast: boolean): number {
  if (node.kind === 'symlink') return node.target.length
  return node.kind === 'file' && isLast ? node.size : 0
}
