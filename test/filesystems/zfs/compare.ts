/** What a pool holds against the tree that went into it, by the reader. */
import { readFileSync } from 'node:fs'
import type { DirectoryNode, FileNode, TreeNode } from '../../../src/tree/tree.ts'
import { isZero } from '../../readers/zfs-reader/device.ts'
import { type FileSystem, type FileSystemNode, fileBlocks, type ZfsReading } from '../../readers/zfs-reader/index.ts'

/** Datasets by where their part of the tree stands. */
export type Mounts = Readonly<Record<string, string>>

/** Sentences with paths; none when every dataset holds its part of the tree, and nothing else. */
export async function poolDifferences(reading: ZfsReading, tree: DirectoryNode, mounts: Mounts): Promise<string[]> {
  const found: string[] = []
  for (const [name, mount] of Object.entries(mounts)) {
    const fileSystem = reading.fileSystems.get(name)
    if (fileSystem === undefined) found.push(`there is no ${name}`)
    else found.push(...(await treeDifferences(reading, fileSystem, partOf(tree, mount, Object.values(mounts)))))
  }
  return found
}

/** The tree at `mount`, with nothing in the directories where others are mounted. */
export function partOf(tree: DirectoryNode, mount: string, mounts: readonly string[]): DirectoryNode {
  const cut = (node: DirectoryNode, path: string): DirectoryNode => ({
    ...node,
    entries: node.entries.map(({ name, node: below }) => {
      const own = `${path}/${Buffer.from(name).toString()}`
      if (below.kind !== 'directory' || !mounts.some((other) => other === own || other.startsWith(`${own}/`))) return { name, node: below }
      return { name, node: own !== mount && mounts.includes(own) ? { ...below, entries: [] } : cut(below, own) }
    }),
  })
  let part = cut(tree, '')
  for (const name of mount.split('/').filter((piece) => piece !== '')) {
    const below = tree.entries.find((entry) => Buffer.from(entry.name).toString() === name)?.node
    if (below?.kind !== 'directory') throw new Error(`the tree has no directory ${mount}`)
    tree = below
    part = below
  }
  return mount === '/' ? part : cut(part, mount)
}

export async function treeDifferences({ pool }: ZfsReading, fileSystem: FileSystem, tree: DirectoryNode): Promise<string[]> {
  const found: string[] = []
  const links = linksOf(tree)
  const objects = new Map<TreeNode, number>()
  const queue: { node: TreeNode; object: number; path: string }[] = [{ node: tree, object: fileSystem.root, path: '/' }]
  for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
    const { node, object, path } = item
    const actual = fileSystem.nodes.get(object)
    const differ = (what: string, wanted: unknown, value: unknown): void => {
      if (String(wanted) !== String(value)) found.push(`${fileSystem.objset.name} ${path}: ${what} is ${value}, not ${wanted}`)
    }
    if (actual === undefined) {
      found.push(`${fileSystem.objset.name} ${path}: there is no object ${object}`)
      continue
    }
    differ('object', objects.get(node) ?? object, object)
    if (objects.has(node)) continue
    objects.set(node, object)
    differ('kind', node.kind, actual.kind)
    differ('mode', node.mode.toString(8), actual.mode.toString(8))
    differ('owner', [node.uid, node.gid], [actual.uid, actual.gid])
    differ('time', [node.mtimeSeconds, 0], [actual.times.mtime.seconds, actual.times.mtime.nanoseconds])
    differ('links', links.get(node), actual.links)
    differ('attributes', shownXattrs((node.xattrs ?? []).map(({ name, value }) => [name, value])), shownXattrs([...actual.xattrs]))
    if (node.kind === 'directory') {
      differ('names', shownNames(node.entries), shownNames(actual.entries))
      const below = new Map(actual.entries.map((entry) => [entry.name.toString('latin1'), entry.object]))
      for (const { name, node: own } of node.entries) {
        const text = Buffer.from(name).toString('latin1')
        const target = below.get(text)
        if (target !== undefined) queue.push({ node: own, object: target, path: `${path === '/' ? '' : path}/${text}` })
      }
    } else if (node.kind === 'symlink') differ('target', Buffer.from(node.target).toString('hex'), actual.target?.toString('hex'))
    else if (node.kind === 'characterDevice' || node.kind === 'blockDevice')
      differ('device', [node.major, node.minor], [actual.device?.major, actual.device?.minor])
    else if (node.kind === 'file') {
      differ('size', node.size, actual.size)
      differ('content', 'equal', await contentDifference(node, actual, fileBlocks(pool, fileSystem, actual)))
    }
  }
  return found
}

function shownXattrs(xattrs: readonly (readonly [string, Uint8Array])[]): string {
  return xattrs
    .map(([name, value]) => `${name}=${Buffer.from(value).toString('base64')}`)
    .sort()
    .join()
}

function shownNames(entries: readonly { readonly name: Uint8Array }[]): string {
  return entries
    .map(({ name }) => Buffer.from(name).toString('hex'))
    .sort()
    .join()
}

/** 'equal', or where they first differ. What is no block must be zero, and not stand in a block that is all zero. */
async function contentDifference(
  node: FileNode,
  { stored }: FileSystemNode,
  blocks: readonly { readonly start: number; readonly bytes: Buffer }[],
): Promise<string> {
  const actual = new Map(blocks.map(({ start, bytes }) => [start, bytes]))
  const { blockSize } = stored
  for await (const { start, bytes } of pieces(node)) {
    for (let at = start; at < start + bytes.length; ) {
      const base = Math.floor(at / blockSize) * blockSize
      const length = Math.min(start + bytes.length, base + blockSize) - at
      const block = actual.get(base) ?? Buffer.alloc(blockSize)
      const wanted = bytes.subarray(at - start, at - start + length)
      if (!block.subarray(at - base, at - base + length).equals(wanted)) return `different from ${at} on`
      // What was compared is taken away: in the end nothing may be left.
      if (actual.has(base)) block.fill(0, at - base, at - base + length)
      at += length
    }
  }
  const more = blocks.find(({ bytes }) => !isZero(bytes))
  return more === undefined ? 'equal' : `more, in the block at ${more.start}`
}

async function* pieces({ content }: FileNode): AsyncGenerator<{ readonly start: number; readonly bytes: Buffer }> {
  if (content.kind === 'bytes') yield { start: 0, bytes: Buffer.from(content.bytes) }
  else if (content.kind === 'hostFile') yield { start: 0, bytes: readFileSync(Buffer.from(content.path)) }
  else {
    if (content.kind !== 'image') throw new RangeError(`a test has no content of the kind ${content.kind}`)
    for (const extent of content.image.extents) {
      let start = extent.start
      for await (const chunk of extent.read()) {
        yield { start, bytes: Buffer.from(chunk) }
        start += chunk.length
      }
    }
  }
}

function linksOf(tree: DirectoryNode): Map<TreeNode, number> {
  const links = new Map<TreeNode, number>([[tree, 2]])
  const queue = [tree]
  for (let directory = queue.pop(); directory !== undefined; directory = queue.pop()) {
    for (const { node } of directory.entries) {
      const isDirectory = node.kind === 'directory'
      links.set(node, isDirectory ? 2 : (links.get(node) ?? 0) + 1)
      if (!isDirectory) continue
      links.set(directory, (links.get(directory) ?? 0) + 1)
      queue.push(node)
    }
  }
  return links
}
