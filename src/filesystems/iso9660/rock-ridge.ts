/**
 * Rock Ridge fields (RRIP 1.12 on SUSP 1.12) and where they go: into the directory record as far as
 * they fit, then into continuation areas.
 *
 * The extension record says RRIP_1991A, as mkisofs and xorriso write it, because that is the one
 * identifier which every reader knows; the PX field has the serial number of version 1.12, which
 * readers tell by its length.
 */
import { struct } from '../../bytes/struct.ts'
import { utf8 } from '../../bytes/text.ts'
import type { TreeNode } from '../../tree/tree.ts'
import { BLOCK_SIZE, recordingDate } from './disk.ts'
import type { Item } from './nodes.ts'

const HEADER = { signature: [0, 'bytes', 2], length: [2, 'u8'], version: [3, 'u8'] } as const

/** SUSP 1.12, 5.3: in the root's `.` record only. */
const sharingProtocol = struct('SP', 7, { ...HEADER, checkBytes: [4, 'bytes', 2], skippedByteCount: [6, 'u8'] })
/** SUSP 1.12, 5.1. */
const continuation = struct('CE', 28, { ...HEADER, block: [4, 'u32both'], offset: [12, 'u32both'], areaLength: [20, 'u32both'] })
/** SUSP 1.12, 5.5; identifier, descriptor and source follow. */
const extensionReference = struct('ER', 8, {
  ...HEADER,
  identifierLength: [4, 'u8'],
  descriptorLength: [5, 'u8'],
  sourceLength: [6, 'u8'],
  extensionVersion: [7, 'u8'],
})
/** RRIP 1.12, 4.1.1. */
const posixAttributes = struct('PX', 44, {
  ...HEADER,
  mode: [4, 'u32both'],
  linkCount: [12, 'u32both'],
  uid: [20, 'u32both'],
  gid: [28, 'u32both'],
  serial: [36, 'u32both'],
})
/** RRIP 1.12, 4.1.2. */
const deviceNumber = struct('PN', 20, { ...HEADER, high: [4, 'u32both'], low: [12, 'u32both'] })
/** RRIP 1.12, 4.1.6: times of modification, access and attribute change, as 7-byte dates. */
const timestamps = struct('TF', 26, {
  ...HEADER,
  flags: [4, 'u8'],
  modified: [5, 'bytes', 7],
  accessed: [12, 'bytes', 7],
  changed: [19, 'bytes', 7],
})
const TIMESTAMP_FLAGS = 0x0e
/** RRIP 1.12, 4.1.4 and 4.1.3: name bytes, or component records, follow. */
const flagged = struct('NM or SL', 5, { ...HEADER, flags: [4, 'u8'] })
const FIELD_LIMIT = 255
const CONTINUE = 0x01
/** Component flags of SL. */
const COMPONENT = { current: 0x02, parent: 0x04, root: 0x08 } as const
const COMPONENT_HEADER = 2

const FILE_TYPE: Readonly<Record<TreeNode['kind'], number>> = {
  fifo: 0o010000,
  characterDevice: 0o020000,
  directory: 0o040000,
  blockDevice: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
}

function fieldHeader(signature: string, length: number): { signature: Uint8Array; length: number; version: number } {
  return { signature: utf8(signature), length, version: 1 }
}

function attributeFields({ node, inode }: Item): Uint8Array[] {
  const date = recordingDate(node.mtimeSeconds, '')
  return [
    posixAttributes.encode({
      ...fieldHeader('PX', posixAttributes.size),
      mode: FILE_TYPE[node.kind] | (node.mode & 0o7777),
      linkCount: inode.linkCount,
      uid: node.uid,
      gid: node.gid,
      serial: inode.serial,
    }),
    timestamps.encode({ ...fieldHeader('TF', timestamps.size), flags: TIMESTAMP_FLAGS, modified: date, accessed: date, changed: date }),
  ]
}

