/** Reads qcow2 images of versions 2 and 3: plain, zero and compressed clusters. */
import { unitsFor } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { unpackRawDeflate, unpackZstd } from '../../codecs/unpack.ts'
import { ImageError } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import { type DiskMap, type MappedRange, mappedImage, RangeList, usedTwice } from '../../io/mapped.ts'
import { type RandomAccessSource, readPart, tableChunks } from '../../io/source.ts'
import { UsedRanges } from '../../io/used-ranges.ts'
import {
  CLUSTER_BITS,
  COMPRESSION_TYPE,
  compressedOffsetBits,
  ENTRY_SIZE,
  HEADER_SIZE_V2,
  HEADER_SIZE_V3,
  HIGH,
  header,
  INCOMPATIBLE,
  L1_TABLE_LIMIT,
  LOW_ZERO,
  MAGIC,
  ZLIB_WINDOW_BITS,
} from './disk.ts'

/** RFC 8878, 3.1.1.2.4. */
const ZSTD_BLOCK_LIMIT = 128 << 10
/** A match of 258 bytes takes two bits. */
const DEFLATE_RATIO_LIMIT = 1032

interface Volume {
  readonly source: RandomAccessSource
  readonly version: number
  readonly size: number
  readonly clusterBits: number
  readonly clusterSize: number
  readonly l1Offset: number
  /** Entries of the L1 table that the size needs. */
  readonly l1Needed: number
  readonly compressionType: number
}

/**
 * The virtual disk, with extents for allocated clusters. Reads the tables, twice when data is read, and holds none.
 * Throws BAD_INPUT for what contradicts the specification or the file's own size, UNSUPPORTED for what `index.ts` lists.
 */
export async function openQcow2(source: RandomAccessSource): Promise<Image> {
  const volume = await readHeader(source)
  await checkL1(volume)
  const { size, clusterSize, compressionType } = volume
  const map: DiskMap = {
    what: 'qcow2',
    size,
    // The last cluster of a file may be shorter than it is (docs/interop/qcow2.rst leaves it open, qemu-img does it).
    mayEndEarly: true,
    packedMinimum: packedMinimum(clusterSize, compressionType),
    ranges: (from, end) => ranges(volume, from, end),
    unpack(packed, { position }) {
      const what = `qcow2: the compressed cluster at ${position}`
      if (compressionType === COMPRESSION_TYPE.zstd) return unpackZstd(packed, clusterSize, what)
      return unpackRawDeflate(packed, clusterSize, ZLIB_WINDOW_BITS, what)
    },
  }
  return mappedImage(source, map)
}

/** What a cluster has that is packed as small as can be: deflate makes a 1032nd, zstd four bytes of a block and six of a frame. */
function packedMinimum(clusterSize: number, compressionType: number): number {
  if (compressionType === COMPRESSION_TYPE.zstd) return 6 + 4 * unitsFor(clusterSize, ZSTD_BLOCK_LIMIT)
  return unitsFor(clusterSize, DEFLATE_RATIO_LIMIT)
}

