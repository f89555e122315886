/** Where everything goes in a VHD. */
import { alignUp, unitsFor } from '../../bytes/align.ts'
import { ImageError } from '../../errors.ts'
import type { BlockRuns } from '../../io/block-runs.ts'
import { blockRuns } from '../../io/blocks.ts'
import type { Image } from '../../io/image.ts'
import { BLOCK_SIZE, dynamicHeader, ENTRY_SIZE, EPOCH_SECONDS, footer, SECTOR_SIZE, SIZE_LIMIT } from './disk.ts'

export interface VhdOptions {
  /** The identifier is derived from it. */
  readonly seed: string
  /** Seconds since 1970; default 2000-01-01, where the format's time begins. */
  readonly timeSeconds?: number
}

export interface FixedVhdOptions extends VhdOptions {
  /** The disk's size is rounded up to a multiple of so many bytes; default 1 MiB, as Azure demands, at least 512. */
  readonly sizeUnit?: number
}

export const VHD_DEFAULTS = { timeSeconds: EPOCH_SECONDS, sizeUnit: 1 << 20 } as const

export interface VhdPlan {
  /** Bytes of the virtual disk. */
  readonly size: number
  /** Since 2000. */
  readonly timestamp: number
  readonly fileSize: number
}

export interface DynamicVhdPlan extends VhdPlan {
  readonly blockCount: number
  /** Blocks that hold data. */
  readonly blocks: BlockRuns
  readonly tableOffset: number
  readonly dataOffset: number
  /** Bytes of a block and of the bitmap before it. */
  readonly blockStride: number
}

/** Throws USAGE for a unit or time out of range, LIMIT for a disk of more than 2040 GiB. */
export function planFixedVhd(image: Image, options: FixedVhdOptions): VhdPlan {
  const unit = options.sizeUnit ?? VHD_DEFAULTS.sizeUnit
  if (!Number.isSafeInteger(unit) || unit < SECTOR_SIZE || unit % SECTOR_SIZE !== 0) {
    throw new ImageError('USAGE', `vhd: size unit ${unit}; give a multiple of ${SECTOR_SIZE} bytes`)
  }
  const size = checkSize(alignUp(image.size, unit))
  return { size, timestamp: timestampOf(options), fileSize: size + footer.size }
}

/** Throws USAGE for a time out of range, LIMIT for a disk of more than 2040 GiB. */
export function planDynamicVhd(image: Image, options: VhdOptions): DynamicVhdPlan {
  const size = checkSize(alignUp(image.size, SECTOR_SIZE))
  const count = unitsFor(size, BLOCK_SIZE)
  const blocks = blockRuns(image, BLOCK_SIZE)
  const tableOffset = footer.size + dynamicHeader.size
  const dataOffset = tableOffset + alignUp(count * ENTRY_SIZE, SECTOR_SIZE)
  const blockStride = SECTOR_SIZE + BLOCK_SIZE
  const fileSize = dataOffset + blocks.blockCount * blockStride + footer.size
  return { size, timestamp: timestampOf(options), blockCount: count, blocks, tableOffset, dataOffset, blockStride, fileSize }
}

function checkSize(size: number): number {
  if (size <= SIZE_LIMIT) return size
  throw new ImageError('LIMIT', `vhd: the disk has ${size} bytes, the format holds up to ${SIZE_LIMIT} (2040 GiB); use vhdx`)
}

function timestampOf({ timeSeconds = VHD_DEFAULTS.timeSeconds }: VhdOptions): number {
  const timestamp = timeSeconds - EPOCH_SECONDS
  if (Number.isInteger(timestamp) && timestamp >= 0 && timestamp <= 0xffffffff) return timestamp
  throw new ImageError('USAGE', `vhd: time ${timeSeconds}; give whole seconds from ${EPOCH_SECONDS} (2000-01-01) on`)
}
