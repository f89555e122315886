/** What can be asked for by name; apart, so that a command's help need not load the formats. */
import { CONTAINERS, type PoolFormat } from '../../disks/containers.ts'
import { innerName } from '../endings.ts'

/**
 * - `two-disk`: a small disk with the EFI system partition, and a whole disk for the pool, which can grow with it
 *   (nixpkgs' make-multi-disk-zfs-image)
 * - `single-disk`: both on one disk (make-single-disk-zfs-image)
 */
export const ZFS_LAYOUTS = ['two-disk', 'single-disk'] as const

export type ZfsLayout = (typeof ZFS_LAYOUTS)[number]

export const ZFS_FORMATS = CONTAINERS.poolFormats

export type ZfsFormat = PoolFormat

/** Whether the container holds all disks in one file, which then has any name. */
export function isOneFile(format: ZfsFormat): boolean {
  return CONTAINERS.severalFormats.some((name) => name === format)
}

/** The container of one file with all disks that a name asks for by its ending, or undefined. */
export function oneFileFormat(fileName: string): ZfsFormat | undefined {
  const asked = CONTAINERS.formatOfName(innerName(fileName))
  return ZFS_FORMATS.find((format) => format === asked && isOneFile(format))
}

/** nixpkgs' names: `nixos.boot.img`, `nixos.root.qcow2`. */
export function zfsFileName(disk: 'boot' | 'root', format: ZfsFormat): string {
  return CONTAINERS.fileName(`nixos.${disk}`, format)
}

/** All that any run may have written. */
export const ZFS_FILE_NAMES: readonly string[] = (['boot', 'root'] as const).flatMap((disk) => [
  ...new Set(ZFS_FORMATS.filter((format) => !isOneFile(format)).map((format) => zfsFileName(disk, format))),
])

export const ZFS_BOOT_LOADERS = ['systemd-boot', 'uki', 'none'] as const

export type ZfsBootLoader = (typeof ZFS_BOOT_LOADERS)[number]
