/** Nodes of a store path, as Nix leaves them there. */
import { quote, utf8 } from '../../bytes/text.ts'
import { badInput } from '../../errors.ts'
import type { DirectoryNode, FileNode, SymlinkNode, TreeNode } from '../../tree/tree.ts'

const SHARED = { uid: 0, gid: 0, mtimeSeconds: 1 }

export function fileNode(bytes: Uint8Array, executable = false): FileNode {
  return { kind: 'file', ...SHARED, mode: executable ? 0o555 : 0o444, size: bytes.length, content: { kind: 'bytes', bytes } }
}

export function textNode(text: string, executable = false): FileNode {
  return fileNode(utf8(text), executable)
}

export function linkNode(target: string): SymlinkNode {
  return { kind: 'symlink', ...SHARED, mode: 0o777, target: utf8(target) }
}

/** A folder to which nodes are added by path. */
export class Folder {
  readonly #entries = new Map<string, TreeNode | Folder>()

  /** `path` is names between slashes. Throws BAD_INPUT where something stands there; `where` names who adds it. */
  add(path: string, node: TreeNode, where: string): void {
    const names = path.split('/')
    const last = names.pop() ?? ''
    const folder = this.folder(names.join('/'), where)
    if (folder.#entries.has(last)) throw badInput(where, `the toplevel has ${quote(path)} already; choose another path`)
    folder.#entries.set(last, node)
  }

  /** The folder at `path`, which is made where it is not there; the empty path is this one. */
  folder(path: string, where: string): Folder {
    if (path === '') return this
    return path.split('/').reduce<Folder>((above, name) => {
      const found = above.#entries.get(name) ?? new Folder()
      if (!(found instanceof Folder)) throw badInput(where, `${quote(path)} leads through ${quote(name)}, which is no folder`)
      above.#entries.set(name, found)
      return found
    }, this)
  }

  node(): DirectoryNode {
    const entries = [...this.#entries].map(([name, entry]) => ({ name: utf8(name), node: entry instanceof Folder ? entry.node() : entry }))
    return { kind: 'directory', ...SHARED, mode: 0o555, entries }
  }
}
