/** What can be asked for by name; apart, so that a command's help need not load the formats. */

/** See `layout.ts`. */
export const DISK_LAYOUTS = ['efi', 'efixbootldr', 'hybrid', 'legacy+gpt', 'legacy', 'legacy+boot', 'none'] as const

export type DiskLayout = (typeof DISK_LAYOUTS)[number]

/** See `boot.ts`. */
export const BOOT_LOADERS = ['systemd-boot', 'uki', 'extlinux', 'none'] as const

export type BootLoader = (typeof BOOT_LOADERS)[number]
