/** The tree as this format sees it: names, inodes with their link counts, and the data behind files. */
import { compareBytes } from '../../bytes/order.ts'
import { printable, utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { checkDepth } from '../../tree/depth.ts'
import { entryNameProblem, linkTargetProblem, type Problem, rangeProblem } from '../../tree/limits.ts'
import { type DirectoryNode, type Entry, type FileNode, sortedEntries, type TreeNode } from '../../tree/tree.ts'
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

/** Parent numbers of path tables have 16 bits (ECMA-119 9.4.4). */
const DIRECTORY_LIMIT = 0xffff
export interface WalkOptions {
  readonly rockRidge: boolean
}

/** Walk and check a tree. Throws LIMIT, UNSUPPORTED, or USAGE for what no directory can hold. */
export function walk(root: DirectoryNode, options: WalkOptions): ItemTree {
  checkDepth(root)
  const files: FileData[] = []
  const dataOf = new Map<FileNode, FileData>()
  const inodes = new Map<TreeNode, Inode>()
  let serial = 0
  let directoryCount = 0
  const visit = (name: Uint8Array, path: string, node: TreeNode): Item => {
    checkNode(node, path, options)
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
    const children = entries.map((entry) => visit(entry.name, prefix + printable(entry.name), entry.node))
    // Its own `.` and the `..` of every directory in it.
    inode.linkCount += 1 + children.filter((child) => child.node.kind === 'directory').length
    return { name, path, node, inode, children }
  }
  return { root: visit(new Uint8Array(0), '/', root), files, dataOf }
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
      report(rangeProblem('size', node.size, 0, Number.MAX_SAFE_INTEGER), path)
      return
    case 'symlink':
      report(linkTargetProblem(node.target), path)
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

function checkNames(entries: readonly Entry[], path: string): void {
  for (const [index, { name }] of entries.entries()) report(entryNameProblem(name, entries[index - 1]?.name), path)
}

function report(problem: Problem | undefined, path: string): void {
  if (problem !== undefined) throw new ImageError(problem.code, `iso9660: ${path}: ${problem.message}`, { path })
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
