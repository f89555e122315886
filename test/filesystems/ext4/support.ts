/** Trees, image files and judges for the tests of ext4. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { utf8 } from '../../../src/bytes/text.ts'
import { type Ext4Options, ext4 } from '../../../src/filesystems/ext4/index.ts'
import { bytesExtent } from '../../../src/io/image.ts'
import type { DirectoryNode, Entry, FileNode, SymlinkNode, TreeNode, Xattr } from '../../../src/tree/tree.ts'
import { run } from '../../oracles/tools.ts'
import { noise, writeImageFile } from '../fat/support.ts'

export { noise, writeImageFile }

export const UUID = '97fd5997-d90b-4aa3-8d16-c1723aea73c0'
export const HASH_SEED = 'f222513b-ded1-49fa-b591-20ce86a2fe7f'
export const TIME = Date.UTC(2024, 1, 29, 12, 34, 56) / 1000
export const OPTIONS: Ext4Options = { uuid: UUID, hashSeed: HASH_SEED, mtimeSeconds: TIME, label: 'nixos' }
const attributes = { mode: 0o644, uid: 0, gid: 0, mtimeSeconds: TIME }

export function file(content: string | Uint8Array, more: Partial<FileNode> = {}): FileNode {
  const bytes = typeof content === 'string' ? utf8(content) : content
  return { kind: 'file', ...attributes, size: bytes.length, content: { kind: 'bytes', bytes }, ...more }
}

/** A file of `size` bytes that holds nothing but `pieces`, by their places. */
export function sparse(size: number, pieces: Readonly<Record<number, string | Uint8Array>> = {}): FileNode {
  const extents = Object.entries(pieces).map(([start, piece]) =>
    bytesExtent(Number(start), typeof piece === 'string' ? utf8(piece) : piece),
  )
  return { kind: 'file', ...attributes, size, content: { kind: 'image', image: { size, extents } } }
}

export function symlink(target: string | Uint8Array, more: Partial<SymlinkNode> = {}): SymlinkNode {
  return { kind: 'symlink', ...attributes, mode: 0o777, target: typeof target === 'string' ? utf8(target) : target, ...more }
}

export function directory(
  children: Readonly<Record<string, TreeNode>> | readonly Entry[],
  more: Partial<DirectoryNode> = {},
): DirectoryNode {
  const entries = Array.isArray(children)
    ? (children as Entry[])
    : Object.entries(children).map(([name, node]) => ({ name: utf8(name), node }))
  return { kind: 'directory', ...attributes, mode: 0o755, entries, ...more }
}

/** `count` names, and what `nodeOf` gives for each. */
export function many(count: number, nodeOf: (index: number) => TreeNode, prefix = 'entry-'): DirectoryNode {
  return directory(Array.from({ length: count }, (_, index) => ({ name: utf8(`${prefix}${index}`), node: nodeOf(index) })))
}

export function xattr(name: string, value: string | Uint8Array): Xattr {
  return { name, value: typeof value === 'string' ? utf8(value) : value }
}

/** `user::rw-,user:1000:r--,group::r--,mask::r--,other::---` as `getxattr` gives it. */
export const ACL = Uint8Array.from(
  [
    [2, 0, 0, 0],
    [1, 0, 6, 0, 255, 255, 255, 255],
    [2, 0, 4, 0, 0xe8, 3, 0, 0],
    [4, 0, 4, 0, 255, 255, 255, 255],
    [16, 0, 4, 0, 255, 255, 255, 255],
    [32, 0, 0, 0, 255, 255, 255, 255],
  ].flat(),
)

const linked = file('a file with three names', { uid: 1000, gid: 100 })

