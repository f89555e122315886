/** Small store paths in memory. */

import { createHash } from 'node:crypto'
import type { Closure, ClosurePath } from '../../src/nix/listing/closure.ts'
import { hashNar } from '../../src/nix/nar/digest.ts'
import { formatNix32 } from '../../src/nix/store/hash.ts'
import { storePath } from '../../src/nix/store/store-path.ts'
import type { DirectoryNode, Entry, FileNode, SymlinkNode, TreeNode } from '../../src/tree/tree.ts'

const OWNED = { uid: 0, gid: 0, mtimeSeconds: 1 } as const

/** A hash part that no other seed gives. */
export function hashOf(seed: string): string {
  return formatNix32(createHash('sha256').update(seed).digest().subarray(0, 20))
}

export function base(name: string): string {
  return `${hashOf(name)}-${name}`
}

export function file(content: string | Uint8Array, mode = 0o444): FileNode {
  const bytes = typeof content === 'string' ? Buffer.from(content, 'latin1') : content
  return { kind: 'file', ...OWNED, mode, size: bytes.length, content: { kind: 'bytes', bytes } }
}

export function link(target: string): SymlinkNode {
  return { kind: 'symlink', ...OWNED, mode: 0o777, target: Buffer.from(target, 'latin1') }
}

export function folder(entries: Readonly<Record<string, TreeNode>>): DirectoryNode {
  const list = Object.entries(entries).map(([name, node]): Entry => ({ name: Buffer.from(name, 'latin1'), node }))
  return { kind: 'directory', ...OWNED, mode: 0o555, entries: list }
}

export interface Sample {
  readonly tree: TreeNode
  /** Base names. */
  readonly references: readonly string[]
}

/** The closure of paths in memory, by base name. */
export async function closureFrom(samples: Readonly<Record<string, Sample>>): Promise<Closure> {
  const paths: ClosurePath[] = []
  for (const baseName of Object.keys(samples).sort()) {
    const { tree, references } = samples[baseName] as Sample
    const { hash, size } = await hashNar(tree, baseName)
    paths.push({ path: storePath(baseName), baseName, narHash: hash, narSize: size, references: [...references].sort().map(storePath) })
  }
  return { kind: 'path-info', paths, hashesKnown: true, referencesKnown: true }
}

/** All contents, names and targets of a tree as one text. */
export async function textOf(node: TreeNode): Promise<string> {
  const { contentExtents } = await import('../../src/tree/content.ts')
  const { imageChunks } = await import('../../src/io/stream.ts')
  if (node.kind === 'symlink') return `-> ${Buffer.from(node.target).toString('latin1')}\n`
  if (node.kind === 'file') {
    const chunks: Uint8Array[] = []
    for await (const chunk of imageChunks({ size: node.size, extents: contentExtents(node, 0, 'sample') }))
      chunks.push(Uint8Array.from(chunk))
    return `${Buffer.concat(chunks).toString('latin1')}\n`
  }
  if (node.kind !== 'directory') throw new Error(node.kind)
  let text = ''
  for (const { name, node: child } of node.entries) text += `${Buffer.from(name).toString('latin1')}: ${await textOf(child)}`
  return text
}