async function readHeader(source: RandomAccessSource): Promise<Volume> {
  const bytes = new Uint8Array(header.size)
  bytes.set(await readPart(source, 0, Math.min(header.size, source.size), 'qcow2 header'))
  const record = decode(header, bytes, 0, 'qcow2 header')
  const { magic, version, clusterBits, size, l1Size } = record
  if (magic !== MAGIC || source.size < HEADER_SIZE_V2) throw new ImageError('BAD_INPUT', 'qcow2: the file does not begin with a header')
  if (version !== 2 && version !== 3) {
    throw new ImageError('UNSUPPORTED', `qcow2: version ${version}; 2 and 3 are read: export it as one whole disk where it was made`)
  }
  if (clusterBits < CLUSTER_BITS.minimum || clusterBits > CLUSTER_BITS.maximum) {
    throw new ImageError(
      'BAD_INPUT',
      `qcow2: cluster_bits is ${clusterBits}, possible are ${CLUSTER_BITS.minimum} to ${CLUSTER_BITS.maximum}`,
    )
  }
  if (record.backingFileOffset !== 0) refuse('a backing file')
  if (record.cryptMethod !== 0) refuse('encryption')
  const compressionType = version === 3 ? checkFeatures(record, source) : COMPRESSION_TYPE.zlib
  if (!Number.isSafeInteger(size)) throw new ImageError('BAD_INPUT', `qcow2: the disk's size is ${size} bytes, beyond 2^53`)
  const clusterSize = 2 ** clusterBits
  const l1Needed = unitsFor(size, clusterSize * (clusterSize / ENTRY_SIZE))
  if (l1Size < l1Needed) {
    throw new ImageError('BAD_INPUT', `qcow2: the L1 table has ${l1Size} entries, a disk of ${size} bytes needs ${l1Needed}`)
  }
  if (l1Needed * ENTRY_SIZE > L1_TABLE_LIMIT) {
    throw new ImageError(
      'BAD_INPUT',
      `qcow2: a disk of ${size} bytes in clusters of ${clusterSize} has an L1 table of ${l1Needed * ENTRY_SIZE} bytes, ${L1_TABLE_LIMIT} are the most`,
    )
  }
  const l1Offset = record.l1TableOffset
  if (l1Needed > 0 && (l1Offset === 0 || l1Offset % clusterSize !== 0)) {
    throw new ImageError('BAD_INPUT', `qcow2: the L1 table at ${l1Offset} does not begin with a cluster of ${clusterSize} bytes`)
  }
  return { source, version, size, clusterBits, clusterSize, l1Offset, l1Needed, compressionType }
}

function refuse(feature: string): never {
  throw new ImageError('UNSUPPORTED', `qcow2: the image has ${feature}; which is not read: export it as one whole disk where it was made`)
}

/** Of version 3; the compression type. */
function checkFeatures(
  record: { readonly incompatibleFeatures: number; readonly headerLength: number; readonly compressionType: number },
  source: RandomAccessSource,
): number {
  const { incompatibleFeatures: features, headerLength } = record
  if (headerLength < HEADER_SIZE_V3 || headerLength % 8 !== 0 || headerLength > source.size) {
    throw new ImageError('BAD_INPUT', `qcow2: the header states a length of ${headerLength} bytes, it has at least ${HEADER_SIZE_V3}`)
  }
  const known = Object.values(INCOMPATIBLE).reduce((sum, bit) => sum + bit, 0)
  if (features > known) refuse(`incompatible features that are not known (0x${features.toString(16)})`)
  if ((features & INCOMPATIBLE.corrupt) !== 0) {
    throw new ImageError(
      'BAD_INPUT',
      'qcow2: the image is marked as corrupt, so that its tables cannot be relied on; take a copy from before, or have it repaired where it was made',
    )
  }
  if ((features & INCOMPATIBLE.externalData) !== 0) refuse('an external data file')
  if ((features & INCOMPATIBLE.extendedL2) !== 0) refuse('extended L2 entries')
  const type = headerLength > HEADER_SIZE_V3 ? record.compressionType : COMPRESSION_TYPE.zlib
  if (type > COMPRESSION_TYPE.zstd) refuse(`clusters of compression type ${type}`)
  if (((features & INCOMPATIBLE.compressionType) !== 0) !== (type !== COMPRESSION_TYPE.zlib)) {
    throw new ImageError('BAD_INPUT', `qcow2: the compression type is ${type}, and its incompatible feature bit says otherwise`)
  }
  return type
}

