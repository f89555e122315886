/** How blocks of a pool are stored: file contents as properties want it, all else as ZFS has it. */
import { BLOCK_SIZE_MAXIMUM, CHECKSUM, COMPRESSION } from './constants.ts'
import type { DatasetStyle } from './dataset-style.ts'
import { FEATURE, hasFeature } from './features.ts'
import type { CheckedOptions } from './options.ts'
import type { PackingSpec } from './packing.ts'
import type { StorageFacts } from './space-bound.ts'

/** Copies of the pool's own objects, and of metadata of file systems, unless these have more of their contents. */
export const POOL_COPIES = 3
const FILE_SYSTEM_METADATA_COPIES = 2

type PoolFacts = Pick<CheckedOptions, 'ashift' | 'features'>

export function metadataPacking({ ashift, features }: PoolFacts): PackingSpec {
  return {
    compression: { id: hasFeature(features, FEATURE.lz4) ? COMPRESSION.lz4 : COMPRESSION.off },
    checksum: CHECKSUM.fletcher4,
    blockSize: BLOCK_SIZE_MAXIMUM,
    unit: 2 ** ashift,
    embeds: hasFeature(features, FEATURE.embeddedData),
  }
}

/** Of file contents. */
export function contentPacking({ compression, checksum, recordSize }: DatasetStyle, pool: PoolFacts): PackingSpec {
  return { ...metadataPacking(pool), compression, checksum, blockSize: Math.max(recordSize, BLOCK_SIZE_MAXIMUM) }
}

export function metadataCopies({ copies }: DatasetStyle): number {
  return Math.max(FILE_SYSTEM_METADATA_COPIES, copies)
}

export function storageFacts(style: DatasetStyle, { ashift, features }: PoolFacts): StorageFacts {
  const { copies, recordSize } = style
  return { copies, recordSize, unit: 2 ** ashift, metadataCopies: metadataCopies(style), isCompressed: hasFeature(features, FEATURE.lz4) }
}
