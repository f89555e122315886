/**
 * VHDX, the disk images of Hyper-V (MS-VHDX): a writer of dynamic ones and a reader of dynamic and fixed ones.
 *
 * Not written: fixed disks. Read neither, and refused: differencing disks, a log that has to be replayed first, regions and metadata
 * that are required and not known.
 */
import { deriveGuid } from '../../bytes/guid.ts'
import { utf16 } from '../../bytes/text.ts'
import { blockOrdinal } from '../../io/block-runs.ts'
import { gatheredExtents, tableExtent } from '../../io/blocks.ts'
import { bytesExtent, type Image } from '../../io/image.ts'
import type { DiskImage } from '../sectors.ts'
import { BAT_ENTRY_SIZE, BLOCK_STATE, fileIdentifier, PLACE, SIGNATURE } from './disk.ts'
import { planVhdx, type VhdxOptions } from './plan.ts'
import { encodeHeader, encodeMetadata, encodeRegionTable } from './records.ts'

export { planVhdx, VHDX_DEFAULTS, type VhdxOptions, type VhdxPlan } from './plan.ts'
export { openVhdx } from './read.ts'

/**
 * A dynamic disk; blocks that no extent touches are not allocated. A size that is no multiple of its sectors is rounded up.
 * Throws what `planVhdx` throws.
 */
export function vhdx(image: DiskImage, options: VhdxOptions): Image {
  const plan = planVhdx(image, options)
  const { blocks, blockSize, dataOffset } = plan
  const identifiers = { fileWriteGuid: deriveGuid(options.seed, 'vhdx file'), dataWriteGuid: deriveGuid(options.seed, 'vhdx content') }
  const regions = encodeRegionTable(plan)
  const bat = tableExtent(plan.batOffset, plan.batEntryCount, BAT_ENTRY_SIZE, (entry, view, at) => {
    const chunk = Math.floor(entry / (plan.chunkRatio + 1))
    // The entry of a sector bitmap, which only differencing disks have.
    if (entry % (plan.chunkRatio + 1) === plan.chunkRatio) return
    const ordinal = blockOrdinal(blocks, entry - chunk)
    const position = ordinal === undefined ? 0 : dataOffset + ordinal * blockSize
    view.setUint32(at, (position % 2 ** 32) + (ordinal === undefined ? BLOCK_STATE.zero : BLOCK_STATE.fullyPresent), true)
    view.setUint32(at + 4, Math.floor(position / 2 ** 32), true)
  })
  return {
    size: plan.fileSize,
    extents: [
      bytesExtent(0, fileIdentifier.encode({ signature: SIGNATURE.file, creator: utf16('kilnix', 'le') })),
      // The header with the higher number is in force.
      ...PLACE.headers.map((place, index) => bytesExtent(place, encodeHeader(plan, { ...identifiers, sequenceNumber: index + 1 }))),
      ...PLACE.regionTables.map((place) => bytesExtent(place, regions)),
      bytesExtent(plan.metadataOffset, encodeMetadata(plan, deriveGuid(options.seed, 'vhdx disk'))),
      bat,
      ...gatheredExtents(image, blocks, blockSize, dataOffset),
    ],
  }
}
