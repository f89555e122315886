/** Reads VHDX files, dynamic, fixed and differencing. */
import { unitsFor } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { guidToText } from '../../bytes/guid.ts'
import type { Fields, Struct } from '../../bytes/struct.ts'
import { ImageError } from '../../errors.ts'
import type { ByteRun } from '../../io/byte-run.ts'
import { type MappedRange, mappedImage, RangeList } from '../../io/mapped.ts'
import { type RandomAccessSource, readPart, tableChunks } from '../../io/source.ts'
import { type FurtherFiles, onParent, type ReadDisk } from '../reading/further.ts'
import { sectorRuns } from '../reading/tables.ts'
import type { SectorSize } from '../sectors.ts'
import {
  BAT_ENTRY_SIZE,
  BLOCK_SIZE,
  BLOCK_STATE,
  chunkRatio,
  ENTRY_LIMIT,
  fileParameters,
  HAS_PARENT,
  header,
  ITEM,
  ITEM_FLAG,
  isSound,
  locatorEntry,
  METADATA_TABLE_SIZE,
  metadataEntry,
  metadataTable,
  PLACE,
  parentLocator,
  REGION,
  REGION_TABLE_SIZE,
  regionEntry,
  regionTable,
  SIGNATURE,
  SIZE_LIMIT,
  STATE_MASK,
  sectorSize,
  VERSION,
  virtualDiskSize,
} from './disk.ts'
import { replayed } from './log.ts'

/** Names of files, and keys. */
const LOCATOR_LIMIT = 256 << 10

interface Region {
  readonly position: number
  readonly length: number
}

interface Volume {
  readonly source: RandomAccessSource
  readonly size: number
  readonly sectorSize: SectorSize
  readonly blockSize: number
  readonly chunkRatio: number
  readonly bat: Region
  /** Of a disk that is a change of another. */
  readonly parent: { readonly name: string; readonly identity?: string } | undefined
}

/**
 * The virtual disk and its sector size, with extents for present blocks, as they are when the log is replayed. Throws BAD_INPUT for what
 * contradicts the specification or the file's own size, UNSUPPORTED for what `index.ts` lists, and what opening a parent throws.
 */
export async function openVhdx(written: RandomAccessSource, options: FurtherFiles = {}): Promise<ReadDisk> {
  const signature = await readPart(written, 0, SIGNATURE.file.length, 'vhdx file identifier')
  if (Buffer.compare(signature, SIGNATURE.file) !== 0)
    throw new ImageError('BAD_INPUT', 'vhdx: the file does not begin with its identifier')
  const current = await readHeader(written)
  const source = await replayed(written, current)
  const { bat, metadata } = await readRegions(source)
  const volume = await readMetadata(source, metadata, bat)
  const { size, sectorSize, parent } = volume
  const own = await mappedImage({ what: 'vhdx', size, ranges: (from, end) => ranges(volume, from, end) })
  const disk = parent === undefined ? own : await onParent(own, { what: 'vhdx', ...parent }, options)
  return { ...disk, sectorSize, identity: guidToText(current.dataWriteGuid) }
}

/** The header in force is the sound one with the higher number (MS-VHDX 2.2.2). */
async function readHeader(source: RandomAccessSource) {
  let current: ReturnType<typeof decode<typeof header.fields>> | undefined
  for (const place of PLACE.headers) {
    const bytes = await readPart(source, place, header.size, 'vhdx header')
    if (!isSound(bytes, SIGNATURE.header)) continue
    const record = decode(header, bytes, 0, 'vhdx header')
    if (current === undefined || record.sequenceNumber > current.sequenceNumber) current = record
  }
  if (current === undefined) throw new ImageError('BAD_INPUT', 'vhdx: neither header has a right checksum; the file is damaged')
  if (current.version !== VERSION) throw new ImageError('UNSUPPORTED', `vhdx: version ${current.version}; ${VERSION} is read`)
  return current
}

async function readRegions(source: RandomAccessSource): Promise<{ readonly bat: Region; readonly metadata: Region }> {
  const tables = await Promise.all(PLACE.regionTables.map((place) => readPart(source, place, REGION_TABLE_SIZE, 'vhdx region table')))
  const table = tables.find((bytes) => isSound(bytes, SIGNATURE.regionTable))
  if (table === undefined) throw new ImageError('BAD_INPUT', 'vhdx: neither region table has a right checksum; the file is damaged')
  const { entryCount } = decode(regionTable, table, 0, 'vhdx region table')
  if (entryCount > ENTRY_LIMIT) throw new ImageError('BAD_INPUT', `vhdx: ${entryCount} regions, there are at most ${ENTRY_LIMIT}`)
  const found: { bat?: Region; metadata?: Region } = {}
  for (let index = 0; index < entryCount; index++) {
    const entry = decode(regionEntry, table, regionTable.size + index * regionEntry.size, 'vhdx region')
    const region = { position: entry.fileOffset, length: entry.length }
    if (Buffer.compare(entry.guid, REGION.bat) === 0) found.bat = region
    else if (Buffer.compare(entry.guid, REGION.metadata) === 0) found.metadata = region
    else if ((entry.required & 1) !== 0)
      throw new ImageError('UNSUPPORTED', `vhdx: the region ${guidToText(entry.guid)} is required and not known`)
  }
  const { bat, metadata } = found
  if (bat === undefined || metadata === undefined) throw new ImageError('BAD_INPUT', 'vhdx: the BAT or the metadata region is missing')
  return { bat, metadata }
}

