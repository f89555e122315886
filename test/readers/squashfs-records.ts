/** Inodes, listings and extended attributes, for the SquashFS reader. */
import { check, type Metadata } from './squashfs-metadata.ts'

export interface DiskInode {
  /** Block position times 65536 plus offset. */
  readonly reference: number
  readonly number: number
  /** The basic type, 1 to 7. */
  readonly type: number
  readonly extended: boolean
  readonly permissions: number
  readonly uidIndex: number
  readonly gidIndex: number
  readonly mtimeSeconds: number
  readonly linkCount: number
  readonly xattrIndex: number
  readonly file?: {
    readonly size: number
    readonly blocksStart: number
    readonly blockWords: readonly number[]
    readonly fragmentIndex: number
    readonly fragmentOffset: number
    readonly sparse: number
  }
  readonly directory?: {
    readonly listingSize: number
    readonly block: number
    readonly offset: number
    readonly parentInode: number
    readonly index: readonly { readonly index: number; readonly start: number; readonly name: string }[]
  }
  readonly target?: Buffer
  readonly device?: { readonly major: number; readonly minor: number }
}

export interface DiskRun {
  /** Bytes from the listing's start to the header. */
  readonly start: number
  /** Of the metadata block in which the header begins. */
  readonly block: number
  readonly entries: readonly DiskEntry[]
}

export interface DiskEntry {
  /** One latin1 character a byte. */
  readonly name: string
  readonly reference: number
  readonly inodeNumber: number
  readonly type: number
  /** The metadata block in which the entry begins. */
  readonly block: number
}

export interface DiskListing {
  readonly size: number
  readonly runs: readonly DiskRun[]
  readonly index: NonNullable<DiskInode['directory']>['index']
}

const NONE = 0xffffffff

class Cursor {
  readonly view: DataView
  readonly #bytes: Uint8Array
  readonly #name: () => string
  at: number

