/** What can be asked for by name; apart, so that a command's help need not load the formats. */
import { CONTAINERS, type PoolFormat } from '../../disks/containers.ts'

/**
 * - `two-disk`: a small disk with the EFI system partition, and a whole disk for the pool, which can grow with it
 *   (nixpkgs' make-multi-disk-zfs-image)
 * - `single-disk`: both on one disk (make-single-disk-zfs-image)
 */
export const ZFS_LAYOUTS = ['two-disk', 'single-disk'] as const

export type ZfsLayout = (typeof ZFS_LAYOUTS)[number]

export const ZFS_FORMATS = CONTAINERS.poolFormats

export type ZfsFormat = PoolFormat

/** nixpkgs' names: `nixos.boot.img`, `nixos.root.qcow2`. */
export function zfsFileName(disk: 'boot' | 'root', format: ZfsFormat): string {
  return CONTAINERS.fileName(`nixos.${disk}`, format)
}

/** All that any run may have written. */
export const ZFS_FILE_NAMES: readonly string[] = (['boot', 'root'] as const).flatMap((disk) => [
  ...new Set(ZFS_FORMATS.map((format) => zfsFileName(disk, format))),
])

export const ZFS_BOOT_LOADERS = ['systemd-boot', 'uki', 'none'] as const

export type ZfsBootLoader = (typeof ZFS_BOOT_LOADERS)[number]