async function readMetadata(source: RandomAccessSource, region: Region, bat: Region): Promise<Volume> {
  const table = await readPart(source, region.position, METADATA_TABLE_SIZE, 'vhdx metadata table')
  const { signature, entryCount } = decode(metadataTable, table, 0, 'vhdx metadata table')
  if (Buffer.compare(signature, SIGNATURE.metadata) !== 0 || entryCount > ENTRY_LIMIT) {
    throw new ImageError('BAD_INPUT', `vhdx: no metadata table at ${region.position}`)
  }
  const places = new Map<string, Region>()
  for (let index = 0; index < entryCount; index++) {
    const entry = decode(metadataEntry, table, metadataTable.size + index * metadataEntry.size, 'vhdx metadata entry')
    const id = guidToText(entry.itemId)
    if (entry.offset < METADATA_TABLE_SIZE && entry.length > 0)
      throw new ImageError('BAD_INPUT', `vhdx: the metadata item ${id} lies within its table`)
    if (entry.offset + entry.length > region.length)
      throw new ImageError('BAD_INPUT', `vhdx: the metadata item ${id} lies outside its region`)
    const isKnown = Object.values(ITEM).some((known) => guidToText(known) === id)
    if (!isKnown && (entry.flags & ITEM_FLAG.required) !== 0) {
      throw new ImageError('UNSUPPORTED', `vhdx: the metadata item ${id} is required and not known`)
    }
    places.set(id, { position: region.position + entry.offset, length: entry.length })
  }
  const item = async <F extends Fields>(id: Uint8Array, record: Struct<F>) => {
    const position = places.get(guidToText(id))?.position
    if (position === undefined) throw new ImageError('BAD_INPUT', `vhdx: the metadata item ${guidToText(id)} is missing`)
    return decode(record, await readPart(source, position, record.size, 'vhdx metadata item'), 0, 'vhdx metadata item')
  }
  const { blockSize, flags } = await item(ITEM.fileParameters, fileParameters)
  const { size } = await item(ITEM.virtualDiskSize, virtualDiskSize)
  const { size: logicalSectorSize } = await item(ITEM.logicalSectorSize, sectorSize)
  const locator = places.get(guidToText(ITEM.parentLocator))
  const parent = (flags & HAS_PARENT) === 0 ? undefined : locator === undefined ? { name: '' } : await readLocator(source, locator)
  if (!Number.isInteger(Math.log2(blockSize)) || blockSize < BLOCK_SIZE.minimum || blockSize > BLOCK_SIZE.maximum) {
    throw new ImageError(
      'BAD_INPUT',
      `vhdx: the block size is ${blockSize}, no power of two from ${BLOCK_SIZE.minimum} to ${BLOCK_SIZE.maximum}`,
    )
  }
  if (logicalSectorSize !== 512 && logicalSectorSize !== 4096) {
    throw new ImageError('BAD_INPUT', `vhdx: logical sectors have ${logicalSectorSize} bytes, possible are 512 and 4096`)
  }
  if (size > SIZE_LIMIT || size % logicalSectorSize !== 0) {
    throw new ImageError('BAD_INPUT', `vhdx: the disk's size is ${size} bytes, no multiple of ${logicalSectorSize} up to ${SIZE_LIMIT}`)
  }
  const ratio = chunkRatio(blockSize, logicalSectorSize)
  const count = unitsFor(size, blockSize)
  const chunkCount = parent === undefined ? Math.floor(Math.max(0, count - 1) / ratio) : unitsFor(count, ratio)
  const entries = parent === undefined ? count + chunkCount : chunkCount * (ratio + 1)
  if (entries * BAT_ENTRY_SIZE > bat.length) {
    throw new ImageError('BAD_INPUT', `vhdx: the BAT has ${bat.length} bytes, too few for ${count} blocks`)
  }
  return { source, size, sectorSize: logicalSectorSize, blockSize, chunkRatio: ratio, bat, parent }
}

