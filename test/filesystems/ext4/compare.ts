/** A folder that shows a file system (mounted, or unpacked by debugfs) against the tree that it should hold. */
import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, type Stats } from 'node:fs'
import type { DirectoryNode, FileNode, TreeNode } from '../../../src/tree/tree.ts'
import { contentOf } from './support.ts'

const TYPES: Readonly<Record<TreeNode['kind'], number>> = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  characterDevice: 0o020000,
  blockDevice: 0o060000,
  fifo: 0o010000,
  socket: 0o140000,
}
/** Larger files are compared where they have content, and at their ends. */
const WHOLE_SIZE = 32 << 20

export interface CompareOptions {
  /** The kernel shows all of it: owners, times, link counts, devices. debugfs unpacks copies. */
  readonly mounted: boolean
}

/** Sentences with paths; none when folder and tree are the same. `lost+found` of the root is left out. */
export async function treeDifferences(tree: DirectoryNode, folder: string, { mounted }: CompareOptions): Promise<string[]> {
  const found: string[] = []
  const links = countLinks(tree)
  const inodes = new Map<TreeNode, number>()
  const queue: { node: TreeNode; path: Buffer }[] = [{ node: tree, path: Buffer.from(folder) }]
  for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
    const { node, path } = item
    const stats = lstatSync(path)
    const differ = (what: string, wanted: unknown, actual: unknown): void => {
      if (String(wanted) !== String(actual)) found.push(`${path.toString('latin1')}: ${what} is ${actual}, wanted ${wanted}`)
    }
    if (mounted) {
      differ('mode', (TYPES[node.kind] | node.mode).toString(8), stats.mode.toString(8))
      differ('owner', [node.uid, node.gid], [stats.uid, stats.gid])
      differ('mtime', node.mtimeSeconds, Math.floor(stats.mtimeMs / 1000))
      // The root has one more, for lost+found.
      differ('link count', links.get(node), stats.nlink - Number(node === tree))
      differ('inode', inodes.get(node) ?? stats.ino, stats.ino)
      inodes.set(node, stats.ino)
    }
    await compareKind(node, path, stats, mounted, differ)
    if (node.kind !== 'directory') continue
    const names = readdirSync(path, { encoding: 'buffer' })
      .map((name) => name.toString('latin1'))
      .filter((name) => node !== tree || name !== 'lost+found')
    const kept = node.entries.filter((entry) => mounted || isKept(entry.node))
    differ('entries', kept.map(({ name }) => Buffer.from(name).toString('latin1')).sort(), names.sort())
    for (const entry of kept) queue.push({ node: entry.node, path: Buffer.concat([path, Buffer.from('/'), entry.name]) })
  }
  return found
}

/** debugfs leaves devices, pipes and sockets out. */
function isKept({ kind }: TreeNode): boolean {
  return kind === 'file' || kind === 'directory' || kind === 'symlink'
}

type Differ = (what: string, wanted: unknown, actual: unknown) => void

async function compareKind(node: TreeNode, path: Buffer, stats: Stats, mounted: boolean, differ: Differ): Promise<void> {
  switch (node.kind) {
    case 'symlink':
      differ('target', Buffer.from(node.target).toString('hex'), readlinkSync(path, { encoding: 'buffer' }).toString('hex'))
      return
    case 'characterDevice':
    case 'blockDevice':
      differ('device', (node.minor & 0xff) + node.major * 0x100 + Math.floor(node.minor / 0x100) * 0x100000, stats.rdev)
      return
    case 'file':
      differ('size', node.size, stats.size)
      if (mounted && node.content.kind === 'bytes') differ('is sparse', false, stats.blocks * 512 < node.size)
      if (node.size <= WHOLE_SIZE) differ('content', true, readFileSync(path).equals(await contentOf(node)))
      else await comparePieces(node, path, differ)
      return
    case 'directory':
    case 'fifo':
    case 'socket':
  }
}

async function comparePieces({ content, size }: FileNode, path: Buffer, differ: Differ): Promise<void> {
  if (content.kind !== 'image') throw new Error('only images are so large')
  const fd = openSync(path, 'r')
  const read = (position: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length)
    return bytes.subarray(0, readSync(fd, bytes, 0, length, position))
  }
  try {
    for (const extent of content.image.extents) {
      for await (const chunk of extent.read()) differ(`content at ${extent.start}`, true, read(extent.start, chunk.length).equals(chunk))
      if (extent.start >= 3) differ(`content before ${extent.start}`, '\0\0\0', read(extent.start - 3, 3).toString('latin1'))
    }
    const last = content.image.extents.at(-1)
    if (last === undefined || last.start + last.length < size) differ('the last byte', '\0', read(size - 1, 1).toString('latin1'))
  } finally {
    closeSync(fd)
  }
}

function countLinks(tree: DirectoryNode): Map<TreeNode, number> {
  const links = new Map<TreeNode, number>([[tree, 2]])
  const queue = [tree]
  for (let directory = queue.pop(); directory !== undefined; directory = queue.pop()) {
    for (const { node } of directory.entries) {
      links.set(node, (links.get(node) ?? (node.kind === 'directory' ? 1 : 0)) + 1)
      if (node.kind !== 'directory') continue
      links.set(directory, (links.get(directory) as number) + 1)
      queue.push(node)
    }
  }
  return links
}
