/** How deep trees may be. */
import { printable } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import type { DirectoryNode, TreeNode } from './tree.ts'

/**
 * Folders in each other. Nix allows 64 levels in a store path, and a path of Linux, which has at most 4095 bytes, reaches so many only
 * where names are shorter than seven letters on average. Formats walk through folders in folders on the stack, and half of Node's
 * smallest one is enough for these.
 */
export const TREE_DEPTH_LIMIT = 512

/** Names at the beginning of a path that a message has. */
const NAMED_LEVELS = 8

/** Throws LIMIT where folders nest too deep in `root`. Takes no stack itself. */
export function checkDepth(root: TreeNode): void {
  if (root.kind !== 'directory') return
  const open: { readonly directory: DirectoryNode; next: number }[] = [{ directory: root, next: 0 }]
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const entry = top.directory.entries[top.next++]
    if (entry === undefined) {
      open.pop()
    } else if (entry.node.kind === 'directory') {
      if (open.length > TREE_DEPTH_LIMIT) {
        const names = open.slice(0, NAMED_LEVELS).map(({ directory, next }) => directory.entries[next - 1]?.name ?? new Uint8Array(0))
        throw tooDeep(`/${names.map(printable).join('/')}/...`)
      }
      open.push({ directory: entry.node, next: 0 })
    }
  }
}

/** LIMIT for what lies in `where`. */
export function tooDeep(where: string): ImageError {
  return new ImageError(
    'LIMIT',
    `${where}: folders nest deeper than ${TREE_DEPTH_LIMIT} levels, the limit for trees; move what is in them up, or leave it out`,
    { path: where },
  )
}
