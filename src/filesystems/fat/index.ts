/**
 * FAT12, FAT16 and FAT32 with long names, after Microsoft's fatgen103 (version 1.03).
 *
 * Not supported, and refused: symbolic links, devices, pipes, extended attributes; names that are not
 * UTF-8, hold control characters or one of "*\/:<>?\|, end with a dot or a blank, or differ from another
 * in case only; clusters above 32 KiB; sectors of other than 512 or 4096 bytes.
 * Not kept, since FAT has no place for it: owners and permissions (no file is read-only: what updates an
 * ESP must be able to write it), times outside of 1980 to 2107 (the nearest one is taken; all are UTC,
 * even numbers of seconds), and hard links (each name has a copy of its own).
 */
import type { Image } from '../../io/image.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import { fatExtents } from './emit.ts'
import { type FatOptions, planFat } from './plan.ts'

export type { FatType } from './disk.ts'
export type { FatGeometry } from './geometry.ts'
export { FAT_DEFAULTS, type FatOptions, type FatPlan, fileOffset, type PlannedDirectory, type PlannedFile, planFat } from './plan.ts'

/**
 * A FAT volume that holds `root`. Everything but file contents is in memory; host files are read when
 * their extent is.
 *
 * Throws what `planFat` throws; reading throws UNREADABLE for a file that cannot be read and CHANGED
 * for one that has another size than its node says.
 */
export function fat(root: DirectoryNode, options: FatOptions = {}): Image {
  const plan = planFat(root, options)
  return { size: plan.size, extents: fatExtents(plan) }
}
