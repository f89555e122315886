/** The tree as ext4 sees it: checked nodes with inode numbers and link counts, no addresses yet. */
import { compareBytes } from '../../bytes/order.ts'
import { printable, utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { entryNameProblem, type Problem } from '../../tree/limits.ts'
import { type DirectoryNode, type Entry, sortedEntries, type TreeNode } from '../../tree/tree.ts'
import { type AttributePlan, planAttributes } from './attributes.ts'
import { type DirectoryLayout, planDirectory } from './directory.ts'
import { FIRST_INODE, LINK_COUNT_MAXIMUM, LOST_AND_FOUND_BLOCK_COUNT, LOST_AND_FOUND_INODE, ROOT_INODE } from './disk.ts'
import { nodeProblem } from './limits.ts'

export interface PlannedDirectory {
  readonly inode: number
  /** The root is its own. */
  readonly parentInode: number
  /** Sorted by name. */
  readonly entries: readonly Entry[]
  /** Inode numbers of the entries. */
  readonly children: Uint32Array
  readonly layout: DirectoryLayout
}

export interface Ext4Tree {
  /** By inode number; undefined for special inodes. */
  readonly nodes: readonly (TreeNode | undefined)[]
  /** By inode number, as it is stored. */
  readonly linkCounts: Uint16Array
  /** In the order of a depth-first walk, the root first. */
  readonly directories: readonly PlannedDirectory[]
  readonly directoryByInode: ReadonlyMap<number, PlannedDirectory>
  /** Inode numbers of all but directories, in the order of that walk. */
  readonly others: Uint32Array
  /** By inode number. */
  readonly attributes: ReadonlyMap<number, AttributePlan>
}

export interface TreeOptions {
  /** Of `lost+found`. */
  readonly timeSeconds: number
  /** See `hashStart`. */
  readonly hashStart: Int32Array
}

/** By custom in every file system of ext2's family, so that a check has where to put what it finds. */
const LOST_AND_FOUND = utf8('lost+found')
const LOST_AND_FOUND_MODE = 0o700

/** A directory; its entries before `next` have been looked into. */
interface Frame {
  readonly name: Uint8Array
  readonly directory: PlannedDirectory
  next: number
}

interface Draft extends TreeOptions {
  readonly nodes: (TreeNode | undefined)[]
  readonly linkCounts: number[]
  readonly directories: PlannedDirectory[]
  readonly others: number[]
  /** By inode number: is in `others`. A hard link is, once. */
  readonly placed: boolean[]
  readonly attributes: Map<number, AttributePlan>
  /** Inode numbers, by which hard links are known. */
  readonly known: Map<TreeNode, number>
  /** From the root to the directory at hand: a stack of our own, for trees may be deeper than calls. */
  readonly path: Frame[]
}

/**
 * Number the nodes: the children of a directory get consecutive inodes, and directories are entered in the
 * order of their names. Throws USAGE, LIMIT or UNSUPPORTED with the path in the image.
 */
export function planTree(root: DirectoryNode, options: TreeOptions): Ext4Tree {
  const draft: Draft = {
    ...options,
    nodes: new Array<TreeNode | undefined>(FIRST_INODE + 1),
    linkCounts: new Array<number>(FIRST_INODE + 1).fill(0),
    directories: [],
    others: [],
    placed: [],
    attributes: new Map(),
    known: new Map(),
    path: [],
  }
  const whole = withLostAndFound(root, options.timeSeconds)
  addNode(draft, whole, ROOT_INODE, new Uint8Array(0))
  openDirectory(draft, whole, ROOT_INODE, ROOT_INODE, new Uint8Array(0))
  for (let frame = draft.path.at(-1); frame !== undefined; frame = draft.path.at(-1)) {
    const { entries, children, inode } = frame.directory
    const index = frame.next++
    const entry = entries[index]
    if (entry === undefined) {
      draft.path.pop()
      continue
    }
    const child = children[index] as number
    if (entry.node.kind === 'directory') openDirectory(draft, entry.node, child, inode, entry.name)
    else if (draft.placed[child] !== true) {
      draft.placed[child] = true
      draft.others.push(child)
    }
  }
  return {
    nodes: draft.nodes,
    linkCounts: Uint16Array.from(draft.linkCounts),
    directories: draft.directories,
    directoryByInode: new Map(draft.directories.map((directory) => [directory.inode, directory])),
    others: Uint32Array.from(draft.others),
    attributes: draft.attributes,
  }
}

/** The root with an empty `lost+found`, unless it has one. */
function withLostAndFound(root: DirectoryNode, mtimeSeconds: number): DirectoryNode {
  const own = root.entries.find(({ name }) => compareBytes(name, LOST_AND_FOUND) === 0)
  if (own !== undefined) {
    if (own.node.kind === 'directory') return root
    fail('/lost+found', { code: 'UNSUPPORTED', message: `is a ${own.node.kind}; ext4 keeps this name for a directory, rename it` })
  }
  const node: DirectoryNode = { kind: 'directory', mode: LOST_AND_FOUND_MODE, uid: 0, gid: 0, mtimeSeconds, entries: [] }
  return { ...root, entries: [...root.entries, { name: LOST_AND_FOUND, node }] }
}

/** Check the directory's names, number its entries, and make it the one at hand. */
function openDirectory(draft: Draft, node: DirectoryNode, inode: number, parentInode: number, name: Uint8Array): void {
  const entries = sortedEntries(node)
  const children = new Uint32Array(entries.length)
  const isRoot = inode === ROOT_INODE
  let linkCount = 2
  for (const [index, entry] of entries.entries()) {
    const problem = entryNameProblem(entry.name, entries[index - 1]?.name)
    if (problem !== undefined) fail(pathOf(draft, name, entry.name), problem)
    const isLostAndFound = isRoot && compareBytes(entry.name, LOST_AND_FOUND) === 0
    children[index] = numberNode(draft, entry.node, isLostAndFound ? LOST_AND_FOUND_INODE : undefined, name, entry.name)
    if (entry.node.kind === 'directory') linkCount++
  }
  draft.linkCounts[inode] = linkCount > LINK_COUNT_MAXIMUM ? 1 : linkCount
  const layout = planDirectory(entries, inode === LOST_AND_FOUND_INODE ? LOST_AND_FOUND_BLOCK_COUNT : 1, draft.hashStart)
  if ('code' in layout) fail(pathOf(draft, name), layout)
  const directory = { inode, parentInode, entries, children, layout }
  draft.directories.push(directory)
  draft.path.push({ name, directory, next: 0 })
}

/** The inode number of an entry, which a node that was met before has already. */
function numberNode(draft: Draft, node: TreeNode, wanted: number | undefined, folder: Uint8Array, name: Uint8Array): number {
  const known = draft.known.get(node)
  if (known === undefined) {
    const inode = wanted ?? draft.nodes.length
    addNode(draft, node, inode, folder, name)
    return inode
  }
  if (node.kind === 'directory') {
    fail(pathOf(draft, folder, name), {
      code: 'USAGE',
      message: 'the directory stands in the tree twice; only other nodes can be hard links',
    })
  }
  const linkCount = (draft.linkCounts[known] as number) + 1
  if (linkCount > LINK_COUNT_MAXIMUM) {
    fail(pathOf(draft, folder, name), {
      code: 'LIMIT',
      message: `is the ${linkCount}th hard link of one node, ext4 allows ${LINK_COUNT_MAXIMUM}; give the others a copy`,
    })
  }
  draft.linkCounts[known] = linkCount
  return known
}

function addNode(draft: Draft, node: TreeNode, inode: number, ...names: readonly Uint8Array[]): void {
  const attributes = node.xattrs === undefined || node.xattrs.length === 0 ? undefined : planAttributes(node.xattrs)
  const problem = nodeProblem(node) ?? (attributes !== undefined && 'code' in attributes ? attributes : undefined)
  if (problem !== undefined) fail(pathOf(draft, ...names), problem)
  draft.nodes[inode] = node
  draft.linkCounts[inode] = 1
  draft.known.set(node, inode)
  if (attributes !== undefined && !('code' in attributes)) draft.attributes.set(inode, attributes)
}

/** The path of what lies below the directory at hand. */
function pathOf(draft: Draft, ...names: readonly Uint8Array[]): string {
  const all = [...draft.path.map((frame) => frame.name), ...names].filter((name) => name.length > 0)
  return `/${all.map(printable).join('/')}`
}

function fail(path: string, { code, message }: Problem): never {
  throw new ImageError(code, `ext4: ${path}: ${message}`, { path })
}
