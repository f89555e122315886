/**
 * Streams of file contents. A stream is what is hashed as a whole (a digest), or the files below one entry of the
 * root; its order is the order of names, so the place of every byte in an image follows from the tree alone.
 */
import { printable } from '../bytes/text.ts'
import type { DirectoryNode, FileNode, TreeDigest, TreeNode } from '../tree/tree.ts'
import { sortedEntries } from '../tree/tree.ts'

export interface Stream {
  readonly digest: TreeDigest | undefined
  pieces(): Iterable<Uint8Array | FileNode>
}

/**
 * The files in the order of names, as streams: one for each digest, wherever in the tree, for each file with a proof of its
 * own that none of them covers, and for what lies between.
 */
export function* planStreams(root: DirectoryNode, digests: readonly TreeDigest[]): Generator<Stream> {
  const byNode = new Map<TreeNode, TreeDigest>()
  for (const digest of digests) byNode.set(digest.node, digest)
  const whole = byNode.get(root)
  if (whole !== undefined) yield { digest: whole, pieces: () => whole.pieces() }
  else for (const { node } of sortedEntries(root)) yield* streamsBelow(node, byNode)
}

function* streamsBelow(root: TreeNode, byNode: ReadonlyMap<TreeNode, TreeDigest>): Generator<Stream> {
  let between: FileNode[] = []
  const stack: TreeNode[] = [root]
  for (let node = stack.pop(); node; node = stack.pop()) {
    const digest = byNode.get(node) ?? ownDigest(node)
    if (digest !== undefined) {
      if (between.length > 0) yield streamOf(between)
      between = []
      yield { digest, pieces: () => digest.pieces() }
    } else if (node.kind === 'file') between.push(node)
    else if (node.kind === 'directory') for (const entry of sortedEntries(node).toReversed()) stack.push(entry.node)
  }
  if (between.length > 0) yield streamOf(between)
}

function streamOf(files: readonly FileNode[]): Stream {
  return { digest: undefined, pieces: () => files }
}

/** A proof is of the bytes on the host, so one with patches over it says nothing of what is packed. */
function ownDigest(node: TreeNode): TreeDigest | undefined {
  if (node.kind !== 'file' || node.size === 0 || node.content.kind !== 'hostFile' || node.content.proof === undefined) return undefined
  const { path, proof } = node.content
  return { name: printable(path), node, algorithm: 'sha256', expected: proof.sha256, pieces: () => [node] }
}