/** One of everything. */
export const ZOO = directory(
  {
    'empty-file': file(''),
    'one-byte': file('x'),
    'one-block': file(noise(4096)),
    'one-block-and-a-byte': file(noise(4097, 2)),
    'a-block-less-a-byte': file(noise(4095, 3)),
    large: file(noise(3 << 20, 4)),
    'hole only': sparse(123456789),
    'holes between': sparse(1 << 30, { 5: 'near the start', 4000: noise(200, 5), 70000: noise(9000, 6), [(1 << 30) - 3]: 'end' }),
    'many holes': sparse(1 << 24, Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [i * 16000 + 7, `piece ${i}`]))),
    'fast-link': symlink('x'.repeat(59)),
    'slow-link': symlink(`/${'y'.repeat(59)}`),
    'longest-link': symlink('z'.repeat(4095)),
    'strange-link': symlink(Uint8Array.of(0xff, 0x2f, 0x80)),
    devices: directory({
      null: { kind: 'characterDevice', ...attributes, mode: 0o666, major: 1, minor: 3 },
      sda: { kind: 'blockDevice', ...attributes, mode: 0o660, gid: 6, major: 8, minor: 0 },
      'large-numbers': { kind: 'blockDevice', ...attributes, major: 259, minor: 70000 },
      pipe: { kind: 'fifo', ...attributes },
      socket: { kind: 'socket', ...attributes },
    }),
    owners: directory({
      large: file('ids of 32 bits', { uid: 0xfffffffe, gid: 0x12345678 }),
      setuid: file('#!', { mode: 0o4755, uid: 65536 }),
      sticky: directory({}, { mode: 0o1777 }),
    }),
    times: directory({
      past: file('', { mtimeSeconds: -1 }),
      first: file('', { mtimeSeconds: -(2 ** 31) }),
      nix: file('', { mtimeSeconds: 1 }),
      'after-2038': file('', { mtimeSeconds: 2 ** 31 + 5 }),
      last: file('', { mtimeSeconds: 2 ** 34 - 2 ** 31 - 1 }),
    }),
    links: directory({ first: linked, second: linked, deeper: directory({ third: linked }), 'link-of-link': symlink('first') }),
    names: directory([
      { name: Uint8Array.of(0xff, 0xfe, 0x0a), node: file('not UTF-8') },
      { name: utf8('n'.repeat(255)), node: file('a long name') },
      { name: utf8(' blank "quotes" \\ and\ttab'), node: file('odd') },
      { name: utf8('äöü€😀'), node: file('unicode') },
    ]),
    attributes: directory(
      {
        small: file('x', { xattrs: [xattr('user.a', 'b'), xattr('user.empty', '')] }),
        both: file('y', { xattrs: [xattr('user.comment', 'c'.repeat(300)), xattr('user.b', '1'), xattr('trusted.overlay.opaque', 'y')] }),
        large: file('z', { xattrs: [xattr('user.large', noise(4000, 7))] }),
        capability: file('ping', {
          xattrs: [xattr('security.capability', Uint8Array.from([1, 0, 0, 2, 0, 32, 0, 0, ...new Array(12).fill(0)]))],
        }),
        acl: file('acl', { mode: 0o640, xattrs: [xattr('system.posix_acl_access', ACL)] }),
        link: symlink('small', { xattrs: [xattr('security.selinux', 'system_u:object_r:etc_t:s0'.repeat(8))] }),
        folder: directory({ inside: file('') }, { xattrs: [xattr('system.posix_acl_default', ACL), xattr('user.note', 'n'.repeat(100))] }),
      },
      { mode: 0o700 },
    ),
    deep: Array.from({ length: 200 }).reduce<DirectoryNode>(
      (below, _, i) => directory({ [`level-${i}`]: below }),
      directory({ bottom: file('!') }),
    ),
  },
  { uid: 7, gid: 8, mode: 0o751, mtimeSeconds: TIME - 1 },
)

export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'kilnix-ext4-'))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The image of `tree` as a file of `folder`. */
export async function build(folder: string, tree: DirectoryNode, options: Partial<Ext4Options> = {}): Promise<string> {
  const path = join(folder, 'ext4.img')
  await writeImageFile(ext4(tree, { ...OPTIONS, ...options }), path)
  return path
}

/** What e2fsck finds wrong; empty for a clean file system. */
export function fsckFindings(path: string): string {
  const { status, text, stderr } = run('e2fsck', ['-fn', path])
  const lines = text
    .split('\n')
    .filter((line) => line !== '' && !/^Pass [1-5]: /.test(line) && !/: \d+\/\d+ files \([\d.]+% non-contiguous\), /.test(line))
  const noise = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('e2fsck 1.'))
  const found = [...lines, ...noise].join('\n')
  return status === 0 ? found : `status ${status}\n${found}`
}

/** Every path below a tree. */
export function paths(root: DirectoryNode): Map<string, TreeNode> {
  const found = new Map<string, TreeNode>()
  const queue: [string, DirectoryNode][] = [['', root]]
  for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
    for (const { name, node } of item[1].entries) {
      const path = `${item[0]}/${Buffer.from(name).toString('latin1')}`
      found.set(path, node)
      if (node.kind === 'directory') queue.push([path, node])
    }
  }
  return found
}

/** The bytes of a file in memory; holes are zeros. */
export async function contentOf(node: FileNode): Promise<Buffer> {
  if (node.content.kind === 'bytes') return Buffer.from(node.content.bytes)
  if (node.content.kind === 'hostFile' || node.content.kind === 'patched') throw new Error('host files are compared with themselves')
  const bytes = Buffer.alloc(node.size)
  for (const extent of node.content.image.extents) {
    let at = extent.start
    for await (const chunk of extent.read()) {
      bytes.set(chunk, at)
      at += chunk.length
    }
  }
  return bytes
}
