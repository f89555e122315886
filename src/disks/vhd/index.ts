/**
 * VHD, the older disk images of Hyper-V and those of Azure: writers of fixed and dynamic ones, and a reader that takes
 * differencing ones as well.
 *
 * Not written: differencing disks, blocks of other than 2 MiB. The sector bitmaps of dynamic disks are not looked at: a
 * sector of an allocated block that was never written is zero anyway.
 */
import { deriveGuid } from '../../bytes/guid.ts'
import { blockOrdinal } from '../../io/block-runs.ts'
import { runChunks, sparseExtent, tableExtent } from '../../io/blocks.ts'
import { bytesExtent, type Extent, type Image } from '../../io/image.ts'
import {
  BLOCK_SIZE,
  CREATOR,
  checksum,
  DISK_TYPE,
  dynamicHeader,
  ENTRY_SIZE,
  FEATURES,
  FOOTER_COOKIE,
  footer,
  geometryOf,
  HEADER_COOKIE,
  NO_OFFSET,
  SECTOR_SIZE,
  UNUSED,
  VERSION,
} from './disk.ts'
import { type DynamicVhdPlan, type FixedVhdOptions, planDynamicVhd, planFixedVhd, type VhdOptions, type VhdPlan } from './plan.ts'

export {
  type DynamicVhdPlan,
  type FixedVhdOptions,
  planDynamicVhd,
  planFixedVhd,
  VHD_DEFAULTS,
  type VhdOptions,
  type VhdPlan,
} from './plan.ts'
export { openVhd, type VhdReadOptions } from './read.ts'

const BITMAP = new Uint8Array(SECTOR_SIZE).fill(0xff)

/**
 * A fixed disk: the image as it is, and a footer. Its size is rounded up to a multiple of 1 MiB, as Azure demands, or
 * of `sizeUnit`. Throws what `planFixedVhd` throws.
 */
export function fixedVhd(image: Image, options: FixedVhdOptions): Image {
  const plan = planFixedVhd(image, options)
  const end = encodeFooter(plan, options, DISK_TYPE.fixed, NO_OFFSET)
  return { size: plan.fileSize, extents: [...image.extents, bytesExtent(plan.size, end)] }
}

/**
 * A dynamic disk; blocks of 2 MiB that no extent touches are not allocated. A size that is no multiple of 512 is
 * rounded up, and kept exactly in the footer. Throws what `planDynamicVhd` throws.
 */
export function dynamicVhd(image: Image, options: VhdOptions): Image {
  const plan = planDynamicVhd(image, options)
  const { blocks, tableOffset, dataOffset, blockStride, fileSize } = plan
  const end = encodeFooter(plan, options, DISK_TYPE.dynamic, footer.size)
  const table = tableExtent(tableOffset, (dataOffset - tableOffset) / ENTRY_SIZE, ENTRY_SIZE, (block, view, at) => {
    const ordinal = blockOrdinal(blocks, block)
    view.setUint32(at, ordinal === undefined ? UNUSED : (dataOffset + ordinal * blockStride) / SECTOR_SIZE)
  })
  return {
    size: fileSize,
    extents: [
      bytesExtent(0, end),
      bytesExtent(footer.size, encodeHeader(plan)),
      table,
      ...(blocks.length === 0 ? [] : [blocksExtent(image, plan)]),
      bytesExtent(fileSize - footer.size, end),
    ],
  }
}

function encodeFooter(plan: VhdPlan, options: VhdOptions, diskType: number, dataOffset: number | bigint): Uint8Array {
  const record = footer.encode({
    cookie: FOOTER_COOKIE,
    features: FEATURES,
    version: VERSION,
    dataOffset,
    timestamp: plan.timestamp,
    ...CREATOR,
    originalSize: plan.size,
    currentSize: plan.size,
    ...geometryOf(plan.size),
    diskType,
    uniqueId: deriveGuid(options.seed, 'vhd disk'),
  })
  footer.write(record, 0, { checksum: checksum(record) })
  return record
}

function encodeHeader(plan: DynamicVhdPlan): Uint8Array {
  const record = dynamicHeader.encode({
    cookie: HEADER_COOKIE,
    dataOffset: NO_OFFSET,
    tableOffset: plan.tableOffset,
    headerVersion: VERSION,
    maxTableEntries: plan.blockCount,
    blockSize: BLOCK_SIZE,
  })
  dynamicHeader.write(record, 0, { checksum: checksum(record) })
  return record
}

/** All blocks are one extent, since a bitmap goes before each of them. */
function blocksExtent(image: Image, { blocks, dataOffset, blockStride }: DynamicVhdPlan): Extent {
  const length = blocks.blockCount * blockStride
  return sparseExtent(dataOffset, length, {
    runs: () => [{ start: 0, length }],
    read: () => withBitmaps(runChunks(image.extents, blocks, BLOCK_SIZE)),
  })
}

async function* withBitmaps(chunks: AsyncIterable<Uint8Array | number>): AsyncGenerator<Uint8Array | number> {
  let at = 0
  for await (const chunk of chunks) {
    const length = typeof chunk === 'number' ? chunk : chunk.length
    for (let done = 0; done < length; ) {
      if (at === 0) yield BITMAP
      const count = Math.min(length - done, BLOCK_SIZE - at)
      yield typeof chunk === 'number' ? count : chunk.subarray(done, done + count)
      done += count
      at = (at + count) % BLOCK_SIZE
    }
  }
}
