/**
 * System attributes: what a node of a file system has beside its data, one after another in an order that its
 * layout gives (OpenZFS `module/zfs/sa.c`, `include/sys/zfs_sa.h`, `module/zfs/zfs_sa.c`).
 */
import { alignUp } from '../../../bytes/align.ts'
import type { TreeNode } from '../../../tree/tree.ts'
import { SECTOR_SIZE } from '../constants.ts'
import { ATTRIBUTE_HEADER, ATTRIBUTE_HEADER_MAGIC } from '../disk.ts'
import { BONUS_SIZE_MAXIMUM, BONUS_SIZE_WITH_SPILL } from '../dnode.ts'
import { encodeNvlist, nvBytes } from '../nvlist.ts'
import { accessEntries, fileFlags, rawMode } from './modes.ts'

/** In the order of their numbers: name, bytes (0: any number), and how a host of the other byte order swaps them. */
export const ATTRIBUTES = [
  ['ZPL_ATIME', 16, 0],
  ['ZPL_MTIME', 16, 0],
  ['ZPL_CTIME', 16, 0],
  ['ZPL_CRTIME', 16, 0],
  ['ZPL_GEN', 8, 0],
  ['ZPL_MODE', 8, 0],
  ['ZPL_SIZE', 8, 0],
  ['ZPL_PARENT', 8, 0],
  ['ZPL_LINKS', 8, 0],
  ['ZPL_XATTR', 8, 0],
  ['ZPL_RDEV', 8, 0],
  ['ZPL_FLAGS', 8, 0],
  ['ZPL_UID', 8, 0],
  ['ZPL_GID', 8, 0],
  ['ZPL_PAD', 32, 0],
  ['ZPL_ZNODE_ACL', 88, 3],
  ['ZPL_DACL_COUNT', 8, 0],
  ['ZPL_SYMLINK', 0, 3],
  ['ZPL_SCANSTAMP', 32, 3],
  ['ZPL_DACL_ACES', 0, 4],
  ['ZPL_DXATTR', 0, 3],
  ['ZPL_PROJID', 8, 0],
] as const

const NUMBER = {
  atime: 0,
  mtime: 1,
  ctime: 2,
  crtime: 3,
  gen: 4,
  mode: 5,
  size: 6,
  parent: 7,
  links: 8,
  rdev: 10,
  flags: 11,
  uid: 12,
  gid: 13,
  daclCount: 16,
  symlink: 17,
  daclAces: 19,
  dxattr: 20,
  projid: 21,
} as const

export interface Attribute {
  readonly number: number
  /** Bytes, or integers of 64 bits; times before 1970 are negative. */
  readonly value: Uint8Array | readonly number[]
}

/** The attributes of a node by where they stand. */
export interface PlacedAttributes {
  readonly bonus: readonly Attribute[]
  /** In a block of their own; empty when the bonus holds all. */
  readonly spill: readonly Attribute[]
}

/** What a node's attributes depend on beside the node. */
export interface NodeFacts {
  readonly size: number
  readonly parent: number
  readonly links: number
  readonly generation: number
  /** Whether files and directories have a project, which is 0. */
  readonly hasProjects: boolean
}

/** `DXATTR_MAX_SA_SIZE`. */
export const PACKED_XATTRS_SIZE_MAXIMUM = 64 << 10

/** The extended attributes of a node as one value; undefined when it has none. */
export function packedXattrs(node: TreeNode): Uint8Array | undefined {
  if (node.xattrs === undefined || node.xattrs.length === 0) return undefined
  return encodeNvlist(node.xattrs.map(({ name, value }) => [name, nvBytes(value)] as const))
}

/** What has the size that the node decides goes to a spill block when the bonus has no room for it. */
export function placeAttributes(node: TreeNode, facts: NodeFacts): PlacedAttributes {
  const base = baseAttributes(node, facts)
  const more: Attribute[] = []
  if (node.kind === 'symlink') more.push({ number: NUMBER.symlink, value: node.target })
  const xattrs = packedXattrs(node)
  if (xattrs !== undefined) more.push({ number: NUMBER.dxattr, value: xattrs })
  if (encodedSize([...base, ...more]) <= BONUS_SIZE_MAXIMUM) return { bonus: [...base, ...more], spill: [] }
  const [first, ...rest] = more
  if (first !== undefined && rest.length > 0 && encodedSize([...base, first]) <= BONUS_SIZE_WITH_SPILL) {
    return { bonus: [...base, first], spill: rest }
  }
  return { bonus: base, spill: more }
}

