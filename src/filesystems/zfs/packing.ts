/** The form in which a block is stored: compressed or not, and its checksum. It depends on the bytes of the block alone. */
import { alignUp } from '../../bytes/align.ts'
import { type BlockChecksum, blockChecksum } from './checksum.ts'
import { type Compression, openCompression } from './compression.ts'
import { COMPRESSION } from './constants.ts'
import { EMBEDDED_SIZE_MAXIMUM } from './disk.ts'

/** How blocks of a kind are stored; plain data, which can be sent to threads. */
export interface PackingSpec {
  readonly compression: Compression
  readonly checksum: BlockChecksum
  /** Bytes of the largest block: a power of two. */
  readonly blockSize: number
  /** Blocks take so many bytes of the device, or a multiple. */
  readonly unit: number
  /** Whether the pool has the feature embedded_data. */
  readonly embeds: boolean
}

export interface PackedBlock {
  /** Of the compression that was applied. */
  readonly compression: number
  /** `bytes` and zeros up to the physical size; at most `EMBEDDED_SIZE_MAXIMUM` of them belong into the block pointer. */
  readonly bytes: Uint8Array
  /** None for what belongs into the block pointer. */
  readonly checksumWords: Uint8Array | undefined
}

/** `output` has room for the block as it is; what is returned lies there, or is `block` itself. */
export type PackBlock = (block: Uint8Array, output: Uint8Array, mayEmbed: boolean) => PackedBlock

/**
 * A block is kept compressed when that saves an eighth and at least one unit of the device (OpenZFS `module/zfs/zio.c`,
 * `zio_write_compress`).
 */
export async function openPacking({ compression, checksum, blockSize, unit, embeds }: PackingSpec): Promise<PackBlock> {
  const compress = await openCompression(compression, blockSize)
  const asItIs = (block: Uint8Array): PackedBlock => ({
    compression: COMPRESSION.off,
    bytes: block,
    checksumWords: blockChecksum(checksum, block),
  })
  return (block, output, mayEmbed) => {
    const packed = compress(block, block.length - (block.length >> 3), output)
    if (packed === undefined) return asItIs(block)
    if (embeds && mayEmbed && packed.length <= EMBEDDED_SIZE_MAXIMUM) {
      return { compression: compression.id, bytes: packed, checksumWords: undefined }
    }
    const size = alignUp(packed.length, unit)
    if (size >= block.length) return asItIs(block)
    output.fill(0, packed.length, size)
    const bytes = output.subarray(0, size)
    return { compression: compression.id, bytes, checksumWords: blockChecksum(checksum, bytes) }
  }
}
