/** One directory hierarchy of the volume: its directory records, path tables and continuation blocks. */
import { alignUp, unitsFor } from '../../bytes/align.ts'
import {
  BLOCK_SIZE,
  directoryRecord,
  FILE_FLAG,
  pathTableRecordL,
  pathTableRecordM,
  RECORD_LIMIT,
  recordingDate,
  SECTION_LIMIT,
} from './disk.ts'
import { compareIdentifiers, isoIdentifiers, jolietIdentifiers } from './names.ts'
import type { FileData, Item } from './nodes.ts'
import {
  ContinuationSpace,
  continuationBytes,
  dotFields,
  entryFields,
  type SystemUse,
  systemUseLength,
  writeSystemUse,
} from './rock-ridge.ts'

const SELF = Uint8Array.of(0)
const PARENT = Uint8Array.of(1)

interface HierarchyRecord {
  readonly identifier: Uint8Array
  readonly item: Item
  readonly systemUse: SystemUse
  /** Set for subdirectories. */
  readonly directory: Directory | undefined
}

interface Directory {
  readonly item: Item
  readonly identifier: Uint8Array
  readonly parent: Directory | undefined
  /** Place in the path table, from 1. */
  number: number
  selfUse: SystemUse
  parentUse: SystemUse
  records: HierarchyRecord[]
}

export type Encoding = 'rockRidge' | 'plain' | 'joliet'

export interface HierarchyOptions {
  readonly encoding: Encoding
  /** Files that this hierarchy does not show. */
  readonly leaveOut: ReadonlySet<FileData>
  /** The most sections that a file's records may need. */
  readonly sectionLimit: (data: FileData) => number
}

export interface Hierarchy {
  /** In path table order. */
  readonly directories: readonly Directory[]
  /** Bytes kept for each directory. */
  readonly reservedLengths: readonly number[]
  readonly continuations: ContinuationSpace
  readonly pathTableLength: number
  readonly blockCount: number
}

/** Where a file's bytes are; an empty file has a block too. */
export interface Location {
  readonly block: number
  readonly size: number
}

/** Sections of a file: each but the last a whole number of blocks (ECMA-119 6.4.3). */
export function sectionCount(size: number): number {
  return Math.max(1, unitsFor(size, SECTION_LIMIT))
}

const NO_FIELDS: SystemUse = { fields: [] }

/** Build a hierarchy and compute its size. */
export function buildHierarchy(root: Item, options: HierarchyOptions): Hierarchy {
  const continuations = new ContinuationSpace()
  const { encoding } = options
  const use = (identifier: Uint8Array, fields: () => Uint8Array[]): SystemUse =>
    encoding === 'rockRidge'
      ? continuations.place(fields(), RECORD_LIMIT - alignUp(directoryRecord.size + identifier.length, 2))
      : NO_FIELDS
  const directories: Directory[] = []
  // A queue: path tables are ordered by level, then by parent, then by identifier (ECMA-119 6.9.1).
  const rootDirectory: Directory = {
    item: root,
    identifier: SELF,
    parent: undefined,
    number: 1,
    selfUse: NO_FIELDS,
    parentUse: NO_FIELDS,
    records: [],
  }
  const queue = [rootDirectory]
  for (let directory = queue[0]; directory !== undefined; directory = queue[directories.length]) {
    directories.push(directory)
    directory.number = directories.length
    const { item, parent } = directory
    directory.selfUse = use(SELF, () => dotFields(item, parent === undefined))
    directory.parentUse = use(PARENT, () => dotFields(parent?.item ?? item, false))
    directory.records = sortedRecords(directory, options, use)
    for (const record of directory.records) if (record.directory !== undefined) queue.push(record.directory)
  }
  const reservedLengths = directories.map((directory) => directoryLength(directory, options.sectionLimit))
  const pathTableLength = directories.reduce((sum, { identifier }) => sum + pathTableRecordLength(identifier), 0)
  const directoryBlocks = reservedLengths.reduce((sum, length) => sum + length / BLOCK_SIZE, 0)
  const blockCount = 2 * unitsFor(pathTableLength, BLOCK_SIZE) + directoryBlocks + continuations.blockCount
  return { directories, reservedLengths, continuations, pathTableLength, blockCount }
}

