/**
 * VDI, the disk images of VirtualBox, version 1.1: a writer of dynamic ones, and a reader that takes differencing ones as well.
 *
 * Not written: fixed and differencing images, blocks of other than 1 MiB. Read neither, and refused: undo images,
 * other versions, blocks with extra data.
 */
import { alignUp, unitsFor } from '../../bytes/align.ts'
import { deriveGuid } from '../../bytes/guid.ts'
import { ascii } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { type BlockRuns, blockOrdinal } from '../../io/block-runs.ts'
import { blockRuns, gatheredExtents, tableExtent } from '../../io/blocks.ts'
import { bytesExtent, type Image } from '../../io/image.ts'
import {
  BLOCK_COUNT_LIMIT,
  BLOCK_SIZE,
  ENTRY_SIZE,
  FILE_INFO,
  HEADER_SIZE,
  header,
  IMAGE_TYPE,
  SECTOR_SIZE,
  SIGNATURE,
  UNALLOCATED,
  VERSION,
} from './disk.ts'

export { openVdi } from './read.ts'

export interface VdiOptions {
  /** Identifiers are derived from it. */
  readonly seed: string
}

export interface VdiPlan {
  /** Bytes of the virtual disk: the image's size, rounded up to sectors of 512 bytes as qemu-img does. */
  readonly size: number
  readonly blockCount: number
  /** Blocks that hold data. */
  readonly blocks: BlockRuns
  readonly mapOffset: number
  readonly dataOffset: number
  readonly fileSize: number
}

/** Throws LIMIT for a disk of more than 2^30 - 1 blocks, which is 1 PiB. */
export function planVdi(image: Image): VdiPlan {
  const size = alignUp(image.size, SECTOR_SIZE)
  const count = unitsFor(size, BLOCK_SIZE)
  if (count > BLOCK_COUNT_LIMIT) {
    throw new ImageError(
      'LIMIT',
      `vdi: the disk has ${size} bytes, the format's readers take up to ${BLOCK_COUNT_LIMIT * BLOCK_SIZE}; use qcow2`,
    )
  }
  const blocks = blockRuns(image, BLOCK_SIZE)
  // VirtualBox begins both the map and the data at multiples of 1 MiB.
  const mapOffset = BLOCK_SIZE
  const dataOffset = mapOffset + alignUp(Math.max(1, count * ENTRY_SIZE), BLOCK_SIZE)
  return { size, blockCount: count, blocks, mapOffset, dataOffset, fileSize: dataOffset + blocks.blockCount * BLOCK_SIZE }
}

/**
 * A dynamic image; blocks of 1 MiB that no extent touches are not allocated. A size that is no multiple of 512 is
 * rounded up. Throws what `planVdi` throws.
 */
export function vdi(image: Image, options: VdiOptions): Image {
  const plan = planVdi(image)
  const record = header.encode({
    fileInfo: ascii(FILE_INFO, 'VDI file info'),
    signature: SIGNATURE,
    version: VERSION,
    headerSize: HEADER_SIZE,
    imageType: IMAGE_TYPE.dynamic,
    blocksOffset: plan.mapOffset,
    dataOffset: plan.dataOffset,
    sectorSize: SECTOR_SIZE,
    diskSize: plan.size,
    blockSize: BLOCK_SIZE,
    blockCount: plan.blockCount,
    allocatedBlockCount: plan.blocks.blockCount,
    uuidCreate: deriveGuid(options.seed, 'vdi disk'),
    uuidModify: deriveGuid(options.seed, 'vdi content'),
    logicalSectorSize: SECTOR_SIZE,
  })
  return {
    size: plan.fileSize,
    extents: [
      bytesExtent(0, record),
      tableExtent(plan.mapOffset, plan.blockCount, ENTRY_SIZE, (block, view, at) =>
        view.setUint32(at, blockOrdinal(plan.blocks, block) ?? UNALLOCATED, true),
      ),
      ...gatheredExtents(image, plan.blocks, BLOCK_SIZE, plan.dataOffset),
    ],
  }
}
