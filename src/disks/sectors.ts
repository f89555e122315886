/** The sectors in which a disk is addressed. */
import { ImageError } from '../errors.ts'
import type { Image } from '../io/image.ts'

export const SECTOR_SIZES = [512, 4096] as const

/** Bytes of a logical sector. */
export type SectorSize = (typeof SECTOR_SIZES)[number]

export const DEFAULT_SECTOR_SIZE: SectorSize = 512

/** A disk: its bytes, and the unit in which a machine counts them. */
export interface DiskImage extends Image {
  /** Default 512. */
  readonly sectorSize?: SectorSize
}

/** Throws USAGE for a size that no disk has. */
export function checkSectorSize(size: number): asserts size is SectorSize {
  if (SECTOR_SIZES.some((known) => known === size)) return
  throw new ImageError('USAGE', (option) => `${option('sectorSize')} is ${size} bytes; give ${SECTOR_SIZES.join(' or ')}`)
}