function sortedRecords(
  directory: Directory,
  options: HierarchyOptions,
  use: (identifier: Uint8Array, fields: () => Uint8Array[]) => SystemUse,
): HierarchyRecord[] {
  const joliet = options.encoding === 'joliet'
  const items = directory.item.children.filter(({ node, inode }) => {
    if (inode.data !== undefined) return !options.leaveOut.has(inode.data)
    // Joliet has no way to say link, device or pipe.
    return node.kind === 'directory' || !joliet
  })
  const named = items.map(({ name, node }) => ({ name, isDirectory: node.kind === 'directory' }))
  const identifiers = joliet ? jolietIdentifiers(named) : isoIdentifiers(named)
  return identifiers
    .map((identifier, index) => ({ identifier, item: items[index] as Item }))
    .sort((a, b) => compareIdentifiers(a.identifier, b.identifier))
    .map(({ identifier: { bytes }, item }) => ({
      identifier: bytes,
      item,
      systemUse: use(bytes, () => entryFields(item)),
      directory:
        item.node.kind === 'directory'
          ? { item, identifier: bytes, parent: directory, number: 0, selfUse: NO_FIELDS, parentUse: NO_FIELDS, records: [] }
          : undefined,
    }))
}

function recordLength(identifier: Uint8Array, systemUse: SystemUse): number {
  return alignUp(alignUp(directoryRecord.size + identifier.length, 2) + systemUseLength(systemUse), 2)
}

/** Where a record of `length` bytes goes when `at` is free: records do not cross blocks (ECMA-119 6.8.1.1). */
function recordStart(at: number, length: number): number {
  return (at % BLOCK_SIZE) + length > BLOCK_SIZE ? alignUp(at, BLOCK_SIZE) : at
}

function directoryLength(directory: Directory, sections: (data: FileData) => number): number {
  let at = recordLength(SELF, directory.selfUse) + recordLength(PARENT, directory.parentUse)
  for (const { identifier, item, systemUse } of directory.records) {
    const length = recordLength(identifier, systemUse)
    const count = item.inode.data === undefined ? 1 : sections(item.inode.data)
    for (let i = 0; i < count; i++) at = recordStart(at, length) + length
  }
  return alignUp(at, BLOCK_SIZE)
}

function pathTableRecordLength(identifier: Uint8Array): number {
  return alignUp(pathTableRecordL.size + identifier.length, 2)
}

/** Addresses of a hierarchy that begins at block `start`. */
export interface PlacedHierarchy {
  readonly hierarchy: Hierarchy
  readonly start: number
  /** Subtracted from every address in it: the first block of the partition whose tree it is, or 0. */
  readonly base: number
  readonly pathTableLBlock: number
  readonly pathTableMBlock: number
  readonly directoryBlocks: readonly number[]
  readonly continuationBlock: number
}

export function placeHierarchy(hierarchy: Hierarchy, start: number, base: number): PlacedHierarchy {
  const pathTableBlocks = unitsFor(hierarchy.pathTableLength, BLOCK_SIZE)
  let next = start + 2 * pathTableBlocks
  const directoryBlocks = hierarchy.reservedLengths.map((length) => {
    const block = next
    next += length / BLOCK_SIZE
    return block
  })
  return {
    hierarchy,
    start,
    base,
    pathTableLBlock: start,
    pathTableMBlock: start + pathTableBlocks,
    directoryBlocks,
    continuationBlock: next,
  }
}

