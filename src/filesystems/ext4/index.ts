/**
 * ext4 as mke2fs 1.47 makes it on Debian: 4 KiB blocks, 256-byte inodes, extents, 64-bit descriptors, checksums
 * of all metadata, flexible groups of 16, hashed directories, a journal, and room to grow a thousandfold.
 * After the Linux kernel's Documentation/filesystems/ext4 and e2fsprogs.
 *
 * Not supported: reading; other block and inode sizes; file systems of 16 TiB and more; the features
 * metadata_csum_seed and orphan_file (Debian leaves them out, as older kernels and GRUB do not know them),
 * inline_data, bigalloc, ea_inode, large_dir, quota, project, casefold, encrypt and verity; journals on
 * other devices. Refused: extended attributes that ext4 does not have (other than user., trusted., security.
 * and POSIX access control lists), or that do not fit in the inode and one block; a root entry `lost+found`
 * that is no directory.
 * Chosen: access, change and creation times are the modification time; generation numbers are 0; names are
 * hashed as signed characters, as on x86.
 */
import type { Image } from '../../io/image.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import { ext4Extents } from './emit.ts'
import type { Ext4Options } from './options.ts'
import { type Ext4Plan, planExt4 } from './plan.ts'

export { EXT4_DEFAULTS, type Ext4Options } from './options.ts'
export { type Ext4Plan, planExt4 } from './plan.ts'

export interface Ext4Image extends Image {
  readonly plan: Ext4Plan
}

/**
 * An ext4 file system that holds `root`; a `lost+found` is added. Metadata is made when its extent is read, and
 * host files are read then.
 *
 * Throws what `planExt4` throws; reading throws UNREADABLE for a file that cannot be read and CHANGED for one
 * that is not as its node says.
 */
export function ext4(root: DirectoryNode, options: Ext4Options): Ext4Image {
  const plan = planExt4(root, options)
  return { size: plan.size, extents: ext4Extents(plan), plan }
}
