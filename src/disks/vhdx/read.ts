/** Reads VHDX files, dynamic and fixed. */
import { unitsFor } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { guidToText } from '../../bytes/guid.ts'
import type { Fields, Struct } from '../../bytes/struct.ts'
import { ImageError } from '../../errors.ts'
import { type MappedRange, mappedImage, RangeList } from '../../io/mapped.ts'
import { type RandomAccessSource, readPart, tableChunks } from '../../io/source.ts'
import type { DiskImage, SectorSize } from '../sectors.ts'
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
  logEntry,
  METADATA_TABLE_SIZE,
  metadataEntry,
  metadataTable,
  PLACE,
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
}

/**
 * The virtual disk and its sector size, with extents for present blocks. Throws BAD_INPUT for what contradicts the specification or the
 * file's own size, UNSUPPORTED for what `index.ts` lists.
 */
export async function openVhdx(source: RandomAccessSource): Promise<DiskImage> {
  const signature = await readPart(source, 0, SIGNATURE.file.length, 'vhdx file identifier')
  if (Buffer.compare(signature, SIGNATURE.file) !== 0)
    throw new ImageError('BAD_INPUT', 'vhdx: the file does not begin with its identifier')
  await checkHeader(source)
  const { bat, metadata } = await readRegions(source)
  const volume = await readMetadata(source, metadata, bat)
  const image = await mappedImage(source, { what: 'vhdx', size: volume.size, ranges: (from, end) => ranges(volume, from, end) })
  return { ...image, sectorSize: volume.sectorSize }
}

/** The header in force is the sound one with the higher number (MS-VHDX 2.2.2). */
async function checkHeader(source: RandomAccessSource): Promise<void> {
  let current: ReturnType<typeof decode<typeof header.fields>> | undefined
  for (const place of PLACE.headers) {
    const bytes = await readPart(source, place, header.size, 'vhdx header')
    if (!isSound(bytes, SIGNATURE.header)) continue
    const record = decode(header, bytes, 0, 'vhdx header')
    if (current === undefined || record.sequenceNumber > current.sequenceNumber) current = record
  }
  if (current === undefined) throw new ImageError('BAD_INPUT', 'vhdx: neither header has a right checksum; the file is damaged')
  if (current.version !== VERSION) throw new ImageError('UNSUPPORTED', `vhdx: version ${current.version}; ${VERSION} is read`)
  if (current.logGuid.some((byte) => byte !== 0)) await checkLog(source, current)
}

const LOG_CHUNK_SIZE = 1 << 20
/** Log entries begin at multiples of it (2.3). */
const LOG_SECTOR_SIZE = 4096

/** A log that has an entry of its own time may have to be replayed. */
async function checkLog(
  source: RandomAccessSource,
  { logOffset, logLength, logGuid }: { logOffset: number; logLength: number; logGuid: Uint8Array },
) {
  for (let done = 0; done < logLength; done += LOG_CHUNK_SIZE) {
    const chunk = await readPart(source, logOffset + done, Math.min(LOG_CHUNK_SIZE, logLength - done), 'vhdx log')
    for (let at = 0; at + logEntry.size <= chunk.length; at += LOG_SECTOR_SIZE) {
      const entry = decode(logEntry, chunk, at, 'vhdx log entry')
      if (Buffer.compare(entry.signature, SIGNATURE.logEntry) !== 0 || Buffer.compare(entry.logGuid, logGuid) !== 0) continue
      throw new ImageError(
        'UNSUPPORTED',
        'vhdx: the log holds changes that are not in their place yet; start and shut down its machine once, or attach and detach the disk',
      )
    }
  }
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
  const places = new Map<string, number>()
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
    places.set(id, region.position + entry.offset)
  }
  const item = async <F extends Fields>(id: Uint8Array, record: Struct<F>) => {
    const position = places.get(guidToText(id))
    if (position === undefined) throw new ImageError('BAD_INPUT', `vhdx: the metadata item ${guidToText(id)} is missing`)
    return decode(record, await readPart(source, position, record.size, 'vhdx metadata item'), 0, 'vhdx metadata item')
  }
  const { blockSize, flags } = await item(ITEM.fileParameters, fileParameters)
  const { size } = await item(ITEM.virtualDiskSize, virtualDiskSize)
  const { size: logicalSectorSize } = await item(ITEM.logicalSectorSize, sectorSize)
  if ((flags & HAS_PARENT) !== 0) {
    throw new ImageError('UNSUPPORTED', 'vhdx: a differencing disk, which needs its parent; merge it into a dynamic or fixed one first')
  }
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
  if ((count + Math.floor(Math.max(0, count - 1) / ratio)) * BAT_ENTRY_SIZE > bat.length) {
    throw new ImageError('BAD_INPUT', `vhdx: the BAT has ${bat.length} bytes, too few for ${count} blocks`)
  }
  return { source, size, sectorSize: logicalSectorSize, blockSize, chunkRatio: ratio, bat }
}

async function* ranges(volume: Volume, from: number, end: number): AsyncGenerator<readonly MappedRange[]> {
  const { source, blockSize, bat } = volume
  const perChunk = volume.chunkRatio + 1
  const entryOf = (block: number): number => block + Math.floor(block / volume.chunkRatio)
  const table = { position: bat.position, entrySize: BAT_ENTRY_SIZE, what: 'vhdx: BAT' }
  const firstEntry = entryOf(Math.floor(from / blockSize))
  const endEntry = end === 0 ? 0 : entryOf(unitsFor(end, blockSize) - 1) + 1
  for await (const { first, count, view } of tableChunks(source, table, firstEntry, endEntry)) {
    const list = new RangeList()
    for (let index = 0; index < count; index++) {
      const entry = first + index
      if (entry % perChunk === volume.chunkRatio) continue
      const block = entry - Math.floor(entry / perChunk)
      const low = view.getUint32(index * BAT_ENTRY_SIZE, true)
      if (isZero(low & STATE_MASK, block)) continue
      const position = view.getUint32(index * BAT_ENTRY_SIZE + 4, true) * 2 ** 32 + low - (low % 2 ** 20)
      if (position === 0 || position + blockSize > source.size) {
        throw new ImageError('BAD_INPUT', `vhdx: block ${block} lies at ${position}, the file has ${source.size} bytes; it was cut short`)
      }
      list.add(block * blockSize, blockSize, position)
    }
    yield list.ranges
  }
}

function isZero(state: number, block: number): boolean {
  switch (state) {
    case BLOCK_STATE.fullyPresent:
      return false
    case BLOCK_STATE.notPresent:
    case BLOCK_STATE.undefined:
    case BLOCK_STATE.zero:
    case BLOCK_STATE.unmapped:
    case BLOCK_STATE.unmappedV1:
      return true
    default:
      throw new ImageError('BAD_INPUT', `vhdx: block ${block} is in state ${state}, which a disk without a parent has not`)
  }
}
