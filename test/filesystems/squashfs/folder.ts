/** A folder on this machine (extracted or mounted) against the tree it should hold. */
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs'
import type { DirectoryNode, TreeNode } from '../../../src/tree/tree.ts'

const TYPES: Readonly<Record<TreeNode['kind'], number>> = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  characterDevice: 0o020000,
  blockDevice: 0o060000,
  fifo: 0o010000,
  socket: 0o140000,
}

export interface FolderOptions {
  /** What a file system of this machine cannot give back as it was: link counts of directories are its own. */
  readonly mounted: boolean
}

/** Lines with paths; none when folder and tree are the same. */
export function folderDifferences(tree: DirectoryNode, folder: string, { mounted }: FolderOptions): string[] {
  const found: string[] = []
  const links = countLinks(tree)
  const inodes = new Map<TreeNode, number>()
  const queue: { node: TreeNode; path: Buffer }[] = [{ node: tree, path: Buffer.from(folder) }]
  for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
    const { node, path } = item
    const stats = lstatSync(path)
    const expect = (what: string, wanted: unknown, actual: unknown): void => {
      if (String(wanted) !== String(actual)) found.push(`${path.toString('latin1')}: ${what} is ${actual}, wanted ${wanted}`)
    }
    expect('mode', (TYPES[node.kind] | node.mode).toString(8), stats.mode.toString(8))
    expect('owner', [node.uid, node.gid], [stats.uid, stats.gid])
    expect('mtime', node.mtimeSeconds, Math.floor(stats.mtimeMs / 1000))
    if (node.kind !== 'directory' || mounted) expect('link count', links.get(node), stats.nlink)
    expect('inode', inodes.get(node) ?? stats.ino, stats.ino)
    inodes.set(node, stats.ino)
    expectKind(node, path, stats, expect)
    if (node.kind !== 'directory') continue
    const names = readdirSync(path, { encoding: 'buffer' }).map((name) => name.toString('latin1'))
    expect('entries', node.entries.map(({ name }) => Buffer.from(name).toString('latin1')).sort(), names.sort())
    for (const entry of node.entries) queue.push({ node: entry.node, path: Buffer.concat([path, Buffer.from('/'), entry.name]) })
  }
  return found
}

function expectKind(node: TreeNode, path: Buffer, stats: Stats, expect: (what: string, wanted: unknown, actual: unknown) => void): void {
  if (node.kind === 'symlink')
    expect('target', Buffer.from(node.target).toString('hex'), readlinkSync(path, { encoding: 'buffer' }).toString('hex'))
  if (node.kind === 'characterDevice' || node.kind === 'blockDevice') {
    expect('device', (node.minor & 0xff) + node.major * 0x100 + Math.floor(node.minor / 0x100) * 0x100000, stats.rdev)
  }
  if (node.kind === 'file' && node.content.kind === 'bytes') expect('content', true, readFileSync(path).equals(node.content.bytes))
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