/** Fields of a `.` or `..` record; those of the root's `.` introduce the protocol and the extension. */
export function dotFields(item: Item, isRootSelf: boolean): Uint8Array[] {
  if (!isRootSelf) return attributeFields(item)
  const protocol = sharingProtocol.encode({
    ...fieldHeader('SP', sharingProtocol.size),
    checkBytes: Uint8Array.of(0xbe, 0xef),
    skippedByteCount: 0,
  })
  return [protocol, ...attributeFields(item), rockRidgeReference()]
}

function rockRidgeReference(): Uint8Array {
  const identifier = utf8('RRIP_1991A')
  const descriptor = utf8('THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS')
  const length = extensionReference.size + identifier.length + descriptor.length
  const bytes = new Uint8Array(length)
  extensionReference.write(bytes, 0, {
    ...fieldHeader('ER', length),
    identifierLength: identifier.length,
    descriptorLength: descriptor.length,
    sourceLength: 0,
    extensionVersion: 1,
  })
  bytes.set(identifier, extensionReference.size)
  bytes.set(descriptor, extensionReference.size + identifier.length)
  return bytes
}

/** Fields of an ordinary record. */
export function entryFields(item: Item): Uint8Array[] {
  const { node } = item
  const fields = [...attributeFields(item), ...nameFields(item.name)]
  if (node.kind === 'symlink') fields.push(...linkFields(node.target))
  if (node.kind === 'characterDevice' || node.kind === 'blockDevice') {
    // The form with both numbers in the low word is read alike by Linux and by xorriso; larger ones need the other.
    const short = node.major <= 0xfff && node.minor <= 0xff
    const numbers = short ? { high: 0, low: node.major * 256 + node.minor } : { high: node.major, low: node.minor }
    fields.push(deviceNumber.encode({ ...fieldHeader('PN', deviceNumber.size), ...numbers }))
  }
  return fields
}

function flaggedField(signature: string, flags: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(flagged.size + payload.length)
  flagged.write(bytes, 0, { ...fieldHeader(signature, bytes.length), flags })
  bytes.set(payload, flagged.size)
  return bytes
}

/** Linux drops the field with which a name would get longer than this. */
const LINUX_NAME_LIMIT = 253
/** A longer first piece would leave no room for it in the directory record, beside PX, TF and CE. */
const FIRST_PIECE_LIMIT = 40

/**
 * A long name in two fields, and bytes 254 and 255 in a third: Linux then shows the first 253 bytes,
 * where it would lose all of the second field.
 */
function nameFields(name: Uint8Array): Uint8Array[] {
  const ends = name.length <= 2 * FIRST_PIECE_LIMIT ? [name.length] : [FIRST_PIECE_LIMIT, Math.min(name.length, LINUX_NAME_LIMIT)]
  if (name.length > LINUX_NAME_LIMIT) ends.push(name.length)
  return ends.map((end, index) => flaggedField('NM', index < ends.length - 1 ? CONTINUE : 0, name.subarray(ends[index - 1] ?? 0, end)))
}

/** A link target as component records, filled into SL fields; a component may go on in the next field. */
export function linkFields(target: Uint8Array): Uint8Array[] {
  const payloads: Uint8Array[] = []
  let parts: Uint8Array[] = []
  let room = FIELD_LIMIT - flagged.size
  const flush = (): void => {
    payloads.push(new Uint8Array(Buffer.concat(parts)))
    parts = []
    room = FIELD_LIMIT - flagged.size
  }
  const put = (flags: number, content: Uint8Array): void => {
    parts.push(Uint8Array.of(flags, content.length), content)
    room -= COMPONENT_HEADER + content.length
  }
  for (const { flags, content } of linkComponents(target)) {
    let rest = content
    while (room < COMPONENT_HEADER + rest.length) {
      const part = Math.max(0, room - COMPONENT_HEADER)
      if (part > 0) {
        put(CONTINUE, rest.subarray(0, part))
        rest = rest.subarray(part)
      }
      flush()
    }
    put(flags, rest)
  }
  flush()
  return payloads.map((payload, index) => flaggedField('SL', index < payloads.length - 1 ? CONTINUE : 0, payload))
}

