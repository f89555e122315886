/** Trees that can be sent to another thread. */
import { checkDepth } from './depth.ts'
import type { Content, TreeNode } from './tree.ts'

/**
 * The same tree as plain data, with what it shares of memory with others copied. Throws RangeError for content that is an
 * image, which is read by functions, LIMIT where folders nest too deep.
 */
export function plainTree(root: TreeNode): TreeNode {
  checkDepth(root)
  return plainNode(root)
}

function plainNode(node: TreeNode): TreeNode {
  switch (node.kind) {
    case 'file':
      return { ...node, content: plainContent(node.content) }
    case 'directory':
      return { ...node, entries: node.entries.map((entry) => ({ name: own(entry.name), node: plainNode(entry.node) })) }
    case 'symlink':
      return { ...node, target: own(node.target) }
    default:
      return { ...node }
  }
}

function plainContent(content: Content): Content {
  switch (content.kind) {
    case 'bytes':
      return { kind: 'bytes', bytes: own(content.bytes) }
    case 'hostFile':
      return { kind: 'hostFile', path: own(content.path), range: content.range }
    case 'patched':
      return { kind: 'patched', path: own(content.path), range: content.range, patches: content.patches }
    case 'image':
      throw new RangeError('an image cannot be sent to another thread')
  }
}

/** A view is sent with all of the memory that it is a view of. */
function own(bytes: Uint8Array): Uint8Array {
  return bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
}
