/** The header of a qcow2 image that is read: what it says, and what of it cannot be. */
import { unitsFor } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { ImageError } from '../../errors.ts'
import { type RandomAccessSource, readPart } from '../../io/source.ts'
import {
  BACKING_FORMAT,
  CLUSTER_BITS,
  COMPRESSION_TYPE,
  DATA_FILE,
  ENTRY_SIZE,
  EXTENDED_CLUSTER_BITS,
  EXTENDED_ENTRY_SIZE,
  extension,
  HEADER_SIZE_V2,
  HEADER_SIZE_V3,
  header,
  INCOMPATIBLE,
  L1_TABLE_LIMIT,
  MAGIC,
} from './disk.ts'

export interface Header {
  readonly version: number
  readonly size: number
  readonly clusterBits: number
  readonly clusterSize: number
  readonly l1Offset: number
  /** Entries. */
  readonly l1Size: number
  readonly compressionType: number
  /** Bytes of an L2 entry: 8, or 16 with the bits of subclusters. */
  readonly entrySize: 8 | 16
  readonly snapshotCount: number
  readonly snapshotsOffset: number
  readonly backing: { readonly name: string; readonly format?: string } | undefined
  /** The name of the external data file, which may be empty. */
  readonly dataFileName: string | undefined
}

/** Names of files and formats (QEMU, block/qcow2.c). */
const NAME_LIMIT = 1023

/** Throws BAD_INPUT for what contradicts the specification, UNSUPPORTED for what is not read. */
export async function readHeader(source: RandomAccessSource): Promise<Header> {
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
  if (record.cryptMethod !== 0) refuse('encryption')
  const compressionType = version === 3 ? checkFeatures(record, source) : COMPRESSION_TYPE.zlib
  const features = version === 3 ? record.incompatibleFeatures : 0
  const entrySize = (features & INCOMPATIBLE.extendedL2) === 0 ? ENTRY_SIZE : EXTENDED_ENTRY_SIZE
  if (entrySize === EXTENDED_ENTRY_SIZE && clusterBits < EXTENDED_CLUSTER_BITS) {
    throw new ImageError('BAD_INPUT', `qcow2: cluster_bits is ${clusterBits}, with extended L2 entries at least ${EXTENDED_CLUSTER_BITS}`)
  }
  if (!Number.isSafeInteger(size)) throw new ImageError('BAD_INPUT', `qcow2: the disk's size is ${size} bytes, beyond 2^53`)
  const extensions = await readExtensions(source, version === 3 ? record.headerLength : HEADER_SIZE_V2, 2 ** clusterBits)
  const format = extensions.get(BACKING_FORMAT)
  return {
    version,
    size,
    clusterBits,
    clusterSize: 2 ** clusterBits,
    l1Offset: record.l1TableOffset,
    l1Size,
    compressionType,
    entrySize,
    snapshotCount: record.snapshotCount,
    snapshotsOffset: record.snapshotsOffset,
    backing:
      record.backingFileOffset === 0
        ? undefined
        : { name: await nameAt(source, record.backingFileOffset, record.backingFileSize), ...(format !== undefined && { format }) },
    dataFileName: (features & INCOMPATIBLE.externalData) === 0 ? undefined : (extensions.get(DATA_FILE) ?? ''),
  }
}

/** Entries of an L1 table that a disk of `size` bytes needs. Throws BAD_INPUT where the table is none, or too small. */
export function neededL1({ clusterSize, entrySize }: Header, size: number, l1Offset: number, l1Size: number): number {
  const needed = unitsFor(size, clusterSize * (clusterSize / entrySize))
  if (l1Size < needed) {
    throw new ImageError('BAD_INPUT', `qcow2: the L1 table has ${l1Size} entries, a disk of ${size} bytes needs ${needed}`)
  }
  if (needed * ENTRY_SIZE > L1_TABLE_LIMIT) {
    throw new ImageError(
      'BAD_INPUT',
      `qcow2: a disk of ${size} bytes in clusters of ${clusterSize} has an L1 table of ${needed * ENTRY_SIZE} bytes, ${L1_TABLE_LIMIT} are the most`,
    )
  }
  if (needed > 0 && (l1Offset === 0 || l1Offset % clusterSize !== 0)) {
    throw new ImageError('BAD_INPUT', `qcow2: the L1 table at ${l1Offset} does not begin with a cluster of ${clusterSize} bytes`)
  }
  return needed
}

async function nameAt(source: RandomAccessSource, position: number, length: number): Promise<string> {
  if (length > NAME_LIMIT)
    throw new ImageError('BAD_INPUT', `qcow2: the name of the backing file has ${length} bytes, ${NAME_LIMIT} at most`)
  return Buffer.from(await readPart(source, position, length, 'qcow2: the name of the backing file')).toString('utf8')
}

/** Section "Header extensions": texts, by type. They lie in the first cluster, and whoever finds no end has found none. */
async function readExtensions(source: RandomAccessSource, start: number, clusterSize: number): Promise<Map<number, string>> {
  const end = Math.min(source.size, clusterSize)
  const found = new Map<number, string>()
  for (let at = start; at + extension.size <= end; ) {
    const { type, length } = decode(extension, await source.read(at, extension.size), 0, 'qcow2 header extension')
    if (type === 0 || length > end - at - extension.size) break
    if ((type === BACKING_FORMAT || type === DATA_FILE) && length <= NAME_LIMIT) {
      found.set(type, Buffer.from(await source.read(at + extension.size, length)).toString('utf8'))
    }
    at += extension.size + Math.ceil(length / 8) * 8
  }
  return found
}

function refuse(feature: string): never {
  throw new ImageError('UNSUPPORTED', `qcow2: the image has ${feature}, which is not read: export it as one whole disk where it was made`)
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
  const type = headerLength > HEADER_SIZE_V3 ? record.compressionType : COMPRESSION_TYPE.zlib
  if (type > COMPRESSION_TYPE.zstd) refuse(`clusters of compression type ${type}`)
  if (((features & INCOMPATIBLE.compressionType) !== 0) !== (type !== COMPRESSION_TYPE.zlib)) {
    throw new ImageError('BAD_INPUT', `qcow2: the compression type is ${type}, and its incompatible feature bit says otherwise`)
  }
  return type
}
