/** Nodes of archives that are made here: owned by root, with the time that Nix gives its store. */
import { utf8 } from '../../bytes/text.ts'
import { bytesImage, type Image } from '../../io/image.ts'
import type { DirectoryNode, FileNode, SymlinkNode, TreeNode } from '../../tree/tree.ts'

const OWNED = { uid: 0, gid: 0, mtimeSeconds: 1 } as const

export function folderNode(
  entries: readonly (readonly [name: string, node: TreeNode])[],
  attributes: FolderAttributes = {},
): DirectoryNode {
  const { mode = 0o755, gid = 0 } = attributes
  return { kind: 'directory', ...OWNED, mode, gid, entries: entries.map(([name, node]) => ({ name: utf8(name), node })) }
}

export interface FolderAttributes {
  /** Default 0755. */
  readonly mode?: number
  /** Default 0. */
  readonly gid?: number
}

/** A file that everybody may read. */
export function fileNode(content: Uint8Array | Image, mode = 0o444): FileNode {
  const image = content instanceof Uint8Array ? bytesImage(content) : content
  return { kind: 'file', ...OWNED, mode, size: image.size, content: { kind: 'image', image } }
}

export function symlinkNode(target: string): SymlinkNode {
  return { kind: 'symlink', ...OWNED, mode: 0o777, target: utf8(target) }
}
