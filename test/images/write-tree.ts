/** A tree as files of the host, with owners, modes and times: what a mounted image would show. Owners only as root. */
import { chmodSync, copyFileSync, lchownSync, lutimesSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import type { TreeNode } from '../../src/tree/tree.ts'

export function writeTree(node: TreeNode, path: string | Uint8Array): void {
  const host = Buffer.from(path)
  switch (node.kind) {
    case 'directory':
      mkdirSync(host)
      for (const entry of node.entries) writeTree(entry.node, Buffer.concat([host, Buffer.from('/'), entry.name]))
      break
    case 'file':
      if (node.content.kind === 'bytes') writeFileSync(host, node.content.bytes)
      else if (node.content.kind === 'hostFile') copyFileSync(Buffer.from(node.content.path), host)
      else throw new Error(`${host}: an image`)
      break
    case 'symlink':
      symlinkSync(Buffer.from(node.target), host)
      break
    default:
      throw new Error(`${host}: ${node.kind}`)
  }
  if (process.getuid?.() === 0) lchownSync(host, node.uid, node.gid)
  if (node.kind !== 'symlink') chmodSync(host, node.mode)
  lutimesSync(host, node.mtimeSeconds, node.mtimeSeconds)
}
