/** Trees and image files for the tests of FAT. */
import { randomBytes } from 'node:crypto'
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { utf8 } from '../../../src/bytes/text.ts'
import type { Image } from '../../../src/io/image.ts'
import type { DirectoryNode, FileNode, TreeNode } from '../../../src/tree/tree.ts'

export const MTIME = Date.UTC(2021, 4, 6, 7, 8, 10) / 1000
const attributes = { mode: 0o644, uid: 0, gid: 0, mtimeSeconds: MTIME }

export function file(content: string | Uint8Array, more: Partial<FileNode> = {}): FileNode {
  const bytes = typeof content === 'string' ? utf8(content) : content
  return { kind: 'file', ...attributes, size: bytes.length, content: { kind: 'bytes', bytes }, ...more }
}

/** A file of `size` zero bytes that takes no memory. */
export function hole(size: number): FileNode {
  return { kind: 'file', ...attributes, size, content: { kind: 'image', image: { size, extents: [] } } }
}

export function directory(children: Record<string, TreeNode>, mtimeSeconds = MTIME): DirectoryNode {
  return {
    kind: 'directory',
    ...attributes,
    mtimeSeconds,
    entries: Object.entries(children).map(([name, node]) => ({ name: utf8(name), node })),
  }
}

/** Bytes that are the same at every run and look like nothing. */
export function noise(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = seed * 2654435761 + 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

export async function imageBytes(image: Image): Promise<Buffer> {
  const bytes = Buffer.alloc(image.size)
  let end = 0
  for (const extent of image.extents) {
    if (extent.start < end || extent.start + extent.length > image.size) throw new Error(`extent at ${extent.start} is out of order`)
    let at = extent.start
    for await (const chunk of extent.read()) {
      bytes.set(chunk, at)
      at += chunk.length
    }
    end = extent.start + extent.length
    if (at !== end) throw new Error(`extent at ${extent.start} yields ${at - extent.start} bytes, not ${extent.length}`)
  }
  return bytes
}

/** Writes the extents only: what lies between stays a hole of the file. */
export async function writeImageFile(image: Image, path: string): Promise<void> {
  const fd = openSync(path, 'w')
  try {
    ftruncateSync(fd, image.size)
    for (const extent of image.extents) {
      let at = extent.start
      for await (const chunk of extent.read()) at += writeSync(fd, chunk, 0, chunk.length, at)
    }
  } finally {
    closeSync(fd)
  }
}

export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), `kilnix-fat-${randomBytes(4).toString('hex')}-`))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Every path below a tree, with a `/` after directories. */
export function paths(root: DirectoryNode, prefix = ''): Map<string, TreeNode> {
  const found = new Map<string, TreeNode>()
  for (const { name, node } of root.entries) {
    const path = `${prefix}/${Buffer.from(name).toString('utf8')}`
    found.set(path, node)
    if (node.kind === 'directory') for (const [child, childNode] of paths(node, path)) found.set(child, childNode)
  }
  return found
}
