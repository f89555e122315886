/** Trees for the tests of tar, by hand and from a seed, and what an archive of them should hold. */
import { tar } from '../../src/archives/tar/index.ts'
import type { TarOptions } from '../../src/archives/tar/plan.ts'
import { imageChunks } from '../../src/io/stream.ts'
import type { DirectoryNode, Entry, FileNode, SymlinkNode, TreeNode, Xattr } from '../../src/tree/tree.ts'
import type { ReadMember } from '../readers/tar-reader.ts'

const FIXED = { mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 1 }

export function file(content: string | Uint8Array, more: Partial<FileNode> = {}): FileNode {
  const bytes = Buffer.from(content as string)
  return { kind: 'file', ...FIXED, size: bytes.length, content: { kind: 'bytes', bytes }, ...more }
}

export function directory(
  children: Readonly<Record<string, TreeNode>> | readonly Entry[],
  more: Partial<DirectoryNode> = {},
): DirectoryNode {
  const entries = Array.isArray(children)
    ? (children as readonly Entry[])
    : Object.entries(children as Readonly<Record<string, TreeNode>>).map(([name, node]) => entry(name, node))
  return { kind: 'directory', ...FIXED, mode: 0o755, entries, ...more }
}

export function symlink(target: string | Uint8Array, more: Partial<SymlinkNode> = {}): SymlinkNode {
  return { kind: 'symlink', ...FIXED, mode: 0o777, target: Buffer.from(target as string), ...more }
}

export function device(kind: 'characterDevice' | 'blockDevice', major: number, minor: number): TreeNode {
  return { kind, ...FIXED, mode: 0o600, major, minor }
}

export function pipe(kind: 'fifo' | 'socket'): TreeNode {
  return { kind, ...FIXED }
}

export function entry(name: string | Uint8Array, node: TreeNode): Entry {
  return { name: Buffer.from(name as string), node }
}

export async function archiveOf(root: DirectoryNode, options?: TarOptions): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(tar(root, options))) chunks.push(Uint8Array.from(chunk))
  return Buffer.concat(chunks)
}

const TYPES = { file: '0', symlink: '2', characterDevice: '3', blockDevice: '4', directory: '5', fifo: '6', socket: '?' } as const

/** What differs between the members of an archive and the tree it was made of, order included; none when all is well. */
export function memberDifferences(root: DirectoryNode, members: readonly ReadMember[], prefix = ''): string[] {
  const expected = expectedMembers(root, prefix)
  const found: string[] = []
  for (let i = 0; i < Math.max(expected.length, members.length); i++) {
    const [wanted, actual] = [expected[i], members[i]]
    const shown = actual === undefined ? 'nothing' : describeMember(actual)
    if (wanted !== shown) found.push(`member ${i} is ${shown}, wanted ${wanted}`)
  }
  return found
}

function describeMember({
  path,
  type,
  mode,
  uid,
  gid,
  mtimeSeconds,
  linkTarget,
  deviceMajor,
  deviceMinor,
  xattrs,
  content,
}: ReadMember): string {
  const attributes = [...xattrs].map(([name, value]) => [name, value.toString('hex')]).sort()
  const owner = `${mode.toString(8)} ${uid}:${gid} ${mtimeSeconds}`
  return JSON.stringify([
    type,
    path.toString('latin1'),
    owner,
    linkTarget.toString('latin1'),
    deviceMajor,
    deviceMinor,
    attributes,
    content.toString('base64'),
  ])
}

