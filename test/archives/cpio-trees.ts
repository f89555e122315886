/** Trees for the tests of cpio archives. */
import { compareBytes } from '../../src/bytes/order.ts'
import type { Attributes, DirectoryNode, Entry, FileNode, TreeNode } from '../../src/tree/tree.ts'

export const FIXED: Attributes = { mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 1 }

export function file(content: string | Uint8Array, attributes: Partial<Attributes> = {}): FileNode {
  const bytes = Buffer.from(content)
  return { kind: 'file', ...FIXED, ...attributes, size: bytes.length, content: { kind: 'bytes', bytes } }
}

/** Entries by name; a name of bytes is written in latin1. */
export function directory(entries: Readonly<Record<string, TreeNode>>, attributes: Partial<Attributes> = {}): DirectoryNode {
  const list = Object.entries(entries).map(([name, node]) => ({ name: Buffer.from(name, 'latin1'), node }))
  return { kind: 'directory', ...FIXED, mode: 0o755, ...attributes, entries: list }
}

export function link(target: string): TreeNode {
  return { kind: 'symlink', ...FIXED, mode: 0o777, target: Buffer.from(target, 'latin1') }
}

/** Of everything something: kinds, names that are no UTF-8 and of 255 bytes, hard links, sizes around the alignment. */
export function strangeTree(): DirectoryNode {
  const twice = file('one file, three names')
  const device = { kind: 'blockDevice', ...FIXED, mode: 0o660, gid: 6, major: 259, minor: 1048575 } as const
  return directory({
    dev: directory({
      console: { kind: 'characterDevice', ...FIXED, mode: 0o600, major: 5, minor: 1 },
      nvme: device,
      'nvme-again': device,
      pipe: { kind: 'fifo', ...FIXED },
      socket: { kind: 'socket', ...FIXED, mode: 0o755 },
    }),
    empty: directory({}, { mode: 0o1777 }),
    sizes: directory(Object.fromEntries([0, 1, 2, 3, 4, 5, 127, 4096].map((size) => [String(size), file(Buffer.alloc(size, 'size'))]))),
    names: directory({
      '\xff\xfe': file('no UTF-8'),
      'a b': file('blank'),
      '-rf': file('dash'),
      ['\xe9'.repeat(255)]: file('long'),
      ['n'.repeat(255)]: directory({}),
      'TRAILER!!!': file('not at the top'),
    }),
    // `a-b` sorts before `a/c` where whole paths are sorted, and behind it depth first.
    a: directory({ c: twice }),
    'a-b': twice,
    links: directory({ 'to a': link('../a'), bytes: link('\xff/\xfe'), long: link('x'.repeat(4095)) }),
    modes: directory({
      setuid: file('s', { mode: 0o4755 }),
      nothing: file('n', { mode: 0 }),
      owned: file('o', { uid: 1000, gid: 100, mtimeSeconds: 0xffffffff }),
    }),
    z: twice,
  })
}

/** Numbers from 0 to below `limit` that are the same for the same seed (xorshift). */
export function seeded(seed: number): (limit: number) => number {
  let state = (seed * 0x9e3779b1) >>> 0 || 1
  return (limit) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % limit
  }
}

/** A tree of up to a few dozen nodes of all kinds, some of which stand in several places. */
export function randomTree(random: (limit: number) => number): DirectoryNode {
  const known: TreeNode[] = []
  const nodeAt = (depth: number): TreeNode => {
    const attributes = { mode: random(0o10000), uid: random(3), gid: random(3), mtimeSeconds: random(0x100000000) }
    const choice = random(depth > 4 ? 8 : 12)
    const again = known[random(10)]
    if (choice === 0 && again !== undefined) return again
    if (choice < 5)
      return file(Buffer.from(Array.from({ length: random(4) === 0 ? random(3000) : random(9) }, () => random(256))), attributes)
    if (choice === 5) return { kind: 'symlink', ...attributes, target: Buffer.alloc(1 + random(30), 0x61 + random(26)) }
    if (choice === 6)
      return { kind: random(2) === 0 ? 'blockDevice' : 'characterDevice', ...attributes, major: random(4096), minor: random(0x100000) }
    if (choice === 7) return { kind: random(2) === 0 ? 'fifo' : 'socket', ...attributes }
    return directoryAt(depth, attributes)
  }
  const directoryAt = (depth: number, attributes: Attributes): DirectoryNode => {
    const names = new Set(Array.from({ length: random(6) }, () => randomName(random)))
    const entries = [...names].map((name) => {
      const node = nodeAt(depth + 1)
      if (node.kind !== 'directory') known.push(node)
      return { name: Buffer.from(name, 'latin1'), node }
    })
    return { kind: 'directory', ...attributes, entries }
  }
  return directoryAt(0, { ...FIXED, mode: 0o755 })
}

function randomName(random: (limit: number) => number): string {
  const length = random(20) === 0 ? 255 : 1 + random(6)
  const name = Array.from({ length }, () => String.fromCharCode(1 + random(255)))
    .join('')
    .replaceAll('/', '_')
  return /^\.{1,2}$/.test(name) ? 'dots' : name
}

/** The same tree with the entries of every directory in another order. */
export function shuffled(node: DirectoryNode, random: (limit: number) => number): DirectoryNode {
  const copy = (child: TreeNode): TreeNode => (child.kind === 'directory' ? shuffled(child, random) : child)
  const entries: Entry[] = node.entries.map(({ name, node: child }) => ({ name, node: copy(child) }))
  for (let index = entries.length - 1; index > 0; index--) {
    const other = random(index + 1)
    const [a, b] = [entries[index], entries[other]]
    if (a !== undefined && b !== undefined) [entries[index], entries[other]] = [b, a]
  }
  return { ...node, entries }
}

/** Every path of the tree with its node, in the order that archives are to have. */
export function pathsOf(root: DirectoryNode, prefix = ''): [string, TreeNode][] {
  return [...root.entries]
    .sort((a, b) => compareBytes(a.name, b.name))
    .flatMap(({ name, node }): [string, TreeNode][] => {
      const path = `${prefix}${Buffer.from(name).toString('latin1')}`
      return [[path, node], ...(node.kind === 'directory' ? pathsOf(node, `${path}/`) : [])]
    })
}
