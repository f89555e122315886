/** The tree as FAT sees it: checked names with aliases, sizes in directory entries, no addresses yet. */
import { printable } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { type DirectoryNode, type FileNode, sortedEntries, type TreeNode } from '../../tree/tree.ts'
import { assignShortNames, caseKey, decodeName, type FatName } from './names.ts'

/** An entry of a directory: `index` counts within `files` or `directories`. */
export interface FatEntry extends FatName {
  readonly kind: 'file' | 'directory'
  readonly index: number
}

export interface FatDirectory {
  /** In the image, such as `/EFI/BOOT`; the root is `/`. */
  readonly path: string
  readonly mtimeSeconds: number
  /** Index of the parent; the root is its own. */
  readonly parent: number
  readonly entries: readonly FatEntry[]
  /** 32-byte entries with `.`, `..`, the label and long names. */
  readonly entryCount: number
}

export interface FatFile {
  readonly path: string
  readonly node: FileNode
}

export interface FatTree {
  /** The root first, then depth first in the order of names. */
  readonly directories: readonly FatDirectory[]
  /** In the same walk, each beside its siblings. */
  readonly files: readonly FatFile[]
}

/** File sizes are u32 (fatgen103, DIR_FileSize). */
const FILE_SIZE_LIMIT = 0xffffffff
/** A directory is at most 2 MiB; drivers count its entries in 16 bits (fatgen103, "FAT Directory Structure"). */
const DIRECTORY_ENTRY_LIMIT = 65535

/**
 * Check the whole tree and give every entry its alias. Throws UNSUPPORTED for what FAT cannot hold and
 * LIMIT for what is too large.
 */
export function fatTree(root: DirectoryNode, hasLabel: boolean): FatTree {
  const directories: FatDirectory[] = []
  const files: FatFile[] = []

  const addDirectory = (node: DirectoryNode, path: string, parent: number): number => {
    const index = directories.length
    // The place is taken now: children come after their parent.
    directories.push({ path, mtimeSeconds: node.mtimeSeconds, parent, entries: [], entryCount: 0 })
    if (node.entries.length > DIRECTORY_ENTRY_LIMIT) throw tooManyEntries(path, node.entries.length, node.entries.length)
    const children = sortedEntries(node)
    const names = assignShortNames(
      distinctNames(
        children.map((child) => decodeName(child.name, path)),
        path,
      ),
    )
    let entryCount = index === 0 ? Number(hasLabel) : 2
    for (const name of names) entryCount += name.longEntryCount + 1
    if (entryCount > DIRECTORY_ENTRY_LIMIT) throw tooManyEntries(path, children.length, entryCount)
    const entries = names.map((name, i): FatEntry => {
      const childPath = `${path === '/' ? '' : path}/${name.long}`
      const child = children[i]?.node as TreeNode
      checkNode(child, childPath)
      if (child.kind === 'directory') return { ...name, kind: 'directory', index: addDirectory(child, childPath, index) }
      files.push({ path: childPath, node: child })
      return { ...name, kind: 'file', index: files.length - 1 }
    })
    directories[index] = { path, mtimeSeconds: node.mtimeSeconds, parent, entries, entryCount }
    return index
  }

  checkNode(root, '/')
  addDirectory(root, '/', 0)
  return { directories, files }
}

/** The names as they are; throws when two are one name to FAT. */
function distinctNames(names: string[], path: string): string[] {
  const seen = new Map<string, string>()
  for (const name of names) {
    const key = caseKey(name)
    const other = seen.get(key)
    if (other !== undefined) {
      throw new ImageError(
        'UNSUPPORTED',
        `fat: ${path}: '${other}' and '${name}' differ in case only, which is one name on FAT; rename one`,
        { path },
      )
    }
    seen.set(key, name)
  }
  return names
}

/** Narrows to what FAT holds; the rest is an error. */
function checkNode(node: TreeNode, path: string): asserts node is FileNode | DirectoryNode {
  const shown = printable(new TextEncoder().encode(path))
  switch (node.kind) {
    case 'symlink':
      throw new ImageError('UNSUPPORTED', `fat: ${shown}: is a symbolic link, FAT has none; give the file it points to`, { path })
    case 'characterDevice':
    case 'blockDevice':
    case 'fifo':
    case 'socket':
      throw new ImageError('UNSUPPORTED', `fat: ${shown}: is a ${node.kind}, FAT holds files and directories only; leave it out`, { path })
    case 'file':
      if (node.size > FILE_SIZE_LIMIT) {
        throw new ImageError('LIMIT', `fat: ${shown}: file is ${node.size} bytes, FAT allows 4 GiB - 1; put it on another partition`, {
          path,
        })
      }
      break
    case 'directory':
      break
  }
  if (node.xattrs !== undefined && node.xattrs.length > 0) {
    throw new ImageError('UNSUPPORTED', `fat: ${shown}: has extended attributes, FAT has none; drop them from the tree`, { path })
  }
}

function tooManyEntries(path: string, names: number, entryCount: number): ImageError {
  return new ImageError(
    'LIMIT',
    `fat: ${path}: ${names} names need ${entryCount} directory entries or more, FAT allows ${DIRECTORY_ENTRY_LIMIT} in a directory; use shorter names or more directories`,
    { path },
  )
}