function expectedMembers(root: DirectoryNode, prefix: string): string[] {
  const lines: string[] = []
  const first = new Map<TreeNode, Buffer>()
  const add = (directory: DirectoryNode, folder: Buffer): void => {
    const sorted = [...directory.entries].sort((a, b) => Buffer.compare(a.name, b.name))
    for (const { name, node } of sorted) {
      const path = Buffer.concat([folder, name, Buffer.from(node.kind === 'directory' ? '/' : '')])
      const earlier = first.get(node)
      const devices = node.kind === 'characterDevice' || node.kind === 'blockDevice' ? [node.major, node.minor] : [0, 0]
      const content = node.kind === 'file' && node.content.kind === 'bytes' ? node.content.bytes : Buffer.alloc(0)
      const { mode, uid, gid, mtimeSeconds, xattrs = [] } = node
      lines.push(
        describeMember({
          path,
          type: earlier === undefined ? TYPES[node.kind] : '1',
          mode,
          uid,
          gid,
          mtimeSeconds,
          linkTarget: earlier ?? (node.kind === 'symlink' ? Buffer.from(node.target) : Buffer.alloc(0)),
          deviceMajor: devices[0] ?? 0,
          deviceMinor: devices[1] ?? 0,
          xattrs: new Map(earlier === undefined ? xattrs.map((xattr) => [xattr.name, Buffer.from(xattr.value)]) : []),
          content: earlier === undefined ? Buffer.from(content) : Buffer.alloc(0),
          extensions: [],
        }),
      )
      if (node.kind === 'directory') add(node, path)
      else if (earlier === undefined) first.set(node, path)
    }
  }
  add(root, Buffer.from(prefix === '' ? '' : `${prefix}/`))
  return lines
}

export interface RandomOptions {
  /** Owners and devices that only root can make; without, all belongs to whoever runs the test. */
  readonly root: boolean
  readonly xattrs: boolean
}

const NAMES: readonly (string | Uint8Array)[] = [
  'a',
  'b c',
  'é',
  '語'.repeat(60),
  'new\nline',
  'back\\slash',
  '-rf',
  ' ',
  'x'.repeat(99),
  'y'.repeat(100),
  'z'.repeat(101),
  'w'.repeat(155),
  'v'.repeat(255),
  Buffer.from([0xff, 0xfe]),
  Buffer.alloc(120, 0xe9),
  Buffer.alloc(255, 0x80),
]
const SIZES = [0, 1, 511, 512, 513, 1024, 9999, 70_000]
const TIMES = [0, 1, 1_700_000_000, 2 ** 31, 2 ** 33 - 1, 2 ** 33, -1, -86_400]
const IDS = [0, 1, 65534, 2_097_151, 2_097_152, 0xfffffffe]

/** A tree that is the same for the same seed. */
export function randomTree(seed: number, { root, xattrs }: RandomOptions): DirectoryNode {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0 || 1
  const below = (count: number): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % count
  }
  const pick = <T>(choices: readonly T[]): T => choices[below(choices.length)] as T
  const shared: TreeNode[] = []
  const [own, ownGroup] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0]
  const attributes = (modes: readonly number[]) => ({
    mode: pick(modes),
    uid: root ? pick(IDS) : own,
    gid: root ? pick(IDS) : ownGroup,
    mtimeSeconds: pick(TIMES),
  })
  const randomXattrs = (): { xattrs?: readonly Xattr[] } => {
    if (!xattrs || below(4) > 0) return {}
    const names = ['user.a', 'user.comment with blanks', 'user.é', `user.${'n'.repeat(90)}`].filter(() => below(2) === 0)
    return { xattrs: names.map((name) => ({ name, value: Buffer.from(Array.from({ length: below(3) * below(200) }, () => below(256))) })) }
  }
  const node = (depth: number): TreeNode => {
    if (depth > 0 && below(100) < 40) return directory(entries(depth - 1), attributes([0o755, 0o700, 0o1777, 0o2755]))
    if (shared.length > 0 && below(100) < 15) return pick(shared)
    const made = leaf()
    if (below(100) < 30) shared.push(made)
    return made
  }
  const leaf = (): TreeNode => {
    const kind = below(100)
    if (kind < 20) return symlink(pick([...NAMES, '../..', '/etc/passwd', 't/'.repeat(60), 'u'.repeat(1000)]), { ...attributes([0o777]) })
    if (kind < 25) return { kind: 'fifo', ...attributes([0o644, 0o600]) }
    if (kind < 32 && root) {
      return { kind: pick(['characterDevice', 'blockDevice'] as const), ...attributes([0o600]), major: below(4096), minor: below(1 << 20) }
    }
    const bytes = Buffer.alloc(pick(SIZES), `content ${below(1000)} `)
    return file(bytes, { ...attributes([0o644, 0o444, 0o755, 0o4755, 0o600]), ...randomXattrs() })
  }
  const entries = (depth: number): Entry[] => {
    const names = NAMES.filter(() => below(100) < 40)
    return names.map((name) => entry(name, node(depth)))
  }
  return directory(entries(2), attributes([0o755]))
}
