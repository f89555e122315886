/** Which digests threads can check as streams, and contents that check themselves for the others. */
import { type DirectoryNode, type FileNode, sortedEntries, type TreeDigest, type TreeNode } from '../tree/tree.ts'
import { verifiedTree } from '../tree/verified.ts'

/**
 * Digests whose node is in none of the trees as it is, since something was added to it or it was taken apart, or has contents
 * that threads cannot read.
 */
export function uncoveredDigests(trees: readonly DirectoryNode[], digests: readonly TreeDigest[]): TreeDigest[] {
  const left = new Set<TreeNode>(digests.map(({ node }) => node))
  const stack: TreeNode[] = [...trees]
  for (let node = stack.pop(); node !== undefined && left.size > 0; node = stack.pop()) {
    if (left.has(node) && isReadable(node)) left.delete(node)
    else if (node.kind === 'directory') for (const entry of node.entries) stack.push(entry.node)
  }
  return digests.filter(({ node }) => left.has(node))
}

function isReadable(node: TreeNode): boolean {
  if (node.kind === 'directory') return node.entries.every((entry) => isReadable(entry.node))
  return node.kind !== 'file' || node.content.kind !== 'image'
}

/** The tree with contents that check the digests while they are read, which has to be in their order (see `verifiedTree`). */
export function withVerifiedContents(root: DirectoryNode, digests: readonly TreeDigest[]): DirectoryNode {
  const verified = new Map<TreeNode, FileNode>()
  for (const digest of digests) pairFiles(digest.node, verifiedTree(digest), verified)
  return exchanged(root, verified) as DirectoryNode
}

function pairFiles(own: TreeNode, checked: TreeNode, into: Map<TreeNode, FileNode>): void {
  if (own.kind === 'directory' && checked.kind === 'directory') {
    const twins = sortedEntries(checked)
    for (const [index, { node }] of sortedEntries(own).entries()) pairFiles(node, (twins[index] as (typeof twins)[number]).node, into)
  } else if (checked.kind === 'file') into.set(own, checked)
}

/** Directories in which nothing is exchanged stay the same. */
function exchanged(node: TreeNode, files: ReadonlyMap<TreeNode, FileNode>): TreeNode {
  if (node.kind !== 'directory') return files.get(node) ?? node
  const entries = node.entries.map((entry) => {
    const own = exchanged(entry.node, files)
    return own === entry.node ? entry : { name: entry.name, node: own }
  })
  return entries.every((entry, index) => entry === node.entries[index]) ? node : { ...node, entries }
}