/** The key of a layout: its numbers in their order. */
export function layoutKey(attributes: readonly Attribute[]): string {
  return attributes.map(({ number }) => number).join(' ')
}

/** Header and attributes; a spill block is filled up to whole sectors. */
export function encodeAttributes(attributes: readonly Attribute[], layout: number): Uint8Array {
  const sizes = variableSizes(attributes)
  const headerSize = headerSizeOf(sizes)
  const bytes = new Uint8Array(encodedSize(attributes))
  const view = new DataView(bytes.buffer)
  ATTRIBUTE_HEADER.write(bytes, 0, { magic: ATTRIBUTE_HEADER_MAGIC, layoutAndSize: layout | ((headerSize / 8) << 10) })
  for (const [index, size] of sizes.entries()) view.setUint16(ATTRIBUTE_HEADER.size + 2 * index, size, true)
  let at = headerSize
  for (const attribute of attributes) {
    at = alignUp(at, 8)
    if (attribute.value instanceof Uint8Array) bytes.set(attribute.value, at)
    else for (const [index, word] of attribute.value.entries()) setWord(view, at + 8 * index, word)
    at += sizeOf(attribute)
  }
  return bytes
}

/** Where an attribute stands among those that are encoded together. */
export function attributeOffset(attributes: readonly Attribute[], name: keyof typeof NUMBER): number {
  let at = headerSizeOf(variableSizes(attributes))
  for (const attribute of attributes) {
    at = alignUp(at, 8)
    if (attribute.number === NUMBER[name]) return at
    at += sizeOf(attribute)
  }
  throw new RangeError(`no attribute ${name}`)
}

export function spillBlock(attributes: readonly Attribute[], layout: number): Uint8Array {
  const bytes = encodeAttributes(attributes, layout)
  const block = new Uint8Array(alignUp(bytes.length, SECTOR_SIZE))
  block.set(bytes)
  return block
}

/** By halves, as numbers are made into bigints slowly, and there are many. */
export function setWord(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true)
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true)
}

function sizeOf({ value }: Attribute): number {
  return value instanceof Uint8Array ? value.length : 8 * value.length
}

function variableSizes(attributes: readonly Attribute[]): number[] {
  return attributes.filter(({ number }) => ATTRIBUTES[number]?.[1] === 0).map(sizeOf)
}

function headerSizeOf(sizes: readonly number[]): number {
  return alignUp(ATTRIBUTE_HEADER.size + 2 * Math.max(1, sizes.length), 8)
}

function encodedSize(attributes: readonly Attribute[]): number {
  let at = headerSizeOf(variableSizes(attributes))
  for (const attribute of attributes) at = alignUp(at, 8) + sizeOf(attribute)
  return at
}

/** The first seven stand where the quota code of OpenZFS looks for them without asking for the layout. */
function baseAttributes(node: TreeNode, facts: NodeFacts): Attribute[] {
  const time = [node.mtimeSeconds, 0]
  const isDevice = node.kind === 'characterDevice' || node.kind === 'blockDevice'
  const hasProject = facts.hasProjects && (node.kind === 'file' || node.kind === 'directory')
  const aces = accessEntries(node)
  return [
    { number: NUMBER.mode, value: [rawMode(node)] },
    { number: NUMBER.size, value: [facts.size] },
    { number: NUMBER.gen, value: [facts.generation] },
    { number: NUMBER.uid, value: [node.uid] },
    { number: NUMBER.gid, value: [node.gid] },
    { number: NUMBER.parent, value: [facts.parent] },
    { number: NUMBER.flags, value: [fileFlags(node, hasProject)] },
    { number: NUMBER.atime, value: time },
    { number: NUMBER.mtime, value: time },
    { number: NUMBER.ctime, value: time },
    { number: NUMBER.crtime, value: time },
    { number: NUMBER.links, value: [facts.links] },
    ...(isDevice ? [{ number: NUMBER.rdev, value: [node.major * 2 ** 20 + node.minor] }] : []),
    ...(hasProject ? [{ number: NUMBER.projid, value: [0] }] : []),
    { number: NUMBER.daclCount, value: [aces.count] },
    { number: NUMBER.daclAces, value: aces.bytes },
  ]
}
