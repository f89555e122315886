/** `kilnix/squashfs` */
export type { ResolvedSquashfsOptions } from '../filesystems/squashfs/format.ts'
export {
  SQUASHFS_DEFAULTS,
  type SquashfsImage,
  type SquashfsOptions,
  type SquashfsPackOptions,
  type SquashfsPlan,
  squashfs,
} from '../filesystems/squashfs/index.ts'
export type {
  PlannedInode as SquashfsInode,
  PlannedInodes as SquashfsInodes,
  PlannedListing as SquashfsListing,
} from '../filesystems/squashfs/plan.ts'
export type { XattrSet } from '../filesystems/squashfs/xattr-sets.ts'
export * from './codecs.ts'
export * from './nodes.ts'
export * from './vocabulary.ts'
