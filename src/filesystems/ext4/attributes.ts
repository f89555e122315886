/** Extended attributes (attributes: "Extended Attributes"): in the inode as many as fit, the rest in one block. */
import { alignUp } from '../../bytes/align.ts'
import { compareBytes } from '../../bytes/order.ts'
import { utf8 } from '../../bytes/text.ts'
import { type Problem, XATTR_NAME_MAXIMUM } from '../../tree/limits.ts'
import type { Xattr } from '../../tree/tree.ts'
import { ATTRIBUTE_MAGIC, attributeEntry, attributeHeader, BLOCK_SIZE, INODE_ATTRIBUTES_OFFSET, INODE_SIZE } from './disk.ts'
import { aclToDisk } from './posix-acl.ts'

export interface AttributePlan {
  /** What follows the fields of the inode; empty for nothing. */
  readonly inInode: Uint8Array
  /** A whole block but for its checksum; undefined for none. */
  readonly block: Uint8Array | undefined
}

/** Prefixes that are stored as a number; `whole` ones are the entire name. */
const PREFIXES: readonly { readonly index: number; readonly prefix: string; readonly whole: boolean }[] = [
  { index: 1, prefix: 'user.', whole: false },
  { index: 2, prefix: 'system.posix_acl_access', whole: true },
  { index: 3, prefix: 'system.posix_acl_default', whole: true },
  { index: 4, prefix: 'trusted.', whole: false },
  { index: 6, prefix: 'security.', whole: false },
]
const SUPPORTED = PREFIXES.map(({ prefix }) => prefix).join(', ')
const MAGIC_SIZE = 4
/** Zeros that end the list of entries. */
const TERMINATOR_SIZE = 4
const INODE_ROOM = INODE_SIZE - INODE_ATTRIBUTES_OFFSET - MAGIC_SIZE - TERMINATOR_SIZE
const BLOCK_ROOM = BLOCK_SIZE - attributeHeader.size - TERMINATOR_SIZE

interface Attribute {
  readonly nameIndex: number
  /** Without the prefix. */
  readonly name: Uint8Array
  readonly value: Uint8Array
}

/** The attributes of one inode; a problem when they are not of ext4's kind, or too large. */
export function planAttributes(xattrs: readonly Xattr[]): AttributePlan | Problem {
  const attributes: Attribute[] = []
  for (const xattr of xattrs) {
    const attribute = attributeOf(xattr)
    if ('code' in attribute) return attribute
    attributes.push(attribute)
  }
  // The kernel searches a block in this order.
  attributes.sort((a, b) => a.nameIndex - b.nameIndex || a.name.length - b.name.length || compareBytes(a.name, b.name))
  const inInode: Attribute[] = []
  const inBlock: Attribute[] = []
  let inodeRoom = INODE_ROOM
  let blockSize = 0
  for (const [index, attribute] of attributes.entries()) {
    const before = attributes[index - 1]
    if (before?.nameIndex === attribute.nameIndex && compareBytes(before.name, attribute.name) === 0) {
      return { code: 'USAGE', message: `an extended attribute '${shown(attribute)}' is given twice` }
    }
    const size = sizeOf(attribute)
    if (size <= inodeRoom) {
      inInode.push(attribute)
      inodeRoom -= size
    } else {
      inBlock.push(attribute)
      blockSize += size
    }
  }
  if (blockSize > BLOCK_ROOM) {
    return {
      code: 'LIMIT',
      message: `the extended attributes need ${blockSize} bytes beyond the inode, ext4 has one block with ${BLOCK_ROOM} for them; drop some`,
    }
  }
  return { inInode: encodeInInode(inInode), block: inBlock.length === 0 ? undefined : encodeBlock(inBlock) }
}

function attributeOf({ name, value }: Xattr): Attribute | Problem {
  const known = PREFIXES.find(({ prefix, whole }) => (whole ? name === prefix : name.startsWith(prefix)))
  if (known === undefined) {
    return { code: 'UNSUPPORTED', message: `extended attribute '${name}': ext4 holds only ${SUPPORTED}; drop it` }
  }
  const rest = utf8(name.slice(known.prefix.length))
  if (!known.whole && (rest.length === 0 || rest.includes(0))) {
    return { code: 'USAGE', message: `extended attribute '${name}' has no valid name` }
  }
  if (rest.length > XATTR_NAME_MAXIMUM) {
    return { code: 'LIMIT', message: `the name of extended attribute '${name}' is ${rest.length} bytes, ext4 allows ${XATTR_NAME_MAXIMUM}` }
  }
  if (!known.whole) return { nameIndex: known.index, name: rest, value }
  const acl = aclToDisk(value)
  if (acl === undefined) return { code: 'UNSUPPORTED', message: `extended attribute '${name}' is no access control list of version 2` }
  return { nameIndex: known.index, name: rest, value: acl }
}

function shown({ nameIndex, name }: Attribute): string {
  return `${PREFIXES.find(({ index }) => index === nameIndex)?.prefix}${Buffer.from(name).toString()}`
}

function sizeOf({ name, value }: Attribute): number {
  return attributeEntry.size + alignUp(name.length, 4) + alignUp(value.length, 4)
}

function encodeInInode(attributes: readonly Attribute[]): Uint8Array {
  if (attributes.length === 0) return new Uint8Array(0)
  const bytes = new Uint8Array(INODE_SIZE - INODE_ATTRIBUTES_OFFSET)
  new DataView(bytes.buffer).setUint32(0, ATTRIBUTE_MAGIC, true)
  // The kernel leaves the hashes of entries in inodes 0.
  writeEntries(bytes.subarray(MAGIC_SIZE), 0, attributes, () => 0)
  return bytes
}

function encodeBlock(attributes: readonly Attribute[]): Uint8Array {
  const bytes = new Uint8Array(BLOCK_SIZE)
  const hash = writeEntries(bytes, attributeHeader.size, attributes, entryHash)
  attributeHeader.write(bytes, 0, { magic: ATTRIBUTE_MAGIC, referenceCount: 1, blockCount: 1, hash })
  return bytes
}

/** Entries from `at` on, values from the end backwards; returns the hash of all hashes. */
function writeEntries(bytes: Uint8Array, at: number, attributes: readonly Attribute[], hashOf: (attribute: Attribute) => number): number {
  let offset = at
  let end = bytes.length
  let all = 0
  for (const attribute of attributes) {
    const { name, nameIndex, value } = attribute
    end -= alignUp(value.length, 4)
    const hash = hashOf(attribute)
    const valueOffset = value.length === 0 ? 0 : end
    attributeEntry.write(bytes, offset, { nameLength: name.length, nameIndex, valueOffset, valueSize: value.length, hash })
    bytes.set(name, offset + attributeEntry.size)
    bytes.set(value, end)
    offset += attributeEntry.size + alignUp(name.length, 4)
    all = rotate(all, 16) ^ hash
  }
  return all >>> 0
}

/** Of name and value, by which the kernel finds equal blocks (`ext4_xattr_hash_entry`). */
function entryHash({ name, value }: Attribute): number {
  let hash = 0
  for (const byte of name) hash = rotate(hash, 5) ^ byte
  const padded = new Uint8Array(alignUp(value.length, 4))
  padded.set(value)
  const view = new DataView(padded.buffer)
  for (let at = 0; at < padded.length; at += 4) hash = rotate(hash, 16) ^ view.getUint32(at, true)
  return hash >>> 0
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}
