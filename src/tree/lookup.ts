/** Looking for one node of a tree. */
import type { DirectoryNode, TreeNode } from './tree.ts'

/** The node at `path` (names between slashes, UTF-8), or undefined where there is none. */
export function nodeAt(root: DirectoryNode, path: string): TreeNode | undefined {
  let node: TreeNode | undefined = root
  for (const name of path.split('/').filter((one) => one !== '')) {
    if (node?.kind !== 'directory') return undefined
    const wanted = Buffer.from(name)
    node = node.entries.find((entry) => wanted.equals(entry.name))?.node
  }
  return node
}