/** All blocks of a hierarchy, and the record of its root for the volume descriptor. */
export function encodeHierarchy(
  placed: PlacedHierarchy,
  locate: (data: FileData) => Location,
): { readonly bytes: Uint8Array; readonly rootRecord: Uint8Array } {
  const { hierarchy, start, base, directoryBlocks } = placed
  const bytes = new Uint8Array(hierarchy.blockCount * BLOCK_SIZE)
  const lengths = hierarchy.directories.map((directory) => directoryLength(directory, (data) => sectionCount(locate(data).size)))
  const addressOf = (directory: Directory): Location => ({
    block: (directoryBlocks[directory.number - 1] ?? 0) - base,
    size: lengths[directory.number - 1] ?? 0,
  })
  const write = (at: number, identifier: Uint8Array, item: Item, systemUse: SystemUse, location: Location, flags: number): void => {
    writeRecord(bytes, at, identifier, item, location, flags, recordLength(identifier, systemUse))
    writeSystemUse(bytes, at + alignUp(directoryRecord.size + identifier.length, 2), systemUse, placed.continuationBlock - base)
  }
  for (const directory of hierarchy.directories) {
    let at = ((directoryBlocks[directory.number - 1] ?? 0) - start) * BLOCK_SIZE
    const parent = directory.parent ?? directory
    write(at, SELF, directory.item, directory.selfUse, addressOf(directory), FILE_FLAG.directory)
    at += recordLength(SELF, directory.selfUse)
    write(at, PARENT, parent.item, directory.parentUse, addressOf(parent), FILE_FLAG.directory)
    at += recordLength(PARENT, directory.parentUse)
    for (const record of directory.records) {
      const length = recordLength(record.identifier, record.systemUse)
      for (const { location, flags } of recordExtents(record, addressOf, locate, base)) {
        at = recordStart(at, length)
        write(at, record.identifier, record.item, record.systemUse, location, flags)
        at += length
      }
    }
  }
  writePathTables(bytes, placed)
  bytes.set(continuationBytes(hierarchy.continuations, placed.continuationBlock - base), (placed.continuationBlock - start) * BLOCK_SIZE)
  return { bytes, rootRecord: rootRecordOf(hierarchy, addressOf) }
}

function rootRecordOf(hierarchy: Hierarchy, addressOf: (directory: Directory) => Location): Uint8Array {
  const root = hierarchy.directories[0] as Directory
  const record = new Uint8Array(directoryRecord.size + 1)
  writeRecord(record, 0, SELF, root.item, addressOf(root), FILE_FLAG.directory, record.length)
  return record
}

function recordExtents(
  record: HierarchyRecord,
  addressOf: (directory: Directory) => Location,
  locate: (data: FileData) => Location,
  base: number,
): { location: Location; flags: number }[] {
  if (record.directory !== undefined) return [{ location: addressOf(record.directory), flags: FILE_FLAG.directory }]
  const { data } = record.item.inode
  // Links, devices and pipes have no data; readers ask for none when the length is 0.
  if (data === undefined) return [{ location: { block: 0, size: 0 }, flags: 0 }]
  const { block, size } = locate(data)
  const count = sectionCount(size)
  return Array.from({ length: count }, (_, index) => {
    const start = index * SECTION_LIMIT
    const location = { block: block - base + start / BLOCK_SIZE, size: Math.min(SECTION_LIMIT, size - start) }
    return { location, flags: index < count - 1 ? FILE_FLAG.multiExtent : 0 }
  })
}

function writeRecord(
  target: Uint8Array,
  at: number,
  identifier: Uint8Array,
  item: Item,
  location: Location,
  fileFlags: number,
  length: number,
): void {
  directoryRecord.write(target, at, {
    recordLength: length,
    extentBlock: location.block,
    dataLength: location.size,
    recordingDate: recordingDate(item.node.mtimeSeconds, item.path),
    fileFlags,
    volumeSequenceNumber: 1,
    identifierLength: identifier.length,
  })
  target.set(identifier, at + directoryRecord.size)
}

function writePathTables(bytes: Uint8Array, placed: PlacedHierarchy): void {
  const { hierarchy, start, base, directoryBlocks } = placed
  for (const [record, tableBlock] of [
    [pathTableRecordL, placed.pathTableLBlock],
    [pathTableRecordM, placed.pathTableMBlock],
  ] as const) {
    let at = (tableBlock - start) * BLOCK_SIZE
    for (const { identifier, number, parent } of hierarchy.directories) {
      record.write(bytes, at, {
        identifierLength: identifier.length,
        extentBlock: (directoryBlocks[number - 1] ?? 0) - base,
        parentNumber: parent?.number ?? 1,
      })
      bytes.set(identifier, at + record.size)
      at += pathTableRecordLength(identifier)
    }
  }
}