/** Keys and values as text; of them, where the parent lies and what it was when the disk was made. */
async function readLocator(source: RandomAccessSource, { position, length }: Region): Promise<{ name: string; identity?: string }> {
  if (length > LOCATOR_LIMIT) throw new ImageError('BAD_INPUT', `vhdx: the parent locator has ${length} bytes; ${LOCATOR_LIMIT} are read`)
  const bytes = Buffer.from(await readPart(source, position, length, 'vhdx parent locator'))
  const { keyValueCount } = decode(parentLocator, bytes, 0, 'vhdx parent locator')
  const values = new Map<string, string>()
  for (let index = 0; index < keyValueCount; index++) {
    const entry = decode(locatorEntry, bytes, parentLocator.size + index * locatorEntry.size, 'vhdx parent locator')
    const text = (offset: number, size: number): string => bytes.toString('utf16le', offset, offset + size)
    values.set(text(entry.keyOffset, entry.keyLength), text(entry.valueOffset, entry.valueLength))
  }
  const linkage = values.get('parent_linkage')?.replace(/[{}]/g, '').toUpperCase()
  const name = values.get('relative_path') ?? values.get('absolute_win32_path') ?? ''
  return { name, ...(linkage !== undefined && { identity: linkage }) }
}

async function* ranges(volume: Volume, from: number, end: number): AsyncGenerator<readonly MappedRange[]> {
  const { source, blockSize, bat } = volume
  const perChunk = volume.chunkRatio + 1
  const file = { what: 'vhdx', source }
  const entryOf = (block: number): number => block + Math.floor(block / volume.chunkRatio)
  const table = { position: bat.position, entrySize: BAT_ENTRY_SIZE, what: 'vhdx: BAT' }
  const firstEntry = entryOf(Math.floor(from / blockSize))
  const endEntry = end === 0 ? 0 : entryOf(unitsFor(end, blockSize) - 1) + 1
  for await (const { first, count, view } of tableChunks(source, table, firstEntry, endEntry)) {
    const list = new RangeList(file)
    for (let index = 0; index < count; index++) {
      const entry = first + index
      if (entry % perChunk === volume.chunkRatio) continue
      const block = entry - Math.floor(entry / perChunk)
      const { state, position } = entryAt(view, index * BAT_ENTRY_SIZE)
      const presence = presenceOf(state, block, volume.parent !== undefined)
      if (presence === 'zeros') list.addZeros(block * blockSize, blockSize)
      if (presence === 'zeros' || presence === 'nothing') continue
      if (position === 0 || position + blockSize > source.size) {
        throw new ImageError('BAD_INPUT', `vhdx: block ${block} lies at ${position}, the file has ${source.size} bytes; it was cut short`)
      }
      if (presence === 'all') list.add(block * blockSize, blockSize, position)
      else for (const run of await presentSectors(volume, block)) list.add(block * blockSize + run.start, run.length, position + run.start)
    }
    yield list.ranges
  }
}

/** 2.5.1. */
function entryAt(view: DataView, at: number): { readonly state: number; readonly position: number } {
  const low = view.getUint32(at, true)
  return { state: low & STATE_MASK, position: view.getUint32(at + 4, true) * 2 ** 32 + low - (low % 2 ** 20) }
}

/** 2.5.1.2 and 2.6.2.6: the sector bitmap of a chunk, of which each block has a part. */
async function presentSectors(
  { source, bat, blockSize, sectorSize, chunkRatio: ratio }: Volume,
  block: number,
): Promise<Iterable<ByteRun>> {
  const chunk = Math.floor(block / ratio)
  const entry = bat.position + (chunk * (ratio + 1) + ratio) * BAT_ENTRY_SIZE
  const bytes = await readPart(source, entry, BAT_ENTRY_SIZE, 'vhdx: BAT')
  const { state, position } = entryAt(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0)
  if (state !== BLOCK_STATE.fullyPresent) {
    throw new ImageError('BAD_INPUT', `vhdx: block ${block} is there in part, and its sector bitmap is in state ${state}`)
  }
  const sectorCount = blockSize / sectorSize
  const bitmap = await readPart(source, position + ((block % ratio) * sectorCount) / 8, sectorCount / 8, 'vhdx sector bitmap')
  return sectorRuns(bitmap, sectorCount, sectorSize, 'lowest')
}

/** What a disk has of a block: with a parent, what it does not have is the parent's. */
function presenceOf(state: number, block: number, hasParent: boolean): 'all' | 'part' | 'zeros' | 'nothing' {
  switch (state) {
    case BLOCK_STATE.fullyPresent:
      return 'all'
    case BLOCK_STATE.notPresent:
      return 'nothing'
    case BLOCK_STATE.undefined:
    case BLOCK_STATE.zero:
    case BLOCK_STATE.unmapped:
    case BLOCK_STATE.unmappedV1:
      return 'zeros'
    case BLOCK_STATE.partlyPresent:
      if (hasParent) return 'part'
  }
  throw new ImageError(
    'BAD_INPUT',
    `vhdx: block ${block} is in state ${state}, which a disk ${hasParent ? 'has not' : 'without a parent has not'}`,
  )
}