/** An L2 table may be named once only, so that tables of a small file cannot make a walk without end. */
async function checkL1(volume: Volume): Promise<void> {
  const { source, clusterSize, l1Needed } = volume
  const used = new UsedRanges((position) => usedTwice('qcow2: the L2 table', position, source))
  for await (const { count, view } of tableChunks(source, l1Table(volume), 0, l1Needed)) {
    for (let index = 0; index < count; index++) {
      const position = offsetAt(view, index * ENTRY_SIZE)
      if (position !== 0) used.add(position, position + clusterSize)
    }
  }
  used.check()
}

function l1Table({ l1Offset }: Volume): { position: number; entrySize: 8; what: string } {
  return { position: l1Offset, entrySize: ENTRY_SIZE, what: 'qcow2: L1 table' }
}

/** Bits 9 to 55 of an entry. */
function offsetAt(view: DataView, at: number): number {
  return (view.getUint32(at) & HIGH.offset) * 2 ** 32 + ((view.getUint32(at + 4) & ~511) >>> 0)
}

async function* ranges(volume: Volume, from: number, end: number): AsyncGenerator<readonly MappedRange[]> {
  const { source, clusterSize } = volume
  const entriesPerTable = clusterSize / ENTRY_SIZE
  const firstCluster = Math.floor(from / clusterSize)
  const endCluster = unitsFor(end, clusterSize)
  const firstTable = Math.floor(firstCluster / entriesPerTable)
  for await (const l1 of tableChunks(source, l1Table(volume), firstTable, unitsFor(endCluster, entriesPerTable))) {
    for (let index = 0; index < l1.count; index++) {
      const position = offsetAt(l1.view, index * ENTRY_SIZE)
      if (position === 0) continue
      const tableStart = (l1.first + index) * entriesPerTable
      const what = `qcow2: L2 table ${l1.first + index}`
      if (position % clusterSize !== 0) {
        throw new ImageError('BAD_INPUT', `${what} at ${position} does not begin with a cluster of ${clusterSize} bytes`)
      }
      const first = Math.max(0, firstCluster - tableStart)
      const last = Math.min(entriesPerTable, endCluster - tableStart)
      for await (const l2 of tableChunks(source, { position, entrySize: ENTRY_SIZE, what }, first, last)) {
        const list = new RangeList()
        for (let entry = 0; entry < l2.count; entry++) addCluster(list, volume, tableStart + l2.first + entry, l2.view, entry * ENTRY_SIZE)
        yield list.ranges
      }
    }
  }
}

function addCluster(list: RangeList, volume: Volume, cluster: number, view: DataView, at: number): void {
  const { source, clusterSize, clusterBits } = volume
  const high = view.getUint32(at)
  const low = view.getUint32(at + 4)
  if (high === 0 && low === 0) return
  const start = cluster * clusterSize
  if ((high & HIGH.compressed) !== 0) {
    const highBits = compressedOffsetBits(clusterBits) - 32
    const position = (high & (2 ** highBits - 1)) * 2 ** 32 + low
    const sectors = (high & (HIGH.compressed - 1)) >>> highBits
    checkPosition(source, cluster, position)
    const packedLength = Math.min((sectors + 1) * 512 - (position % 512), source.size - position)
    list.addPacked(start, clusterSize, position, packedLength)
    return
  }
  if ((low & LOW_ZERO) !== 0) {
    if (volume.version >= 3) return
    throw new ImageError('BAD_INPUT', `qcow2: cluster ${cluster} is marked as zero, which version 2 has not`)
  }
  const position = offsetAt(view, at)
  if (position === 0) return
  if (position % clusterSize !== 0) {
    throw new ImageError('BAD_INPUT', `qcow2: cluster ${cluster} at ${position} is not aligned to ${clusterSize} bytes`)
  }
  checkPosition(source, cluster, position)
  list.add(start, clusterSize, position)
}

function checkPosition(source: RandomAccessSource, cluster: number, position: number): void {
  if (position < source.size) return
  throw new ImageError('BAD_INPUT', `qcow2: cluster ${cluster} lies at ${position}, the file has ${source.size} bytes; it was cut short`)
}
