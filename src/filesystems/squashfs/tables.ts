/** The tables after the directories: fragments, export, ids, extended attributes. */
import type { Codec } from '../../codecs/codec.ts'
import {
  exportEntry,
  fragmentEntry,
  idEntry,
  NO_TABLE,
  tableLocation,
  XATTR_PREFIXES,
  xattrId,
  xattrKey,
  xattrTableHeader,
  xattrValue,
} from './disk.ts'
import { MetadataWriter } from './metadata.ts'
import type { SequentialWriter } from './sequential-writer.ts'
import type { StoredFragment } from './stored.ts'
import type { XattrSet } from './xattr-sets.ts'

/** Bytes of finished blocks that may wait in memory. */
export const CHUNK_SIZE = 256 * 1024

/** Section 7, Fragment Table. Each of these returns the position that the superblock names. */
export function writeFragmentTable(out: SequentialWriter, codec: Codec, fragments: readonly StoredFragment[]): Promise<number> {
  return writeLookupTable(out, codec, fragments, (table, { start, sizeWord }) =>
    table.appendRecord(fragmentEntry, { start, size: sizeWord }),
  )
}

/** Section 8, Export Table; `references` are in the order of inode numbers. */
export function writeExportTable(out: SequentialWriter, codec: Codec, references: Float64Array): Promise<number> {
  return writeLookupTable(out, codec, references, (table, inode) => table.appendRecord(exportEntry, { inode }))
}

/** Section 9, ID Table. */
export function writeIdTable(out: SequentialWriter, codec: Codec, ids: readonly number[]): Promise<number> {
  return writeLookupTable(out, codec, ids, (table, id) => table.appendRecord(idEntry, { id }))
}

/** Section 10, Extended Attribute Table: keys with values, then where each set lies. */
export async function writeXattrTable(out: SequentialWriter, codec: Codec, sets: readonly XattrSet[]): Promise<number | bigint> {
  if (sets.length === 0) return NO_TABLE
  const keysStart = out.position
  const keys = new MetadataWriter(codec)
  const ids: Uint8Array[] = []
  for (const set of sets) {
    const reference = keys.reference
    let size = 0
    for (const { name, value } of set) {
      keys.append(encodeXattr(name, value))
      size += name.length + 1 + value.length
    }
    ids.push(xattrId.encode({ reference, count: set.length, size }))
    if (keys.finishedBytes >= CHUNK_SIZE) await out.write(keys.take())
  }
  keys.finish()
  await out.write(keys.take())
  const locations = await writeRecords(out, codec, ids, (table, id) => table.append(id))
  const position = out.position
  await out.write(xattrTableHeader.encode({ keysStart, idCount: sets.length }))
  await out.write(encodeLocations(locations))
  return position
}

function encodeXattr(name: Uint8Array, value: Uint8Array): Uint8Array {
  const text = Buffer.from(name).toString('latin1')
  const type = XATTR_PREFIXES.findIndex((prefix) => text.startsWith(prefix))
  const rest = name.subarray((XATTR_PREFIXES[type] as string).length)
  return Buffer.concat([xattrKey.encode({ type, nameSize: rest.length }), rest, xattrValue.encode({ valueSize: value.length }), value])
}

/** Section 2.3, Storing Lookup Tables: metadata blocks, then the positions of the blocks. */
async function writeLookupTable<T>(
  out: SequentialWriter,
  codec: Codec,
  items: Iterable<T>,
  append: (table: MetadataWriter, item: T) => void,
): Promise<number> {
  const locations = await writeRecords(out, codec, items, append)
  const position = out.position
  await out.write(encodeLocations(locations))
  return position
}

async function writeRecords<T>(
  out: SequentialWriter,
  codec: Codec,
  items: Iterable<T>,
  append: (table: MetadataWriter, item: T) => void,
): Promise<number[]> {
  const start = out.position
  const blocks = new MetadataWriter(codec)
  for (const item of items) {
    append(blocks, item)
    if (blocks.finishedBytes >= CHUNK_SIZE) await out.write(blocks.take())
  }
  const blockStarts = blocks.finish()
  await out.write(blocks.take())
  return blockStarts.map((blockStart) => start + blockStart)
}

function encodeLocations(locations: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(locations.length * tableLocation.size)
  for (const [index, position] of locations.entries()) tableLocation.write(bytes, index * tableLocation.size, { position })
  return bytes
}
