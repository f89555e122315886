/**
 * VMDK, the disk images of VMware: writers of monolithicSparse and streamOptimized ones, and a reader that takes those in several
 * files (flat, split) and changes of a parent too, where the caller gives the files.
 *
 * Not written: zeroed grains, split, flat and ESX kinds. Read neither, and refused: seSparse and COWD extents, raw devices.
 */
import { alignUp } from '../../bytes/align.ts'
import type { BlockRuns } from '../../io/block-runs.ts'
import { entryExtents, gatheredExtents, tableExtent } from '../../io/blocks.ts'
import { bytesExtent, type Extent, type GrowingImage, type Image } from '../../io/image.ts'
import { encodeDescriptor, type VmdkOptions } from './descriptor.ts'
import {
  DESCRIPTOR_OFFSET_SECTORS,
  DESCRIPTOR_SECTORS,
  ENTRIES_PER_TABLE,
  ENTRY_SIZE,
  FLAG,
  GRAIN_SECTORS,
  GRAIN_SIZE,
  header,
  MAGIC,
  NEWLINES,
  SECTOR_SIZE,
  TABLE_SECTORS,
  VERSION,
} from './disk.ts'
import { planSparse } from './plan.ts'
import { packStream, planStream, type VmdkStreamOptions } from './stream.ts'

export { VMDK_DEFAULTS, type VmdkAdapter, type VmdkOptions } from './descriptor.ts'
export { planSparse, type VmdkSparsePlan } from './plan.ts'
export { openVmdk, type VmdkReadOptions } from './read.ts'
export { planStream, VMDK_STREAM_DEFAULTS, type VmdkStreamOptions, type VmdkStreamPlan } from './stream.ts'

/**
 * A monolithicSparse disk; grains of 64 KiB that no extent touches are not allocated. A size that is no multiple of 512
 * is rounded up. Throws LIMIT for more than 2 TiB, USAGE for a file name that the descriptor cannot hold.
 */
export function vmdk(image: Image, options: VmdkOptions): Image {
  const plan = planSparse(image)
  const { grains, overheadSectors, tableCount } = plan
  const record = header.encode({
    magic: MAGIC,
    version: VERSION.sparse,
    flags: FLAG.newlineTest | FLAG.redundantTables,
    capacity: plan.capacitySectors,
    grainSize: GRAIN_SECTORS,
    descriptorOffset: DESCRIPTOR_OFFSET_SECTORS,
    descriptorSize: DESCRIPTOR_SECTORS,
    entriesPerTable: ENTRIES_PER_TABLE,
    redundantDirectoryOffset: plan.redundantDirectorySector,
    directoryOffset: plan.directorySector,
    overhead: overheadSectors,
    newlines: NEWLINES,
  })
  return {
    size: plan.fileSize,
    extents: [
      bytesExtent(0, record),
      bytesExtent(DESCRIPTOR_OFFSET_SECTORS * SECTOR_SIZE, encodeDescriptor('monolithicSparse', plan.capacitySectors, options)),
      ...directoryExtents(plan.redundantDirectorySector, plan.directorySectors, tableCount, grains, overheadSectors),
      ...directoryExtents(plan.directorySector, plan.directorySectors, tableCount, grains, overheadSectors),
      ...gatheredExtents(image, grains, GRAIN_SIZE, overheadSectors * SECTOR_SIZE),
    ],
  }
}

/** A directory at a sector, all its tables in a row behind it, and the entries of grains that hold data. */
function directoryExtents(
  sector: number,
  directorySectors: number,
  tableCount: number,
  grains: BlockRuns,
  firstGrainSector: number,
): Extent[] {
  const firstTable = sector + directorySectors
  const set = (view: DataView, at: number, value: number): void => view.setUint32(at, value, true)
  return [
    tableExtent(sector * SECTOR_SIZE, tableCount, ENTRY_SIZE, (table, view, at) => set(view, at, firstTable + table * TABLE_SECTORS)),
    ...entryExtents(grains, {
      entrySize: ENTRY_SIZE,
      placeOf: ({ first }) => firstTable * SECTOR_SIZE + first * ENTRY_SIZE,
      set: (grain, view, at) => set(view, at, firstGrainSector + grain * GRAIN_SECTORS),
    }),
  ]
}

/**
 * A streamOptimized disk: grains compressed each by itself, those of zeros left out, written strictly in order.
 * Throws what `vmdk` throws, and USAGE for a level out of range; packing throws WORKER_DIED, ABORTED, LIMIT, and what
 * the image and the target throw.
 */
export function vmdkStream(image: Image, options: VmdkStreamOptions): GrowingImage {
  const plan = planStream(image, options)
  return {
    sizeLimit: alignUp(plan.sizeLimit, SECTOR_SIZE),
    pack: (target, start, context) => packStream(image, plan, target, start, context),
  }
}
