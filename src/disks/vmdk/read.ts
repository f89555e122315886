/** Reads VMDK sparse extents that hold a whole disk: monolithicSparse and streamOptimized. */
import { unitsFor } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { unpackZlib } from '../../codecs/unpack.ts'
import { ImageError } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import { type DiskMap, type MappedRange, mappedImage, RangeList, usedTwice } from '../../io/mapped.ts'
import { type RandomAccessSource, readPart, tableChunks } from '../../io/source.ts'
import { UsedRanges } from '../../io/used-ranges.ts'
import { checkNoParent } from './descriptor.ts'
import {
  DEFLATE,
  DIRECTORY_AT_END,
  ENTRIES_PER_TABLE,
  ENTRY_SIZE,
  FLAG,
  grainMarker,
  header,
  MAGIC,
  MARKER,
  metadataMarker,
  SECTOR_SIZE,
  ZEROED_GRAIN,
} from './disk.ts'

interface Volume {
  readonly source: RandomAccessSource
  readonly size: number
  readonly grainSize: number
  readonly entriesPerTable: number
  readonly tableCount: number
  readonly directoryPosition: number
  readonly isCompressed: boolean
  readonly hasZeroedGrains: boolean
}

/** Grains of QEMU and VMware have 64 KiB; larger ones than this are not worth the memory. */
const GRAIN_SECTORS_LIMIT = 1 << 15
/** A descriptor has 20 sectors. */
const DESCRIPTOR_SIZE_LIMIT = 1 << 20

/**
 * The virtual disk, with extents for allocated grains. Throws BAD_INPUT for what contradicts the specification or the
 * file's own size, UNSUPPORTED for what `index.ts` lists.
 */
export async function openVmdk(source: RandomAccessSource): Promise<Image> {
  const volume = await readHeader(source)
  await checkDirectory(volume)
  const { size, grainSize, isCompressed } = volume
  const map: DiskMap = {
    what: 'vmdk',
    size,
    // The last grain is as long as what was written of it.
    mayEndEarly: !isCompressed,
    packedMinimum: SECTOR_SIZE,
    ranges: (from, end) => ranges(volume, from, end),
    unpack: (packed, range) => unpack(packed, range, grainSize),
  }
  return mappedImage(source, map)
}

type HeaderRecord = ReturnType<typeof decode<typeof header.fields>>

async function readHeader(source: RandomAccessSource): Promise<Volume> {
  const start = await readPart(source, 0, Math.min(header.size, source.size), 'vmdk header')
  if (/^#\s*Disk DescriptorFile|^COWD/.test(Buffer.from(start).toString('latin1'))) {
    throw new ImageError(
      'UNSUPPORTED',
      'vmdk: the disk lies in files of their own, which are not read; export it as one whole disk where it was made in one file',
    )
  }
  const first = decode(header, start, 0, 'vmdk header')
  if (first.magic !== MAGIC) throw new ImageError('BAD_INPUT', 'vmdk: the file does not begin with a sparse extent header')
  await checkDescriptor(source, first)
  const record = first.directoryOffset === Number(DIRECTORY_AT_END) ? await readFooter(source) : first
  const { version, flags, grainSize, entriesPerTable, capacity, compressAlgorithm } = record
  if (version < 1 || version > 3) throw new ImageError('UNSUPPORTED', `vmdk: version ${version}; 1 to 3 are read`)
  const isCompressed = (flags & FLAG.compressed) !== 0
  if (isCompressed && (compressAlgorithm !== DEFLATE || (flags & FLAG.markers) === 0)) {
    throw new ImageError(
      'UNSUPPORTED',
      `vmdk: grains of compression ${compressAlgorithm}, or without markers; deflate behind markers is read`,
    )
  }
  if (!Number.isInteger(Math.log2(grainSize)) || grainSize > GRAIN_SECTORS_LIMIT) {
    throw new ImageError('BAD_INPUT', `vmdk: grains have ${grainSize} sectors, no power of two up to ${GRAIN_SECTORS_LIMIT}`)
  }
  if (entriesPerTable < 1 || entriesPerTable > ENTRIES_PER_TABLE) {
    throw new ImageError('BAD_INPUT', `vmdk: grain tables have ${entriesPerTable} entries, possible are 1 to ${ENTRIES_PER_TABLE}`)
  }
  const size = capacity * SECTOR_SIZE
  if (!Number.isSafeInteger(size)) throw new ImageError('BAD_INPUT', `vmdk: the disk has ${capacity} sectors, beyond 2^53 bytes`)
  return {
    source,
    size,
    grainSize: grainSize * SECTOR_SIZE,
    entriesPerTable,
    tableCount: unitsFor(capacity, grainSize * entriesPerTable),
    directoryPosition: record.directoryOffset * SECTOR_SIZE,
    isCompressed,
    hasZeroedGrains: (flags & FLAG.zeroedGrains) !== 0,
  }
}

