/** Tables that say where the units of a disk lie in its file: of one level, and of two. */
import { unitsFor } from '../../bytes/align.ts'
import { ImageError } from '../../errors.ts'
import type { ByteRun } from '../../io/byte-run.ts'
import { type MappedFile, type MappedRange, RangeList, usedTwice } from '../../io/mapped.ts'
import { tableChunks } from '../../io/source.ts'
import { UsedRanges } from '../../io/used-ranges.ts'

/** A table with an entry of 32 bits for each block of the disk. */
export interface BlockTable {
  readonly file: MappedFile
  /** Of the table in the file. */
  readonly position: number
  /** The table, for messages. */
  readonly name: string
  /** Bytes. */
  readonly blockSize: number
  /** What an entry says: where the block lies, that it is zero, or nothing. */
  placeOf(view: DataView, at: number): number | 'zeros' | undefined
  /** What of the block at `position` is this disk's own, where a disk below has the rest. */
  present?(position: number): Promise<Iterable<ByteRun>>
}

const BLOCK_ENTRY_SIZE = 4

/** Throws BAD_INPUT for blocks of a size that no writer has, and for a table that is too small. */
export function checkBlocks(what: string, size: number, blockSize: number, blockCount: number, sectorSize: number): void {
  if (blockSize < sectorSize || !Number.isInteger(Math.log2(blockSize))) {
    throw new ImageError('BAD_INPUT', `${what}: the block size is ${blockSize}, no power of two from ${sectorSize} on`)
  }
  if (!Number.isSafeInteger(size) || blockCount < unitsFor(size, blockSize)) {
    throw new ImageError('BAD_INPUT', `${what}: the disk has ${size} bytes, its table ${blockCount} blocks of ${blockSize}`)
  }
}

/** As `DiskMap.ranges` has it. Throws BAD_INPUT for a block that is not within the file. */
export async function* blockRanges(table: BlockTable, from: number, end: number): AsyncGenerator<readonly MappedRange[]> {
  const { file, position, name, blockSize } = table
  const place = { position, entrySize: BLOCK_ENTRY_SIZE, what: `${file.what}: ${name}` } as const
  for await (const { first, count, view } of tableChunks(file.source, place, Math.floor(from / blockSize), unitsFor(end, blockSize))) {
    const list = new RangeList(file)
    for (let index = 0; index < count; index++) {
      const start = (first + index) * blockSize
      const found = table.placeOf(view, index * BLOCK_ENTRY_SIZE)
      if (found === undefined) continue
      if (found === 'zeros') {
        list.addZeros(start, blockSize)
        continue
      }
      if (found + blockSize > file.source.size) {
        throw new ImageError(
          'BAD_INPUT',
          `${file.what}: block ${first + index} lies at ${found}, the file has ${file.source.size} bytes; it was cut short`,
        )
      }
      if (table.present === undefined) list.add(start, blockSize, found)
      else for (const run of await table.present(found)) list.add(start + run.start, run.length, found + run.start)
    }
    yield list.ranges
  }
}

/** Runs of bits that are set, as runs of bytes; the bit of the first sector is the highest of its byte, or the lowest. */
export function* sectorRuns(bitmap: Uint8Array, sectorCount: number, sectorSize: number, order: 'highest' | 'lowest'): Generator<ByteRun> {
  let first = -1
  for (let sector = 0; sector <= sectorCount; sector++) {
    const bit = order === 'highest' ? 7 - (sector & 7) : sector & 7
    const isSet = sector < sectorCount && (((bitmap[sector >> 3] ?? 0) >> bit) & 1) === 1
    if (isSet && first < 0) first = sector
    if (isSet || first < 0) continue
    yield { start: first * sectorSize, length: (sector - first) * sectorSize }
    first = -1
  }
}

/** A table of tables, each of which says of some units of the disk where they lie. */
export interface TableOfTables {
  /** What has the tables. */
  readonly file: MappedFile
  /** What has the data. */
  readonly data: MappedFile
  readonly top: {
    readonly position: number
    readonly entrySize: 4 | 8
    /** Entries. */
    readonly count: number
    /** For messages. */
    readonly name: string
    /** Where a table lies; 0: there is none. */
    placeOf(view: DataView, at: number): number
  }
  readonly table: {
    readonly entrySize: 4 | 8 | 16
    /** Entries. */
    readonly count: number
    /** For messages. */
    readonly name: string
    /** Its place has to be a multiple of so many bytes. Default 1. */
    readonly alignment?: number
  }
  /** Bytes of the disk that an entry stands for. */
  readonly unitSize: number
  add(list: RangeList, unit: number, view: DataView, at: number): void
}

/** A table may be named once only, so that tables of a small file cannot make a walk without end. Throws BAD_INPUT. */
export async function checkTables({ file, top, table }: TableOfTables): Promise<void> {
  const used = new UsedRanges((position) => usedTwice(`${file.what}: the ${table.name}`, position, file.source))
  for await (const { count, view } of tableChunks(file.source, topOf({ file, top }), 0, top.count)) {
    for (let index = 0; index < count; index++) {
      const position = top.placeOf(view, index * top.entrySize)
      if (position !== 0) used.add(position, position + table.count * table.entrySize)
    }
  }
  used.check()
}

function topOf({ file, top }: Pick<TableOfTables, 'file' | 'top'>) {
  return { position: top.position, entrySize: top.entrySize, what: `${file.what}: ${top.name}` }
}

/** As `DiskMap.ranges` has it. Throws BAD_INPUT, and what `add` throws. */
export async function* tableRanges(tables: TableOfTables, from: number, end: number): AsyncGenerator<readonly MappedRange[]> {
  const { file, top, table, unitSize } = tables
  const firstUnit = Math.floor(from / unitSize)
  const endUnit = unitsFor(end, unitSize)
  const firstTable = Math.floor(firstUnit / table.count)
  for await (const { first, count, view } of tableChunks(file.source, topOf(tables), firstTable, unitsFor(endUnit, table.count))) {
    for (let index = 0; index < count; index++) {
      const position = top.placeOf(view, index * top.entrySize)
      if (position === 0) continue
      const tableStart = (first + index) * table.count
      const what = `${file.what}: ${table.name} ${first + index}`
      if (position % (table.alignment ?? 1) !== 0) {
        throw new ImageError('BAD_INPUT', `${what} at ${position} does not begin with a cluster of ${table.alignment} bytes`)
      }
      const place = { position, entrySize: table.entrySize, what }
      const entries = tableChunks(file.source, place, Math.max(0, firstUnit - tableStart), Math.min(table.count, endUnit - tableStart))
      for await (const chunk of entries) {
        const list = new RangeList(tables.data)
        for (let entry = 0; entry < chunk.count; entry++) {
          tables.add(list, tableStart + chunk.first + entry, chunk.view, entry * table.entrySize)
        }
        yield list.ranges
      }
    }
  }
}
