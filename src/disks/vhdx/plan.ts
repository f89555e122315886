/** Where everything of a VHDX lies. */
import { alignUp, unitsFor } from '../../bytes/align.ts'
import { ImageError } from '../../errors.ts'
import type { BlockRuns } from '../../io/block-runs.ts'
import { blockRuns } from '../../io/blocks.ts'
import { checkSectorSize, DEFAULT_SECTOR_SIZE, type DiskImage, type SectorSize } from '../sectors.ts'
import { ALIGNMENT, BAT_ENTRY_SIZE, BLOCK_SIZE, chunkRatio, SIZE_LIMIT } from './disk.ts'

export interface VhdxOptions {
  /** Identifiers are derived from it. */
  readonly seed: string
  /** Bytes: a power of two, 1 to 256 MiB; default 32 MiB, as Hyper-V has it. */
  readonly blockSize?: number
}

export const VHDX_DEFAULTS = { blockSize: BLOCK_SIZE.default } as const

export interface VhdxPlan {
  /** Bytes of the virtual disk: the image's size, rounded up to sectors as qemu-img does. */
  readonly size: number
  /** Of a logical sector. */
  readonly sectorSize: SectorSize
  readonly blockSize: number
  /** Payload blocks between two entries for sector bitmaps. */
  readonly chunkRatio: number
  readonly batEntryCount: number
  /** Blocks that hold data. */
  readonly blocks: BlockRuns
  readonly logOffset: number
  readonly metadataOffset: number
  readonly batOffset: number
  readonly batSize: number
  readonly dataOffset: number
  readonly fileSize: number
}

/** Throws USAGE for a block size or sector size that does not exist, LIMIT for a disk of more than 64 TiB. */
export function planVhdx(image: DiskImage, options: VhdxOptions): VhdxPlan {
  const blockSize = options.blockSize ?? VHDX_DEFAULTS.blockSize
  if (!Number.isInteger(Math.log2(blockSize)) || blockSize < BLOCK_SIZE.minimum || blockSize > BLOCK_SIZE.maximum) {
    throw new ImageError('USAGE', `vhdx: block size ${blockSize}; give a power of two from ${BLOCK_SIZE.minimum} to ${BLOCK_SIZE.maximum}`)
  }
  const { sectorSize = DEFAULT_SECTOR_SIZE } = image
  checkSectorSize(sectorSize)
  const size = alignUp(image.size, sectorSize)
  if (size > SIZE_LIMIT)
    throw new ImageError('LIMIT', `vhdx: the disk has ${size} bytes, the format holds up to ${SIZE_LIMIT} (64 TiB); use qcow2`)
  const ratio = chunkRatio(blockSize, sectorSize)
  const count = unitsFor(size, blockSize)
  // MS-VHDX 2.5: a dynamic disk has no entry for the sector bitmap of the last, or only, chunk.
  const batEntryCount = count + Math.floor(Math.max(0, count - 1) / ratio)
  const logOffset = ALIGNMENT
  const metadataOffset = 2 * ALIGNMENT
  const batOffset = 3 * ALIGNMENT
  const batSize = alignUp(Math.max(1, batEntryCount * BAT_ENTRY_SIZE), ALIGNMENT)
  const blocks = blockRuns(image, blockSize)
  const dataOffset = batOffset + batSize
  const fileSize = dataOffset + blocks.blockCount * blockSize
  return {
    size,
    sectorSize,
    blockSize,
    chunkRatio: ratio,
    batEntryCount,
    blocks,
    logOffset,
    metadataOffset,
    batOffset,
    batSize,
    dataOffset,
    fileSize,
  }
}
