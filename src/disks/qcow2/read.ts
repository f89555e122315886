/** Reads qcow2 images of versions 2 and 3: plain, zero and compressed clusters, subclusters, snapshots, with other files that are given. */
import { unitsFor } from '../../bytes/align.ts'
import { quote } from '../../bytes/text.ts'
import { unpackRawDeflate, unpackZstd } from '../../codecs/unpack.ts'
import { ImageError } from '../../errors.ts'
import { type MappedFile, mappedImage, type RangeList } from '../../io/mapped.ts'
import type { RandomAccessSource } from '../../io/source.ts'
import { type FurtherFiles, onParent, type ReadDisk } from '../reading/further.ts'
import { checkTables, type TableOfTables, tableRanges } from '../reading/tables.ts'
import {
  COMPRESSION_TYPE,
  compressedOffsetBits,
  ENTRY_SIZE,
  EXTENDED_ENTRY_SIZE,
  HIGH,
  LOW_ZERO,
  SUBCLUSTER_COUNT,
  ZLIB_WINDOW_BITS,
} from './disk.ts'
import { type Header, neededL1, readHeader } from './header.ts'
import { snapshotOf } from './snapshots.ts'

/** RFC 8878, 3.1.1.2.4. */
const ZSTD_BLOCK_LIMIT = 128 << 10
/** A match of 258 bytes takes two bits. */
const DEFLATE_RATIO_LIMIT = 1032
/** Formats of backing files that QEMU calls otherwise than we. */
const FORMATS: Readonly<Record<string, string>> = { vpc: 'vhd' }

export interface Qcow2ReadOptions extends FurtherFiles {
  /** The id or name of a snapshot, which is read in place of the disk as it is now. */
  readonly snapshot?: string
}

/**
 * The virtual disk, with extents for allocated clusters. Reads the tables, twice when data is read, and holds none.
 * Throws BAD_INPUT for what contradicts the specification or the file's own size, UNSUPPORTED for what `index.ts` lists, USAGE for a data
 * file that the image has not, and what `snapshotOf` and opening a backing file throw.
 */
export async function openQcow2(source: RandomAccessSource, options: Qcow2ReadOptions = {}): Promise<ReadDisk> {
  const header = await readHeader(source)
  const disk = options.snapshot === undefined ? header : await snapshotOf(source, header, options.snapshot)
  const { l1Offset, size } = disk
  if (!Number.isSafeInteger(size)) throw new ImageError('BAD_INPUT', `qcow2: the snapshot's size is ${size} bytes, beyond 2^53`)
  const { clusterSize, entrySize, backing } = header
  const data = dataFileOf(source, header, options)
  const tables: TableOfTables = {
    file: { what: 'qcow2', source },
    data,
    top: {
      position: l1Offset,
      entrySize: ENTRY_SIZE,
      count: neededL1(header, size, l1Offset, disk.l1Size),
      name: 'L1 table',
      placeOf: offsetAt,
    },
    table: { entrySize, count: clusterSize / entrySize, name: 'L2 table', alignment: clusterSize },
    unitSize: clusterSize,
    add: (list, cluster, view, at) => addCluster(list, data.source, header, cluster, view, at),
  }
  await checkTables(tables)
  const own = await mappedImage({ what: 'qcow2', size, ranges: (from, end) => tableRanges(tables, from, end) })
  if (backing === undefined) return own
  const { name, format } = backing
  return onParent(own, { what: 'qcow2', name, ...(format !== undefined && { format: FORMATS[format] ?? format }) }, options)
}

/** What has the clusters: the image itself, or a file of its own. */
function dataFileOf(source: RandomAccessSource, header: Header, { dataFile }: FurtherFiles): MappedFile {
  const { clusterSize, compressionType, dataFileName } = header
  if (dataFileName === undefined) {
    if (dataFile !== undefined) {
      throw new ImageError('USAGE', (option) => `qcow2: the image has its data in itself; leave ${option('dataFile')} out`)
    }
    return {
      what: 'qcow2',
      source,
      // The last cluster of a file may be shorter than it is (docs/interop/qcow2.rst leaves it open, qemu-img does it).
      mayEndEarly: true,
      packedMinimum: packedMinimum(clusterSize, compressionType),
      unpack(packed, { position }) {
        const what = `qcow2: the compressed cluster at ${position}`
        if (compressionType === COMPRESSION_TYPE.zstd) return unpackZstd(packed, clusterSize, what)
        return unpackRawDeflate(packed, clusterSize, ZLIB_WINDOW_BITS, what)
      },
    }
  }
  if (dataFile !== undefined) return { what: 'qcow2 data file', source: dataFile, mayEndEarly: true }
  const said = dataFileName === '' ? '' : ` (it says ${quote(dataFileName)})`
  throw new ImageError(
    'UNSUPPORTED',
    (option) =>
      `qcow2: the image has its data in a file of its own${said}, which is opened only when it is named: give it by ${option('dataFile')}`,
  )
}

