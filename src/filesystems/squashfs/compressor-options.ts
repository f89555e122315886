/** Section 3.1, Compression Options: the metadata block between the superblock and the data. */
import {
  GZIP_DEFAULT_LEVEL,
  GZIP_WINDOW_LOG,
  gzipOptions,
  LZ4_HIGH_COMPRESSION,
  LZ4_VERSION_LEGACY,
  lz4Options,
  METADATA_BLOCK_SIZE,
  METADATA_UNCOMPRESSED,
  superblock,
  xzOptions,
  ZSTD_DEFAULT_LEVEL,
  zstdOptions,
} from './disk.ts'
import type { ResolvedSquashfsOptions } from './format.ts'

/**
 * The block with its 16 bit header, or no bytes where a reader's defaults say the same. Only lz4 (version)
 * and xz (dictionary, which the kernel allocates) matter to a reader.
 */
export function compressorOptionsBlock(options: ResolvedSquashfsOptions): Uint8Array {
  const payload = optionsPayload(options)
  if (payload === undefined) return new Uint8Array(0)
  const block = new Uint8Array(2 + payload.length)
  new DataView(block.buffer).setUint16(0, METADATA_UNCOMPRESSED | payload.length, true)
  block.set(payload, 2)
  return block
}

/** Where the first data block may lie, bytes from the image's start. */
export function dataStart(options: ResolvedSquashfsOptions): number {
  return superblock.size + compressorOptionsBlock(options).length
}

function optionsPayload({ codec, blockSize }: ResolvedSquashfsOptions): Uint8Array | undefined {
  switch (codec.name) {
    case 'none':
      return undefined
    case 'gzip': {
      const compressionLevel = codec.level ?? GZIP_DEFAULT_LEVEL
      return compressionLevel === GZIP_DEFAULT_LEVEL
        ? undefined
        : gzipOptions.encode({ compressionLevel, windowSize: GZIP_WINDOW_LOG, strategies: 0 })
    }
    case 'xz':
      // Metadata blocks are compressed with a dictionary of their own size, also where data blocks are smaller.
      return xzOptions.encode({ dictionarySize: Math.max(blockSize, METADATA_BLOCK_SIZE), filters: 0 })
    case 'lz4':
      return lz4Options.encode({ version: LZ4_VERSION_LEGACY, flags: codec.level === undefined ? 0 : LZ4_HIGH_COMPRESSION })
    case 'zstd': {
      const compressionLevel = codec.level ?? ZSTD_DEFAULT_LEVEL
      return compressionLevel === ZSTD_DEFAULT_LEVEL ? undefined : zstdOptions.encode({ compressionLevel })
    }
  }
}
