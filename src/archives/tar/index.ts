/**
 * tar: POSIX ustar with pax headers where ustar cannot hold a value, or the format of GNU tar (oldgnu).
 *
 * The archive depends on the tree alone: entries by bytes, depth first; owners by number, without names; pax
 * headers with a fixed name, time 0 and only the records that are needed. The root itself is no member. Names
 * and link targets stand as the bytes they are; pax records of names that are not UTF-8 say so (`hdrcharset`).
 * A number for which there is a pax record also stands in its field, in base 256, for readers that skip pax
 * headers.
 *
 * Not supported, and refused: sockets; device numbers above 2097151; extended attributes with '=' or '%' in
 * their names, and any of them in GNU's format. Not written: sparse files (holes are zeros), ACLs other than as
 * extended attributes, user and group names, fractions of seconds.
 */
import type { Image } from '../../io/image.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import { tarExtents } from './emit.ts'
import { planTar, type TarOptions, type TarPlan } from './plan.ts'

export type { TarFormat } from './disk.ts'
export { planTar, TAR_DEFAULTS, type TarMember, type TarOptions, type TarPlan } from './plan.ts'

export interface TarImage extends Image {
  readonly plan: TarPlan
}

/**
 * An archive of what `root` holds. Headers are made, and host files read, when their extent is.
 *
 * Throws what `planTar` throws, and USAGE for content in memory that has another size than its node says;
 * reading throws UNREADABLE, and CHANGED for a file that has another size than its node says.
 *
 * Source: POSIX.1-2024, pax, "Extended Description"; GNU tar manual, "Tar Internals".
 */
export function tar(root: DirectoryNode, options: TarOptions = {}): TarImage {
  const plan = planTar(root, options)
  return { plan, size: plan.size, extents: tarExtents(plan) }
}