/** What a cluster has that is packed as small as can be: deflate makes a 1032nd, zstd four bytes of a block and six of a frame. */
function packedMinimum(clusterSize: number, compressionType: number): number {
  if (compressionType === COMPRESSION_TYPE.zstd) return 6 + 4 * unitsFor(clusterSize, ZSTD_BLOCK_LIMIT)
  return unitsFor(clusterSize, DEFLATE_RATIO_LIMIT)
}

/** Bits 9 to 55 of an entry. */
function offsetAt(view: DataView, at: number): number {
  return (view.getUint32(at) & HIGH.offset) * 2 ** 32 + ((view.getUint32(at + 4) & ~511) >>> 0)
}

function addCluster(list: RangeList, data: RandomAccessSource, header: Header, cluster: number, view: DataView, at: number): void {
  const { clusterSize, clusterBits, entrySize, dataFileName } = header
  const high = view.getUint32(at)
  const low = view.getUint32(at + 4)
  const start = cluster * clusterSize
  if ((high & HIGH.compressed) !== 0) {
    if (dataFileName !== undefined)
      throw new ImageError('BAD_INPUT', `qcow2: cluster ${cluster} is compressed, which a data file cannot hold`)
    const highBits = compressedOffsetBits(clusterBits) - 32
    const position = (high & (2 ** highBits - 1)) * 2 ** 32 + low
    const sectors = (high & (HIGH.compressed - 1)) >>> highBits
    checkPosition(data, cluster, position)
    const packedLength = Math.min((sectors + 1) * 512 - (position % 512), data.size - position)
    list.addPacked(start, clusterSize, position, packedLength)
    return
  }
  const position = offsetAt(view, at)
  // The first cluster of a data file is the only one at 0.
  const isAllocated = position !== 0 || (dataFileName !== undefined && (high & HIGH.copied) !== 0)
  if (entrySize === EXTENDED_ENTRY_SIZE) {
    addSubclusters(list, data, header, cluster, isAllocated ? position : undefined, view.getUint32(at + 8), view.getUint32(at + 12))
    return
  }
  if ((low & LOW_ZERO) !== 0) {
    if (header.version < 3) throw new ImageError('BAD_INPUT', `qcow2: cluster ${cluster} is marked as zero, which version 2 has not`)
    list.addZeros(start, clusterSize)
    return
  }
  if (!isAllocated) return
  checkCluster(data, cluster, position, clusterSize)
  list.add(start, clusterSize, position)
}

/** Section "Extended L2 Entries". */
function addSubclusters(
  list: RangeList,
  data: RandomAccessSource,
  { clusterSize }: Header,
  cluster: number,
  position: number | undefined,
  zeroBits: number,
  allocatedBits: number,
): void {
  if (position !== undefined && allocatedBits !== 0) checkCluster(data, cluster, position, clusterSize)
  if ((zeroBits & allocatedBits) !== 0 || (position === undefined && allocatedBits !== 0)) {
    throw new ImageError('BAD_INPUT', `qcow2: cluster ${cluster} has subclusters that are allocated, and are said to be zero or nowhere`)
  }
  const size = clusterSize / SUBCLUSTER_COUNT
  for (let index = 0; index < SUBCLUSTER_COUNT; index++) {
    const start = cluster * clusterSize + index * size
    if (((zeroBits >>> index) & 1) === 1) list.addZeros(start, size)
    else if (((allocatedBits >>> index) & 1) === 1) list.add(start, size, (position ?? 0) + index * size)
  }
}

function checkCluster(data: RandomAccessSource, cluster: number, position: number, clusterSize: number): void {
  if (position % clusterSize !== 0) {
    throw new ImageError('BAD_INPUT', `qcow2: cluster ${cluster} at ${position} is not aligned to ${clusterSize} bytes`)
  }
  checkPosition(data, cluster, position)
}

function checkPosition(source: RandomAccessSource, cluster: number, position: number): void {
  if (position < source.size) return
  throw new ImageError('BAD_INPUT', `qcow2: cluster ${cluster} lies at ${position}, the file has ${source.size} bytes; it was cut short`)
}