  constructor(bytes: Uint8Array, at: number, name: () => string) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#bytes = bytes
    this.#name = name
    this.at = at
  }
  #take(length: number): number {
    check(this.at + length <= this.#bytes.length, () => `${this.#name()}: ends beyond its table`)
    this.at += length
    return this.at - length
  }
  u16(): number {
    return this.view.getUint16(this.#take(2), true)
  }
  s16(): number {
    return this.view.getInt16(this.#take(2), true)
  }
  u32(): number {
    return this.view.getUint32(this.#take(4), true)
  }
  u64(): number {
    const value = this.view.getBigUint64(this.#take(8), true)
    check(value <= BigInt(Number.MAX_SAFE_INTEGER), () => `${this.#name()}: ${value} is too large to be true`)
    return Number(value)
  }
  take(length: number): Buffer {
    const start = this.#take(length)
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + start, length)
  }
}

/** Read the whole inode table in order; it must hold inodes and nothing else. */
export function parseInodes(metadata: Metadata, blockSize: number): DiskInode[] {
  const inodes: DiskInode[] = []
  const references = [...metadata.blocks].map(([block, start]) => ({ block, start }))
  let blockAt = 0
  const cursor = new Cursor(metadata.bytes, 0, () => `inode ${inodes.length + 1} of the table`)
  while (cursor.at < metadata.bytes.length) {
    while (blockAt + 1 < references.length && (references[blockAt + 1] as { start: number }).start <= cursor.at) blockAt++
    const { block, start } = references[blockAt] as { block: number; start: number }
    inodes.push(parseInode(cursor, block * 65536 + cursor.at - start, blockSize))
  }
  return inodes
}

function parseInode(cursor: Cursor, reference: number, blockSize: number): DiskInode {
  const rawType = cursor.u16()
  check(rawType >= 1 && rawType <= 14, () => `inode at ${reference}: type ${rawType}`)
  const extended = rawType > 7
  const type = extended ? rawType - 7 : rawType
  const permissions = cursor.u16()
  check(permissions <= 0o7777, () => `inode at ${reference}: permissions 0${permissions.toString(8)}`)
  const header = {
    reference,
    type,
    extended,
    permissions,
    uidIndex: cursor.u16(),
    gidIndex: cursor.u16(),
    mtimeSeconds: cursor.u32(),
    number: cursor.u32(),
  }
  if (type === 1) return { ...header, ...parseDirectory(cursor, extended) }
  if (type === 2) return { ...header, ...parseFile(cursor, extended, blockSize) }
  const linkCount = cursor.u32()
  const xattrIndex = (): number => (extended ? cursor.u32() : NONE)
  if (type === 3) {
    const target = cursor.take(cursor.u32())
    check(
      target.length > 0 && target.length < 4096 && !target.includes(0),
      () => `inode ${header.number}: link target of ${target.length} bytes`,
    )
    return { ...header, linkCount, target, xattrIndex: xattrIndex() }
  }
  if (type === 4 || type === 5) {
    const number = cursor.u32()
    const device = { major: (number >>> 8) & 0xfff, minor: (number & 0xff) | ((number >>> 12) & 0xfff00) }
    return { ...header, linkCount, device, xattrIndex: xattrIndex() }
  }
  return { ...header, linkCount, xattrIndex: xattrIndex() }
}

function parseDirectory(cursor: Cursor, extended: boolean) {
  if (!extended) {
    const block = cursor.u32()
    const linkCount = cursor.u32()
    const listingSize = cursor.u16() - 3
    const offset = cursor.u16()
    return { linkCount, xattrIndex: NONE, directory: { listingSize, block, offset, parentInode: cursor.u32(), index: [] } }
  }
  const linkCount = cursor.u32()
  const listingSize = cursor.u32() - 3
  const block = cursor.u32()
  const parentInode = cursor.u32()
  const indexCount = cursor.u16()
  const offset = cursor.u16()
  const xattrIndex = cursor.u32()
  const index = Array.from({ length: indexCount }, () => ({
    index: cursor.u32(),
    start: cursor.u32(),
    name: cursor.take(cursor.u32() + 1).toString('latin1'),
  }))
  return { linkCount, xattrIndex, directory: { listingSize, block, offset, parentInode, index } }
}

function parseFile(cursor: Cursor, extended: boolean, blockSize: number) {
  const blocksStart = extended ? cursor.u64() : cursor.u32()
  let size = extended ? cursor.u64() : 0
  const sparse = extended ? cursor.u64() : 0
  const linkCount = extended ? cursor.u32() : 1
  const fragmentIndex = cursor.u32()
  const fragmentOffset = cursor.u32()
  const xattrIndex = extended ? cursor.u32() : NONE
  if (!extended) size = cursor.u32()
  const blockCount = fragmentIndex === NONE ? Math.ceil(size / blockSize) : Math.floor(size / blockSize)
  const words = cursor.take(blockCount * 4)
  const blockWords = Array.from({ length: blockCount }, (_, i) => words.readUInt32LE(i * 4))
  return { linkCount, xattrIndex, file: { size, blocksStart, blockWords, fragmentIndex, fragmentOffset, sparse } }
}

/** Names strictly ascending, headers in their limits, and the index pointing at headers. */
export function parseListing({ number, directory }: DiskInode, metadata: Metadata): DiskListing {
  const where = (): string => `directory inode ${number}`
  check(directory !== undefined, () => `${where()}: not a directory`)
  const { listingSize: size, index } = directory
  check(size >= 0, () => `${where()}: listing of ${size} bytes`)
  if (size === 0) return { size, runs: [], index }
  const start = metadata.resolve(directory.block, directory.offset, where())
  const blockStarts = [...metadata.blocks.keys()]
  const blockOf = (position: number): number => blockStarts[Math.floor(position / 8192)] as number
  const cursor = new Cursor(metadata.bytes, start, where)
  const runs: DiskRun[] = []
  let last = ''
  while (cursor.at < start + size) {
    const runStart = cursor.at
    const count = cursor.u32() + 1
    check(count <= 256, () => `${where()}: a header of ${count} entries`)
    const inodeBlock = cursor.u32()
    const base = cursor.u32()
    const entries: DiskEntry[] = []
    for (let i = 0; i < count; i++) {
      const block = blockOf(cursor.at)
      const offset = cursor.u16()
      const inodeNumber = base + cursor.s16()
      const type = cursor.u16()
      const name = cursor.take(cursor.u16() + 1).toString('latin1')
      check(name.length <= 255 && !/[/\0]/.test(name) && name !== '.' && name !== '..', () => `${where()}: name '${name}'`)
      check(name > last, () => `${where()}: '${name}' comes after '${last}'`)
      last = name
      entries.push({ name, reference: inodeBlock * 65536 + offset, inodeNumber, type, block })
    }
    runs.push({ start: runStart - start, block: blockOf(runStart), entries })
  }
  check(cursor.at === start + size, () => `${where()}: the listing is ${cursor.at - start} bytes, the inode says ${size}`)
  let previous = 0
  for (const entry of index) {
    const run = runs.find((candidate) => candidate.start === entry.index)
    check(run !== undefined && entry.index > previous, () => `${where()}: the index names a header at ${entry.index}, which is not there`)
    check(
      run.block === entry.start && run.entries[0]?.name === entry.name,
      () => `${where()}: the index is wrong about the header at ${entry.index}`,
    )
    previous = entry.index
  }
  return { size, runs, index }
}

const PREFIXES = ['user.', 'trusted.', 'security.']
const OUT_OF_LINE = 0x100

/** The sets in the order of their ids; sets must have the size and count that their id says. */
export function parseXattrSets(keys: Metadata, ids: Uint8Array): ReadonlyMap<string, Buffer>[] {
  const idCursor = new Cursor(ids, 0, () => 'xattr ids')
  const sets: ReadonlyMap<string, Buffer>[] = []
  while (idCursor.at < ids.length) {
    const where = (): string => `xattr set ${sets.length}`
    const reference = idCursor.u64()
    const count = idCursor.u32()
    const size = idCursor.u32()
    const start = keys.resolve(Math.floor(reference / 65536), reference % 65536, where())
    const cursor = new Cursor(keys.bytes, start, where)
    const set = new Map<string, Buffer>()
    let counted = 0
    for (let i = 0; i < count; i++) {
      const type = cursor.u16()
      const prefix = PREFIXES[type & 0xff]
      check(prefix !== undefined && (type & ~0x1ff) === 0, () => `${where()}: key type ${type}`)
      const name = prefix + cursor.take(cursor.u16()).toString('utf8')
      check(!set.has(name), () => `${where()}: ${name} stands there twice`)
      let value = cursor.take(cursor.u32())
      if (type & OUT_OF_LINE) {
        const place = Number(value.readBigUInt64LE())
        const outside = new Cursor(keys.bytes, keys.resolve(Math.floor(place / 65536), place % 65536, where()), where)
        value = outside.take(outside.u32())
      }
      set.set(name, value)
      counted += Buffer.byteLength(name) + 1 + value.length
    }
    // As mksquashfs counts; the keys and values themselves are located by the count.
    check(counted === size, () => `${where()}: ${counted} bytes of names and values, its id says ${size}`)
    sets.push(set)
  }
  return sets
}
