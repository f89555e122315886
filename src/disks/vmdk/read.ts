/** Reads VMDKs: sparse extents that hold a whole disk (monolithicSparse and streamOptimized), and disks in files of their own. */
import { unitsFor } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { quote } from '../../bytes/text.ts'
import { unpackZlib } from '../../codecs/unpack.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import { type DataSearchOptions, searchData } from '../../io/data-search.ts'
import { joinedImage, plainImage } from '../../io/layers.ts'
import { type MappedFile, type MappedImage, mappedImage, type PackedRange, type RangeList } from '../../io/mapped.ts'
import { type RandomAccessSource, readPart } from '../../io/source.ts'
import { type FurtherFiles, onParent, type ReadDisk } from '../reading/further.ts'
import { checkTables, type TableOfTables, tableRanges } from '../reading/tables.ts'
import { type DescribedExtent, type Description, parseDescriptor } from './described.ts'
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

interface Volume extends TableOfTables {
  readonly size: number
  /** The text that is embedded, if there is one. */
  readonly descriptor: string
}

/** Grains of QEMU and VMware have 64 KiB; larger ones than this are not worth the memory. */
const GRAIN_SECTORS_LIMIT = 1 << 15
/** A descriptor has 20 sectors. */
const DESCRIPTOR_SIZE_LIMIT = 1 << 20

export interface VmdkReadOptions extends FurtherFiles, DataSearchOptions {
  /** Look through flat extents now, and leave out what is zero; default false. */
  readonly skipZeros?: boolean
}

/**
 * The virtual disk, with extents for allocated grains. Throws BAD_INPUT for what contradicts the specification or the
 * file's own size, UNSUPPORTED for what `index.ts` lists, and what opening extents and a parent, and `searchData` throw.
 */
export async function openVmdk(source: RandomAccessSource, options: VmdkReadOptions = {}): Promise<ReadDisk> {
  const start = Buffer.from(await readPart(source, 0, Math.min(header.size, source.size), 'vmdk header')).toString('latin1')
  if (start.startsWith('COWD')) refuse('an extent of ESX (COWD)')
  if (!/^#\s*Disk DescriptorFile/i.test(start)) {
    const volume = await readHeader(source)
    return described(await sparseImage(volume), parseDescriptor(volume.descriptor), options)
  }
  if (source.size > DESCRIPTOR_SIZE_LIMIT) {
    throw new ImageError('BAD_INPUT', `vmdk: the descriptor has ${source.size} bytes; ${DESCRIPTOR_SIZE_LIMIT} are read`)
  }
  const description = parseDescriptor(Buffer.from(await source.read(0, source.size)).toString('utf8'))
  if (description.extents.length === 0) throw new ImageError('BAD_INPUT', 'vmdk: the descriptor names no extent')
  const parts: MappedImage[] = []
  for (const extent of description.extents) {
    throwIfAborted(options.signal)
    parts.push(await extentImage(extent, options, description.parent !== undefined))
  }
  return described(await joinedImage('vmdk', parts), description, options)
}

/** With its content id, and on its parent if it has one. */
async function described(own: MappedImage, { contentId, parent }: Description, options: FurtherFiles): Promise<ReadDisk> {
  const identity = contentId === undefined ? {} : { identity: `CID ${contentId.padStart(8, '0')}` }
  if (parent === undefined) return { ...own, ...identity }
  const { name, contentId: parentId } = parent
  return { ...(await onParent(own, { what: 'vmdk', name, identity: `CID ${parentId.padStart(8, '0')}` }, options)), ...identity }
}

async function extentImage(
  { kind, size, position, fileName }: DescribedExtent,
  options: VmdkReadOptions,
  hasParent: boolean,
): Promise<MappedImage> {
  const zeros = { start: 0, length: size, position: 0 }
  if (kind === 'ZERO') return mappedImage({ what: 'vmdk', size, ranges: () => once(size === 0 ? [] : [zeros]) })
  if (!['FLAT', 'VMFS', 'SPARSE'].includes(kind)) refuse(`an extent of kind ${kind}`)
  if (fileName === undefined) throw new ImageError('BAD_INPUT', `vmdk: an extent of kind ${kind} has no file`)
  const { openExtent } = options
  if (openExtent === undefined) {
    throw new ImageError(
      'UNSUPPORTED',
      (option) =>
        `vmdk: the disk lies in files of their own (${quote(fileName)}), which are opened only from a folder that is named: give it by ${option('extents')}`,
    )
  }
  const source = await openExtent(fileName)
  if (kind === 'SPARSE') {
    const volume = await readHeader(source)
    if (volume.size === size) return sparseImage(volume)
    throw new ImageError('BAD_INPUT', `vmdk: ${quote(fileName)} holds ${volume.size} bytes of the disk, the descriptor says ${size}`)
  }
  if (position + size > source.size) {
    throw new ImageError(
      'BAD_INPUT',
      `vmdk: ${quote(fileName)} has ${source.size} bytes, the descriptor says ${position + size}; it was cut short`,
    )
  }
  const isSearched = options.skipZeros === true && !hasParent
  const runs = isSearched ? await searchData(source, position, position + size, options) : undefined
  return plainImage({ what: 'vmdk extent', source }, position, size, runs)
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value
}

