/** The tree as this format sees it: names, inodes with their link counts, and the data behind files. */
import { compareBytes } from '../../bytes/order.ts'
import { printable, utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { type DirectoryNode, type FileNode, sortedEntries, type TreeNode } from '../../tree/tree.ts'
import { recordingDate } from './disk.ts'

/** One name in the image. Children of a directory are in the order of their names. */
export interface Item {
  readonly name: Uint8Array
  /** For messages and plans; begins with `/`. */
  readonly path: string
  readonly node: TreeNode
  readonly inode: Inode
  readonly children: readonly Item[]
}

export interface Inode {
  /** Counts from 1 in the order of the walk. */
  readonly serial: number
  linkCount: number
  readonly data: FileData | undefined
}

/** The bytes of a file, however many names it has. */
export interface FileData {
  readonly node: FileNode
  /** Of its first name. */
  readonly path: string
}

export interface ItemTree {
  readonly root: Item
  /** In the order of the walk. */
  readonly files: readonly FileData[]
  readonly dataOf: ReadonlyMap<FileNode, FileData>
}

/** NAME_MAX of the kernel; Rock Ridge has no limit of its own. */
const NAME_LIMIT = 255
/** PATH_MAX - 1 of the kernel. */
const LINK_TARGET_LIMIT = 4095
/** Parent numbers of path tables have 16 bits (ECMA-119 9.4.4). */
const DIRECTORY_LIMIT = 0xffff
/** Far beyond any real tree; keeps a tree that contains itself from running out of memory. */
const DEPTH_LIMIT = 1000

export interface WalkOptions {
  readonly rockRidge: boolean
}

/** Walk and check a tree. Throws LIMIT, UNSUPPORTED, or BAD_INPUT for names that no directory can hold. */
export function walk(root: DirectoryNode, options: WalkOptions): ItemTree {
  const files: FileData[] = []
  const dataOf = new Map<FileNode, FileData>()
  const inodes = new Map<TreeNode, Inode>()
  let serial = 0
  let directoryCount = 0
  const visit = (name: Uint8Array, path: string, node: TreeNode, depth: number): Item => {
    checkNode(node, path, options)
    if (depth > DEPTH_LIMIT) throw new ImageError('LIMIT', `iso9660: ${path}: deeper than ${DEPTH_LIMIT} directories`, { path })
    let inode = node.kind === 'directory' ? undefined : inodes.get(node)
    if (inode === undefined) {
      const data = node.kind === 'file' ? { node, path } : undefined
      if (data !== undefined) {
        files.push(data)
        dataOf.set(data.node, data)
      }
      inode = { serial: ++serial, linkCount: 0, data }
      inodes.set(node, inode)
    }
    inode.linkCount++
    if (node.kind !== 'directory') return { name, path, node, inode, children: [] }
    directoryCount++
    if (directoryCount > DIRECTORY_LIMIT) {
      throw new ImageError('LIMIT', `iso9660: more than ${DIRECTORY_LIMIT} directories; put the tree into a squashfs file`)
    }
    const entries = sortedEntries(node)
    checkNames(entries, path)
    const prefix = path === '/' ? '/' : `${path}/`
    const children = entries.map((entry) => visit(entry.name, prefix + printable(entry.name), entry.node, depth + 1))
    // Its own `.` and the `..` of every directory in it.
    inode.linkCount += 1 + children.filter((child) => child.node.kind === 'directory').length
    return { name, path, node, inode, children }
  }
  return { root: visit(new Uint8Array(0), '/', root, 0), files, dataOf }
}

function checkNode(node: TreeNode, path: string, options: WalkOptions): void {
  recordingDate(node.mtimeSeconds, path)
  if (node.xattrs !== undefined && node.xattrs.length > 0) {
    throw new ImageError('UNSUPPORTED', `iso9660: ${path}: extended attributes cannot be written; remove them`, { path })
  }
  if (!options.rockRidge && node.kind !== 'file' && node.kind !== 'directory') {
    throw new ImageError('UNSUPPORTED', `iso9660: ${path}: a ${node.kind} needs Rock Ridge; enable it or leave the entry out`, { path })
  }
  switch (node.kind) {
    case 'directory':
    case 'fifo':
    case 'socket':
      return
    case 'file':
      if (!Number.isSafeInteger(node.size) || node.size < 0)
        throw new ImageError('LIMIT', `iso9660: ${path}: size ${node.size} is not possible`)
      return
    case 'symlink':
      if (node.target.length === 0 || node.target.length > LINK_TARGET_LIMIT || node.target.includes(0)) {
        throw new ImageError(
          'LIMIT',
          `iso9660: ${path}: link target of ${node.target.length} bytes; 1 to ${LINK_TARGET_LIMIT} without NUL are possible`,
          { path },
        )
      }
      return
    case 'characterDevice':
    case 'blockDevice':
      // Linux takes a number below 2^16 without high word for major << 8 | minor.
      if (node.major === 0 && node.minor > 0xff) {
        throw new ImageError(
          'LIMIT',
          `iso9660: ${path}: device 0:${node.minor} cannot be told from ${node.minor >> 8}:${node.minor & 0xff}`,
          { path },
        )
      }
      return
  }
}

function checkNames(entries: readonly { readonly name: Uint8Array }[], path: string): void {
  let previous: Uint8Array | undefined
  for (const { name } of entries) {
    const shown = printable(name)
    if (name.length > NAME_LIMIT) {
      throw new ImageError(
        'LIMIT',
        `iso9660: ${path}: name '${shown.slice(0, 40)}...' has ${name.length} bytes, ${NAME_LIMIT} are possible`,
        { path },
      )
    }
    if (name.length === 0 || shown === '.' || shown === '..' || name.includes(0) || name.includes(0x2f)) {
      throw new ImageError('BAD_INPUT', `iso9660: ${path}: '${shown}' is no name of a file`, { path })
    }
    if (previous !== undefined && compareBytes(previous, name) === 0) {
      throw new ImageError('BAD_INPUT', `iso9660: ${path}: two entries have the name '${shown}'`, { path })
    }
    previous = name
  }
}

/** Names of a path as options give it: `isolinux/isolinux.bin`, with or without a leading slash. */
function pathNames(path: string): Uint8Array[] {
  return path
    .split('/')
    .filter((name) => name !== '')
    .map(utf8)
}

function childOf(node: TreeNode | undefined, name: Uint8Array): TreeNode | undefined {
  return node?.kind === 'directory' ? node.entries.find((entry) => compareBytes(entry.name, name) === 0)?.node : undefined
}

/** The file at `path`; NOT_FOUND or USAGE when there is none. `what` says who asks. */
export function fileAt(root: DirectoryNode, path: string, what: string): FileNode {
  const node = pathNames(path).reduce<TreeNode | undefined>(childOf, root)
  if (node === undefined) throw new ImageError('NOT_FOUND', `iso9660: ${what} '${path}' is not in the tree`, { path })
  if (node.kind !== 'file') throw new ImageError('USAGE', `iso9660: ${what} '${path}' is a ${node.kind}, not a file`, { path })
  return node
}

/** A tree with `node` at `path`, whose directory must exist and which must not be taken. */
export function withFile(root: DirectoryNode, path: string, node: FileNode, what: string): DirectoryNode {
  const insert = (directory: DirectoryNode, names: readonly Uint8Array[]): DirectoryNode => {
    const [name, ...rest] = names
    if (name === undefined) throw new ImageError('USAGE', `iso9660: ${what}: '${path}' names no file`, { path })
    const child = childOf(directory, name)
    if (rest.length === 0) {
      if (child !== undefined) throw new ImageError('USAGE', `iso9660: ${what}: '${path}' is in the tree already`, { path })
      return { ...directory, entries: [...directory.entries, { name, node }] }
    }
    if (child?.kind !== 'directory') {
      throw new ImageError('NOT_FOUND', `iso9660: ${what}: the directory of '${path}' is not in the tree; add it`, { path })
    }
    const replaced = insert(child, rest)
    return {
      ...directory,
      entries: directory.entries.map((entry) => (compareBytes(entry.name, name) === 0 ? { name, node: replaced } : entry)),
    }
  }
  return insert(root, pathNames(path))
}
