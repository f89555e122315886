/** Trees as `fixtures/zfs/sources/list-tree.c` lists them. */
import { crc32 } from 'node:zlib'
import { type DirectoryNode, type FileNode, sortedEntries, type TreeNode } from '../../src/tree/tree.ts'

/** By path; of nodes with several names the inode is the path of the first one. */
export type Listing = ReadonlyMap<string, string>

const TYPES: Readonly<Record<TreeNode['kind'], number>> = {
  fifo: 0o010000,
  characterDevice: 0o020000,
  directory: 0o040000,
  blockDevice: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
}
const BLOCK_SIZE = 4096

/** What the machine should list. `mounts` has the folders of datasets: a node in two of them is two files. */
export async function expectedListing(root: DirectoryNode, mounts: readonly string[]): Promise<Listing> {
  const lines = new Map<string, string>()
  const places = new Map<string, Map<TreeNode, string[]>>(mounts.map((mount) => [mount, new Map()]))
  const queue: [path: string, node: TreeNode, mount: string][] = [['/', root, '/']]
  for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
    const [path, node, above] = item
    const mount = mounts.includes(path) ? path : above
    const names = places.get(mount) as Map<TreeNode, string[]>
    const known = names.get(node)
    if (known === undefined) names.set(node, [path])
    else known.push(path)
    if (node.kind !== 'directory') continue
    for (const { name, node: child } of sortedEntries(node)) queue.push([`${path === '/' ? '' : path}/${escaped(name)}`, child, mount])
  }
  for (const [node, paths] of [...places.values()].flatMap((names) => [...names])) {
    const first = firstOf(paths)
    const links = node.kind === 'directory' ? 2 + node.entries.filter((entry) => entry.node.kind === 'directory').length : paths.length
    const isShared = node.kind !== 'directory' && links > 1
    const facts = [
      (TYPES[node.kind] | node.mode).toString(8),
      node.uid,
      node.gid,
      node.mtimeSeconds,
      links,
      isShared ? first : '-',
      sizeOf(node),
      node.kind === 'characterDevice' || node.kind === 'blockDevice' ? `${node.major}:${node.minor}` : '-',
      await contentOf(node),
      xattrsOf(node),
    ]
    for (const path of paths) lines.set(path, facts.join(' '))
  }
  return lines
}

const INODE_FIELD = 5
const LINKS_FIELD = 4

/** What it has listed. `mounts` has the folders of datasets, which number their inodes each for itself. */
export function actualListing(text: string, mounts: readonly string[]): Listing {
  const lines = new Map<string, string>()
  const groups = new Map<string, string[]>()
  const parsed = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [path = '', ...facts] = line.split(' ')
      const isShared = !(facts[0] ?? '').startsWith('4') && Number(facts[LINKS_FIELD]) > 1
      const place = mounts.filter((mount) => mount === '/' || `${path}/`.startsWith(`${mount}/`)).sort((a, b) => b.length - a.length)[0]
      const group = `${place} ${facts[INODE_FIELD]}`
      if (isShared && groups.get(group)?.push(path) === undefined) groups.set(group, [path])
      return { path, facts, group: isShared ? group : undefined }
    })
  const firsts = new Map([...groups].map(([group, paths]) => [group, firstOf(paths)]))
  for (const { path, facts, group } of parsed) {
    facts[INODE_FIELD] = group === undefined ? '-' : (firsts.get(group) as string)
    lines.set(path, facts.join(' '))
  }
  return lines
}

/** Sentences, at most so many; none when both are the same. */
export function listingDifferences(expected: Listing, actual: Listing, most = 20): string[] {
  const found: string[] = []
  for (const [path, facts] of expected) {
    const own = actual.get(path)
    if (own === undefined) found.push(`${path} is missing`)
    else if (own !== facts) found.push(`${path} is ${own}, wanted ${facts}`)
  }
  for (const path of actual.keys()) if (!expected.has(path)) found.push(`${path} should not be there`)
  return found.slice(0, most)
}

function firstOf(paths: readonly string[]): string {
  return paths.reduce((first, path) => (path < first ? path : first))
}

/** ZFS counts the entries of a directory, with `.` and `..`. */
function sizeOf(node: TreeNode): number {
  if (node.kind === 'directory') return node.entries.length + 2
  if (node.kind === 'symlink') return node.target.length
  return node.kind === 'file' ? node.size : 0
}

async function contentOf(node: TreeNode): Promise<string> {
  if (node.kind === 'symlink') return escaped(node.target)
  return node.kind === 'file' ? hex(await checksumOf(node)) : '-'
}

/** CRC-32 of the blocks that are not zero, each behind its offset. */
async function checksumOf({ content, size }: FileNode): Promise<number> {
  if (content.kind === 'hostFile') throw new Error('files of the host are not listed')
  const blocks = new Map<number, Buffer>()
  const put = (start: number, bytes: Uint8Array): void => {
    for (let done = 0; done < bytes.length; ) {
      const at = start + done
      const index = Math.floor(at / BLOCK_SIZE)
      const block = blocks.get(index) ?? Buffer.alloc(Math.min(BLOCK_SIZE, size - index * BLOCK_SIZE))
      blocks.set(index, block)
      const piece = bytes.subarray(done, done + BLOCK_SIZE - (at % BLOCK_SIZE))
      block.set(piece, at % BLOCK_SIZE)
      done += piece.length
    }
  }
  if (content.kind === 'bytes') put(0, content.bytes)
  else {
    if (content.kind !== 'image') throw new RangeError(`a test has no content of the kind ${content.kind}`)
    for (const extent of content.image.extents) {
      let at = extent.start
      for await (const chunk of extent.read()) {
        put(at, chunk)
        at += chunk.length
      }
    }
  }
  let sum = 0
  for (const [index, block] of [...blocks].sort(([a], [b]) => a - b)) {
    if (block.every((byte) => byte === 0)) continue
    const offset = Buffer.alloc(8)
    offset.writeBigUInt64LE(BigInt(index * BLOCK_SIZE))
    sum = crc32(block, crc32(offset, sum))
  }
  return sum
}

function xattrsOf({ xattrs = [] }: TreeNode): string {
  if (xattrs.length === 0) return '-'
  const sorted = [...xattrs].sort((a, b) => (a.name < b.name ? -1 : 1))
  return sorted.map(({ name, value }) => `${escaped(Buffer.from(name))}=${hex(crc32(value))}`).join(',')
}

function hex(sum: number): string {
  return (sum >>> 0).toString(16).padStart(8, '0')
}

function escaped(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) {
    const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x25 && byte !== 0x2d
    text += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0')}`
  }
  return text
}
