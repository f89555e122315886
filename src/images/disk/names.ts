/** What can be asked for by name; apart, so that a command's help need not load the formats. */

/** Containers that can be written. */
export const OUTPUT_FORMATS = [
  'raw',
  'qcow2',
  'qcow2-compressed',
  'vdi',
  'vhd',
  'vhd-fixed',
  'vhdx',
  'vmdk',
  'vmdk-stream',
  'ova',
  'raw.tar.gz',
] as const

export type OutputFormat = (typeof OUTPUT_FORMATS)[number]

/** See `layout.ts`. */
export const DISK_LAYOUTS = ['efi', 'efixbootldr', 'hybrid', 'legacy+gpt', 'legacy', 'legacy+boot', 'none'] as const

export type DiskLayout = (typeof DISK_LAYOUTS)[number]

/** See `boot.ts`. */
export const BOOT_LOADERS = ['systemd-boot', 'uki', 'extlinux', 'none'] as const

export type BootLoader = (typeof BOOT_LOADERS)[number]
