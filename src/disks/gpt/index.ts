/**
 * GUID partition tables (UEFI 2.10, chapter 5): whole disks made of partition images, and the records
 * alone for formats that lay out their own disk.
 *
 * Not supported: partition names beyond 36 UTF-16 units, more than 128 partitions, sector sizes other
 * than 512 and 4096, hybrid MBRs with further real entries.
 */
import { bytesExtent, type Extent, moveExtent } from '../../io/image.ts'
import { protectiveMbr } from '../mbr/index.ts'
import type { DiskImage } from '../sectors.ts'
import { type GptOptions, type GptPartition, type GptPlan, planGpt } from './plan.ts'
import { gptTables, PRIMARY_ARRAY_SECTOR } from './records.ts'

export { ATTRIBUTE, PARTITION_TYPE_GUID, ROOT_TYPE_GUID } from './disk.ts'
export { GPT_DEFAULTS, type GptOptions, type GptPartition, type GptPlan, planGpt } from './plan.ts'
export { gptSectorSize } from './probe.ts'
export { entryArraySectors, type GptEntry, type GptTableOptions, type GptTables, gptTables, PRIMARY_ARRAY_SECTOR } from './records.ts'

/** A disk with `partitions`, whose entries are in the order given. Throws what `planGpt` throws. */
export function gpt(partitions: readonly GptPartition[], options: GptOptions): DiskImage {
  const plan = planGpt(partitions, options)
  const { sectorSize, diskSectorCount } = plan
  const tables = gptTables(plan)
  const bootRecord = protectiveMbr({
    diskSectorCount,
    ...(options.bootCode === undefined ? {} : { bootCode: options.bootCode }),
    ...(options.forceBootable === undefined ? {} : { forceBootable: options.forceBootable }),
  })
  return {
    size: diskSectorCount * sectorSize,
    sectorSize,
    extents: [
      bytesExtent(0, bootRecord),
      bytesExtent(sectorSize, tables.primaryHeader),
      bytesExtent(PRIMARY_ARRAY_SECTOR * sectorSize, tables.entryArray),
      ...partitionExtents(partitions, plan),
      bytesExtent(tables.backupArraySector * sectorSize, tables.entryArray),
      bytesExtent((diskSectorCount - 1) * sectorSize, tables.backupHeader),
    ],
  }
}

/** By place on the disk, which need not be the order of the entries. */
function partitionExtents(partitions: readonly GptPartition[], { entries, sectorSize }: GptPlan): Extent[] {
  return partitions
    .map(({ image }, index) => ({ image, start: (entries[index]?.startSector ?? 0) * sectorSize }))
    .sort((a, b) => a.start - b.start)
    .flatMap(({ image, start }) => image.extents.map((extent) => moveExtent(extent, start)))
}
