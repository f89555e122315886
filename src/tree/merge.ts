/** Laying trees over each other. */
import { printable } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import { checkDepth, TREE_DEPTH_LIMIT, tooDeep } from './depth.ts'
import type { Attributes, DirectoryNode, Entry, TreeNode } from './tree.ts'

/**
 * One directory with the entries of all; folders of the same name are merged, and the attributes of the
 * first stay. Throws USAGE when two trees have a file of the same path, LIMIT where folders nest too deep.
 */
export function mergeTrees(first: DirectoryNode, ...others: readonly DirectoryNode[]): DirectoryNode {
  for (const tree of [first, ...others]) checkDepth(tree)
  return others.reduce((merged, other) => mergeTwo(merged, other, ''), first)
}

function mergeTwo(a: DirectoryNode, b: DirectoryNode, path: string): DirectoryNode {
  const entries = new Map<string, Entry>(a.entries.map((entry) => [keyOf(entry.name), entry]))
  for (const entry of b.entries) {
    const key = keyOf(entry.name)
    const own = entries.get(key)
    const where = `${path}/${printable(entry.name)}`
    if (own === undefined) entries.set(key, entry)
    else if (own.node.kind === 'directory' && entry.node.kind === 'directory') {
      entries.set(key, { name: own.name, node: mergeTwo(own.node, entry.node, where) })
    } else {
      throw new ImageError('USAGE', `${where}: is in the image already; choose another target`, { path: where })
    }
  }
  return { ...a, entries: [...entries.values()] }
}

function keyOf(name: Uint8Array): string {
  return Buffer.from(name).toString('latin1')
}

/**
 * A tree with `node` at `path` (names between slashes, UTF-8) and folders with `attributes` above it.
 * Throws USAGE for a path without a name, or with `.` or `..` in it, LIMIT for one of too many names.
 */
export function treeAt(path: string, node: TreeNode, attributes: Attributes): DirectoryNode {
  const names = path.split('/').filter((name) => name !== '')
  if (names.length === 0 || names.some((name) => name === '.' || name === '..' || name.includes('\0'))) {
    throw new ImageError('USAGE', `'${path}' is no path in an image; name a file or folder below /`, { path })
  }
  if (names.length > TREE_DEPTH_LIMIT) throw tooDeep(`/${names.slice(0, 8).join('/')}/...`)
  const tree = names.reduceRight<TreeNode>((below, name) => directoryOf(attributes, [{ name: Buffer.from(name), node: below }]), node)
  return tree as DirectoryNode
}

function directoryOf(attributes: Attributes, entries: readonly Entry[]): DirectoryNode {
  return { kind: 'directory', ...attributes, entries }
}