/** Empty components keep doubled and final slashes: readers put one slash between two components. */
function linkComponents(target: Uint8Array): { flags: number; content: Uint8Array }[] {
  const components: { flags: number; content: Uint8Array }[] = []
  const none = new Uint8Array(0)
  let start = 0
  if (target[0] === 0x2f) {
    components.push({ flags: COMPONENT.root, content: none })
    start = 1
    if (target.length === 1) return components
  }
  while (start <= target.length) {
    const slash = target.indexOf(0x2f, start)
    const end = slash === -1 ? target.length : slash
    const content = target.subarray(start, end)
    if (content.length === 1 && content[0] === 0x2e) components.push({ flags: COMPONENT.current, content: none })
    else if (content.length === 2 && content[0] === 0x2e && content[1] === 0x2e) components.push({ flags: COMPONENT.parent, content: none })
    else components.push({ flags: 0, content })
    start = end + 1
  }
  return components
}

/** Fields in one place, and where the rest of them is. */
interface FieldArea {
  readonly fields: readonly Uint8Array[]
  next?: ContinuationArea
}

interface ContinuationArea extends FieldArea {
  /** Counts from the first continuation block of the tree. */
  readonly blockIndex: number
  readonly offset: number
  readonly length: number
}

export type SystemUse = FieldArea

/**
 * Hands out continuation areas of one tree. An area lies within one block, as Linux demands, and all
 * fields of one directory record lie close together.
 */
export class ContinuationSpace {
  readonly areas: ContinuationArea[] = []
  #blockIndex = 0
  #offset = 0

  get blockCount(): number {
    return this.#blockIndex + (this.#offset > 0 ? 1 : 0)
  }

  /** Split `fields` into those that fit into `room` bytes of a directory record and continuation areas. */
  place(fields: readonly Uint8Array[], room: number): SystemUse {
    let taken = takeFields(fields, 0, room)
    const first: FieldArea = { fields: fields.slice(0, taken) }
    let previous = first
    while (taken < fields.length) {
      let end = takeFields(fields, taken, BLOCK_SIZE - this.#offset)
      if (end === taken) {
        this.#blockIndex++
        this.#offset = 0
        end = takeFields(fields, taken, BLOCK_SIZE)
      }
      const part = fields.slice(taken, end)
      const length = totalLength(part) + (end < fields.length ? continuation.size : 0)
      const area: ContinuationArea = { fields: part, blockIndex: this.#blockIndex, offset: this.#offset, length }
      this.areas.push(area)
      previous.next = area
      previous = area
      this.#offset += length
      taken = end
    }
    return first
  }
}

function totalLength(fields: readonly Uint8Array[]): number {
  return fields.reduce((sum, field) => sum + field.length, 0)
}

/** The end of the run of fields from `start` that fits into `room`, with a CE field unless it is the last run. */
function takeFields(fields: readonly Uint8Array[], start: number, room: number): number {
  if (totalLength(fields.slice(start)) <= room) return fields.length
  let end = start
  let left = room - continuation.size
  for (const field of fields.slice(start)) {
    if (field.length > left) break
    left -= field.length
    end++
  }
  return end
}

/** Bytes of a record's system use area. */
export function systemUseLength(area: SystemUse): number {
  return totalLength(area.fields) + (area.next === undefined ? 0 : continuation.size)
}

/** Write an area at `offset`; `continuationBlock` is where the tree's continuation blocks begin, as its own records count. */
export function writeSystemUse(target: Uint8Array, offset: number, area: SystemUse, continuationBlock: number): void {
  let at = offset
  for (const field of area.fields) {
    target.set(field, at)
    at += field.length
  }
  if (area.next === undefined) return
  continuation.write(target, at, {
    ...fieldHeader('CE', continuation.size),
    block: continuationBlock + area.next.blockIndex,
    offset: area.next.offset,
    areaLength: area.next.length,
  })
}

/** All continuation blocks of a tree. */
export function continuationBytes(space: ContinuationSpace, continuationBlock: number): Uint8Array {
  const bytes = new Uint8Array(space.blockCount * BLOCK_SIZE)
  for (const area of space.areas) writeSystemUse(bytes, area.blockIndex * BLOCK_SIZE + area.offset, area, continuationBlock)
  return bytes
}
