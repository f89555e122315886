/** File systems: what the objects of a set are (OpenZFS `module/zfs/{zfs_znode,zfs_sa,zfs_dir}.c`, `include/sys/zfs_znode.h`). */
import { type Attributes, type AttributeTables, layoutOf, readAttributes, readTables } from './attributes.ts'
import { number64 } from './device.ts'
import { walkBlocks } from './dnode.ts'
import { readNvlist } from './nvlist.ts'
import type { Objset, StoredObject } from './objset.ts'
import { attempt, type Pool } from './pool.ts'
import { readZap, type Zap, zapBits, zapNumber } from './zap.ts'

export const MASTER_NODE = 1
const KINDS = {
  1: 'fifo',
  2: 'characterDevice',
  4: 'directory',
  6: 'blockDevice',
  8: 'file',
  10: 'symlink',
  12: 'socket',
} as const
export type NodeKind = (typeof KINDS)[keyof typeof KINDS]

export interface Time {
  readonly seconds: number
  readonly nanoseconds: number
}

export interface NodeEntry {
  readonly name: Buffer
  readonly object: number
  /** As the entry says it. */
  readonly kind: NodeKind | undefined
}

export interface FileSystemNode {
  readonly stored: StoredObject
  readonly kind: NodeKind
  /** Permissions only. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly links: number
  readonly parent: number
  readonly generation: number
  readonly flags: bigint
  readonly times: Readonly<Record<'atime' | 'mtime' | 'ctime' | 'crtime', Time>>
  readonly device: { readonly major: number; readonly minor: number } | undefined
  readonly target: Buffer | undefined
  readonly project: number | undefined
  readonly xattrs: ReadonlyMap<string, Buffer>
  readonly aces: { readonly count: number; readonly bytes: Buffer }
  /** Of the bonus: numbers of attributes in their order. */
  readonly layout: readonly number[]
  readonly entries: readonly NodeEntry[]
}

export interface FileSystem {
  readonly objset: Objset
  readonly master: Zap
  readonly tables: AttributeTables
  readonly root: number
  readonly nodes: ReadonlyMap<number, FileSystemNode>
}

/** Undefined when the file system has no beginning; what is wrong with single nodes are problems. */
export function readFileSystem(pool: Pool, objset: Objset): FileSystem | undefined {
  return attempt(pool, objset.name, () => {
    const mapOf = (object: number): Zap => {
      const stored = objset.objects.get(object)
      return readZap(stored?.content, stored?.blockSize ?? 0)
    }
    const master = mapOf(MASTER_NODE)
    const tables = readTables(mapOf(zapNumber(master, 'SA_ATTRS')), objset.objects)
    const nodes = new Map<number, FileSystemNode>()
    for (const stored of objset.objects.values()) {
      if (stored.bonusType !== 44) continue
      const node = attempt(pool, `${objset.name} object ${stored.object}`, () => readNode(tables, stored))
      if (node !== undefined) nodes.set(stored.object, node)
    }
    return { objset, master, tables, root: zapNumber(master, 'ROOT'), nodes }
  })
}

function readNode(tables: AttributeTables, stored: StoredObject): FileSystemNode {
  const attributes = readAttributes(tables, stored)
  const value = (name: string): Buffer => {
    const bytes = attributes.get(name)
    if (bytes === undefined) throw new Error(`it has no ${name}`)
    return bytes
  }
  const number = (name: string): number => number64(value(name), 0)
  const mode = number('MODE')
  const kind = kindOf(mode >>> 12)
  if (kind === undefined) throw new Error(`the mode ${mode.toString(8)} is of no kind`)
  const rdev = attributes.has('RDEV') ? number('RDEV') : undefined
  return {
    stored,
    kind,
    mode: mode & 0o7777,
    uid: number('UID'),
    gid: number('GID'),
    size: number('SIZE'),
    links: number('LINKS'),
    parent: number('PARENT'),
    generation: number('GEN'),
    flags: value('FLAGS').readBigUInt64LE(0),
    times: { atime: time(value('ATIME')), mtime: time(value('MTIME')), ctime: time(value('CTIME')), crtime: time(value('CRTIME')) },
    device: rdev === undefined ? undefined : { major: Math.floor(rdev / 2 ** 20), minor: rdev % 2 ** 20 },
    target: attributes.get('SYMLINK'),
    project: attributes.has('PROJID') ? number('PROJID') : undefined,
    xattrs: xattrsOf(attributes),
    aces: { count: number('DACL_COUNT'), bytes: value('DACL_ACES') },
    layout: layoutOf(tables, stored.bonus),
    entries: kind === 'directory' ? entriesOf(stored) : [],
  }
}

function kindOf(type: number): NodeKind | undefined {
  return (KINDS as Readonly<Record<number, NodeKind | undefined>>)[type]
}

function time(bytes: Buffer): Time {
  return { seconds: Number(bytes.readBigInt64LE(0)), nanoseconds: number64(bytes, 8) }
}

function xattrsOf(attributes: Attributes): Map<string, Buffer> {
  const packed = attributes.get('DXATTR')
  if (packed === undefined) return new Map()
  const { list, size } = readNvlist(packed)
  if (size !== packed.length) throw new Error('something stands behind the extended attributes')
  return new Map(
    Object.entries(list).map(([name, value]) => {
      if (!Buffer.isBuffer(value)) throw new Error(`the extended attribute ${name} is no bytes`)
      return [name, value]
    }),
  )
}

/** The kind is in the upper four bits, the object in the lower 48. */
function entriesOf({ content, blockSize }: StoredObject): NodeEntry[] {
  return [...readZap(content, blockSize).values()].map((entry) => {
    const bits = zapBits(entry)
    return { name: entry.name, object: Number(bits & 0xffffffffffffn), kind: kindOf(Number(bits >> 60n)) }
  })
}

/** The blocks of a file that are not holes, in order; bytes behind its size among them. */
export function fileBlocks(pool: Pool, { objset }: FileSystem, { stored }: FileSystemNode): { start: number; bytes: Buffer }[] {
  const blocks: { start: number; bytes: Buffer }[] = []
  walkBlocks(pool, objset.name, stored, (node, bytes) => {
    if (node.level === 0 && node.index >= 0 && bytes !== undefined) blocks.push({ start: node.index * stored.blockSize, bytes })
  })
  return blocks
}