async function sparseImage(volume: Volume): Promise<MappedImage> {
  await checkTables(volume)
  return mappedImage({ what: 'vmdk', size: volume.size, ranges: (from, end) => tableRanges(volume, from, end) })
}

function refuse(feature: string): never {
  throw new ImageError('UNSUPPORTED', `vmdk: the disk has ${feature}, which is not read; export it as one whole disk where it was made`)
}

type HeaderRecord = ReturnType<typeof decode<typeof header.fields>>

async function readHeader(source: RandomAccessSource): Promise<Volume> {
  const start = await readPart(source, 0, Math.min(header.size, source.size), 'vmdk header')
  const first = decode(header, start, 0, 'vmdk header')
  if (first.magic !== MAGIC) throw new ImageError('BAD_INPUT', 'vmdk: the file does not begin with a sparse extent header')
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
  const hasZeroedGrains = (flags & FLAG.zeroedGrains) !== 0
  const grain: Grain = { size: grainSize * SECTOR_SIZE, diskSize: size, isCompressed }
  const file: MappedFile = {
    what: 'vmdk',
    source,
    // The last grain is as long as what was written of it.
    mayEndEarly: !isCompressed,
    packedMinimum: SECTOR_SIZE,
    unpack: (packed, range) => unpack(packed, range, grain.size),
  }
  const placeOf = (view: DataView, at: number): number => view.getUint32(at, true) * SECTOR_SIZE
  return {
    size,
    descriptor: await embeddedDescriptor(source, first),
    file,
    data: file,
    top: {
      position: record.directoryOffset * SECTOR_SIZE,
      entrySize: ENTRY_SIZE,
      count: unitsFor(capacity, grainSize * entriesPerTable),
      name: 'grain directory',
      placeOf,
    },
    table: { entrySize: ENTRY_SIZE, count: entriesPerTable, name: 'grain table' },
    unitSize: grain.size,
    add(list, index, view, at) {
      const sector = view.getUint32(at, true)
      if (sector === 0) return
      if (hasZeroedGrains && sector === ZEROED_GRAIN) list.addZeros(index * grain.size, grain.size)
      else addGrain(list, source, grain, index, sector * SECTOR_SIZE)
    },
  }
}

interface Grain {
  /** Bytes. */
  readonly size: number
  readonly diskSize: number
  readonly isCompressed: boolean
}

async function embeddedDescriptor(source: RandomAccessSource, { descriptorOffset, descriptorSize }: HeaderRecord): Promise<string> {
  if (descriptorOffset === 0) return ''
  const size = Math.min(descriptorSize * SECTOR_SIZE, DESCRIPTOR_SIZE_LIMIT)
  return Buffer.from(await readPart(source, descriptorOffset * SECTOR_SIZE, size, 'vmdk descriptor')).toString('utf8')
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

function addGrain(list: RangeList, source: RandomAccessSource, grain: Grain, index: number, position: number): void {
  const { size, diskSize, isCompressed } = grain
  const start = index * size
  if (position >= source.size) {
    throw new ImageError('BAD_INPUT', `vmdk: grain ${index} lies at ${position}, the file has ${source.size} bytes; it was cut short`)
  }
  if (!isCompressed) list.add(start, size, position)
  // The marker says how long it is; deflate never adds an eighth.
  else list.addPacked(start, Math.min(size, diskSize - start), position, Math.min(size + size / 8 + SECTOR_SIZE, source.size - position))
}

/** A marker and a zlib stream; the last grain may have no more than the disk needs. */
function unpack(bytes: Uint8Array, { position, packed }: PackedRange, grainSize: number): Uint8Array {
  const what = `vmdk: the grain at ${position}`
  const { sector, size } = decode(grainMarker, bytes, 0, what)
  if (sector * SECTOR_SIZE !== packed.start || size > bytes.length - grainMarker.size) {
    throw new ImageError(
      'BAD_INPUT',
      `${what}: its marker says sector ${sector} and ${size} bytes, it should be of sector ${packed.start / SECTOR_SIZE}`,
    )
  }
  return unpackZlib(bytes.subarray(grainMarker.size, grainMarker.size + size), grainSize, what).subarray(0, packed.unpackedLength)
}