async function checkDescriptor(source: RandomAccessSource, { descriptorOffset, descriptorSize }: HeaderRecord): Promise<void> {
  if (descriptorOffset === 0) return
  const size = Math.min(descriptorSize * SECTOR_SIZE, DESCRIPTOR_SIZE_LIMIT)
  const bytes = await readPart(source, descriptorOffset * SECTOR_SIZE, size, 'vmdk descriptor')
  checkNoParent(Buffer.from(bytes).toString('latin1'))
}

/** The last three sectors: a marker, the footer, and the end of the stream. */
async function readFooter(source: RandomAccessSource): Promise<HeaderRecord> {
  const position = Math.floor(source.size / SECTOR_SIZE) * SECTOR_SIZE - 3 * SECTOR_SIZE
  const bytes = await readPart(source, position, 3 * SECTOR_SIZE, 'vmdk footer')
  const marker = decode(metadataMarker, bytes, 0, 'vmdk footer marker')
  const record = decode(header, bytes, SECTOR_SIZE, 'vmdk footer')
  const end = decode(metadataMarker, bytes, 2 * SECTOR_SIZE, 'vmdk end of stream')
  if (marker.type !== MARKER.footer || record.magic !== MAGIC || end.type !== MARKER.endOfStream || end.size !== 0) {
    throw new ImageError('BAD_INPUT', 'vmdk: the file does not end with a footer; it was cut short')
  }
  return record
}

/** A grain table may be named once only, so that tables of a small file cannot make a walk without end. */
async function checkDirectory(volume: Volume): Promise<void> {
  const { source, tableCount, entriesPerTable } = volume
  const used = new UsedRanges((position) => usedTwice('vmdk: the grain table', position, source))
  for await (const { count, view } of tableChunks(source, directory(volume), 0, tableCount)) {
    for (let index = 0; index < count; index++) {
      const position = view.getUint32(index * ENTRY_SIZE, true) * SECTOR_SIZE
      if (position !== 0) used.add(position, position + entriesPerTable * ENTRY_SIZE)
    }
  }
  used.check()
}

function directory({ directoryPosition }: Volume): { position: number; entrySize: 4; what: string } {
  return { position: directoryPosition, entrySize: ENTRY_SIZE, what: 'vmdk: grain directory' }
}

async function* ranges(volume: Volume, from: number, end: number): AsyncGenerator<readonly MappedRange[]> {
  const { source, grainSize, entriesPerTable } = volume
  const firstGrain = Math.floor(from / grainSize)
  const endGrain = unitsFor(end, grainSize)
  const firstTable = Math.floor(firstGrain / entriesPerTable)
  for await (const { first, count, view } of tableChunks(source, directory(volume), firstTable, unitsFor(endGrain, entriesPerTable))) {
    for (let index = 0; index < count; index++) {
      const position = view.getUint32(index * ENTRY_SIZE, true) * SECTOR_SIZE
      if (position === 0) continue
      const tableStart = (first + index) * entriesPerTable
      const table = { position, entrySize: ENTRY_SIZE, what: `vmdk: grain table ${first + index}` }
      const entries = tableChunks(source, table, Math.max(0, firstGrain - tableStart), Math.min(entriesPerTable, endGrain - tableStart))
      for await (const chunk of entries) {
        const list = new RangeList()
        for (let entry = 0; entry < chunk.count; entry++) {
          addGrain(list, volume, tableStart + chunk.first + entry, chunk.view.getUint32(entry * ENTRY_SIZE, true))
        }
        yield list.ranges
      }
    }
  }
}

function addGrain(list: RangeList, volume: Volume, grain: number, sector: number): void {
  const { source, size, grainSize, isCompressed } = volume
  if (sector === 0 || (volume.hasZeroedGrains && sector === ZEROED_GRAIN)) return
  const start = grain * grainSize
  const position = sector * SECTOR_SIZE
  if (position >= source.size) {
    throw new ImageError('BAD_INPUT', `vmdk: grain ${grain} lies at ${position}, the file has ${source.size} bytes; it was cut short`)
  }
  if (!isCompressed) list.add(start, grainSize, position)
  // The marker says how long it is; deflate never adds an eighth.
  else
    list.addPacked(
      start,
      Math.min(grainSize, size - start),
      position,
      Math.min(grainSize + grainSize / 8 + SECTOR_SIZE, source.size - position),
    )
}

/** A marker and a zlib stream; the last grain may have no more than the disk needs. */
function unpack(packed: Uint8Array, range: MappedRange, grainSize: number): Uint8Array {
  const what = `vmdk: the grain at ${range.position}`
  const { sector, size } = decode(grainMarker, packed, 0, what)
  if (sector * SECTOR_SIZE !== range.start || size > packed.length - grainMarker.size) {
    throw new ImageError(
      'BAD_INPUT',
      `${what}: its marker says sector ${sector} and ${size} bytes, it should be of sector ${range.start / SECTOR_SIZE}`,
    )
  }
  return unpackZlib(packed.subarray(grainMarker.size, grainMarker.size + size), grainSize, what).subarray(0, range.length)
}
