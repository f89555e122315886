/** Where everything goes in a monolithicSparse VMDK, and what both kinds have in common. */
import { alignUp, unitsFor } from '../../bytes/align.ts'
import { ImageError } from '../../errors.ts'
import type { BlockRuns } from '../../io/block-runs.ts'
import { blockRuns } from '../../io/blocks.ts'
import type { Image } from '../../io/image.ts'
import {
  DESCRIPTOR_OFFSET_SECTORS,
  DESCRIPTOR_SECTORS,
  ENTRIES_PER_TABLE,
  ENTRY_SIZE,
  GRAIN_SECTORS,
  GRAIN_SIZE,
  SECTOR_LIMIT,
  SECTOR_SIZE,
  TABLE_SECTORS,
} from './disk.ts'

export interface VmdkDisk {
  /** Sectors of the virtual disk: the image's size, rounded up as qemu-img does. */
  readonly capacitySectors: number
  /** Grain tables: one for 512 grains. */
  readonly tableCount: number
  readonly directorySectors: number
  /** Grains that hold data. */
  readonly grains: BlockRuns
}

export interface VmdkSparsePlan extends VmdkDisk {
  readonly redundantDirectorySector: number
  readonly directorySector: number
  /** Sectors before the first grain. */
  readonly overheadSectors: number
  readonly fileSize: number
}

/** Throws LIMIT for a disk of more than 2 TiB. */
export function planDisk(image: Image): VmdkDisk {
  const capacitySectors = unitsFor(image.size, SECTOR_SIZE)
  if (capacitySectors > SECTOR_LIMIT) {
    throw new ImageError(
      'LIMIT',
      `vmdk: the disk has ${image.size} bytes, a sparse extent holds up to ${SECTOR_LIMIT * SECTOR_SIZE} (2 TiB); use qcow2`,
    )
  }
  const tableCount = unitsFor(capacitySectors, GRAIN_SECTORS * ENTRIES_PER_TABLE)
  return {
    capacitySectors,
    tableCount,
    directorySectors: unitsFor(tableCount * ENTRY_SIZE, SECTOR_SIZE),
    grains: blockRuns(image, GRAIN_SIZE),
  }
}

/** Throws LIMIT for a disk, or a file, of more than 2 TiB. */
export function planSparse(image: Image): VmdkSparsePlan {
  const disk = planDisk(image)
  const copySectors = disk.directorySectors + disk.tableCount * TABLE_SECTORS
  const redundantDirectorySector = DESCRIPTOR_OFFSET_SECTORS + DESCRIPTOR_SECTORS
  const directorySector = redundantDirectorySector + copySectors
  const overheadSectors = alignUp(directorySector + copySectors, GRAIN_SECTORS)
  const fileSectors = overheadSectors + disk.grains.blockCount * GRAIN_SECTORS
  if (fileSectors > SECTOR_LIMIT) {
    throw new ImageError('LIMIT', `vmdk: the file would have ${fileSectors} sectors, it can have ${SECTOR_LIMIT} (2 TiB); use qcow2`)
  }
  return { ...disk, redundantDirectorySector, directorySector, overheadSectors, fileSize: fileSectors * SECTOR_SIZE }
}
