/** The part of the option table that is about disks. */
import { CONTAINERS } from '../disks/containers.ts'
import { BOOT_LOADERS, DISK_LAYOUTS } from '../images/disk/names.ts'
import { DISK_PRESETS } from '../images/disk/presets.ts'
import { ZFS_BOOT_LOADERS, ZFS_FORMATS, ZFS_LAYOUTS } from '../images/zfs/names.ts'
import { ZFS_PRESETS } from '../images/zfs/presets.ts'
import type { Option } from './option.ts'
import { choice, path, size, sizeOrAuto, text, uuid } from './values.ts'

const DISK = ['disk'] as const
const DISKS = ['disk', 'zfs', 'convert'] as const
const INSTALLED = ['disk', 'zfs'] as const

/** Names of what can be read, as a sentence has them. */
const READ = CONTAINERS.inputFormats.join(', ').replace(/, ([^,]+)$/, ' or $1')

export const CONVERT_INPUT = {
  input: {
    type: path('IN'),
    group: 'Input',
    commands: ['convert', 'nar dump', 'nar hash', 'nar restore', 'nar ls'],
    required: ['convert', 'nar dump', 'nar hash', 'nar restore', 'nar ls'],
    positional: true,
    configurable: false,
    about: `The disk image to read: ${READ}`,
    variants: {
      'nar dump': { type: path('PATH'), about: 'File, folder or link of the host to dump; with MEMBER a NAR file' },
      'nar hash': { type: path('PATH'), about: 'File, folder or link of the host; - reads a NAR from standard input' },
      'nar restore': { type: path('FILE'), about: 'NAR file; - reads it from standard input' },
      'nar ls': { type: path('FILE'), about: 'NAR file; - reads it from standard input' },
    },
  },
  inputFormat: {
    type: choice(CONTAINERS.inputFormats, 'FORMAT'),
    group: 'Input',
    commands: ['convert'],
    defaultText: 'what the first and last bytes say',
    about: `Format of IN: ${READ}`,
  },
} as const satisfies Record<string, Option>

export const DISK_OPTIONS = {
  preset: {
    type: choice(
      DISK_PRESETS.map(({ name }) => name),
      'NAME',
    ),
    group: 'Image',
    commands: INSTALLED,
    defaultText: 'none',
    about: 'Format, layout and size for a cloud or hypervisor; kilnix presets lists them',
    variants: {
      zfs: {
        type: choice(
          ZFS_PRESETS.map(({ name }) => name),
          'NAME',
        ),
        about: 'Format, layout, sizes and properties for a cloud; kilnix presets lists them',
      },
    },
  },
  format: {
    type: choice(CONTAINERS.outputFormats, 'FORMAT'),
    group: 'Image',
    commands: DISKS,
    defaultText: 'what the ending of FILE says, else raw',
    about: `Container of the disk: ${CONTAINERS.outputFormats.join(', ')}`,
    variants: {
      zfs: { type: choice(ZFS_FORMATS, 'FORMAT'), defaultText: 'raw', about: `Container of each disk: ${ZFS_FORMATS.join(', ')}` },
    },
  },
  layout: {
    type: choice([...DISK_LAYOUTS, ...ZFS_LAYOUTS]),
    group: 'Image',
    commands: INSTALLED,
    defaultText: 'efi',
    about: "Partition table, with nixpkgs' addresses",
    variants: {
      disk: { type: choice(DISK_LAYOUTS) },
      zfs: {
        type: choice(ZFS_LAYOUTS),
        defaultText: 'two-disk',
        about: 'A disk with the EFI system partition and one for the pool alone, which can grow with it; or one disk for both',
      },
    },
  },
  rootFs: {
    type: choice(['ext4', 'squashfs']),
    group: 'Image',
    commands: DISK,
    default: 'ext4',
    about: 'Root file system; squashfs is read-only',
  },
  size: {
    type: sizeOrAuto(1 << 20, 2 ** 50),
    group: 'Image',
    commands: DISK,
    defaultText: 'auto: the content, and what --free says',
    about: 'Size of the disk',
  },
  free: {
    type: size(0, 2 ** 50),
    group: 'Image',
    commands: INSTALLED,
    default: 512 << 20,
    about: 'What stays free on the root of a disk whose size is auto',
    variants: { zfs: { about: 'What stays free in a pool whose --root-size is auto' } },
  },
  espSize: {
    type: size(1 << 20, 2 ** 40),
    group: 'Image',
    commands: DISK,
    default: 256 << 20,
    about: "Where the boot partitions end, as nixpkgs' bootSize says it: 256M make 249 MiB of EFI system partition",
  },
  label: { type: text('TEXT'), group: 'Image', commands: DISK, default: 'nixos', about: 'Label of the root file system' },
  seed: {
    type: text('TEXT'),
    group: 'Image',
    commands: DISKS,
    defaultText: 'the store path of the system, or the name of FILE',
    about: 'Identifiers that are not given are derived from it',
    variants: { zfs: { defaultText: 'the store path of the system' } },
  },
  rootUuid: {
    type: uuid(),
    group: 'Image',
    commands: DISK,
    defaultText: "nixpkgs' own",
    about: 'Of the root partition and its file system',
  },
  diskGuid: { type: uuid(), group: 'Image', commands: DISK, defaultText: 'derived from the seed', about: 'Of the partition table' },
  configuration: {
    type: path('FILE'),
    group: 'Image',
    commands: INSTALLED,
    defaultText: 'none',
    about: 'Text for /etc/nixos/configuration.nix',
    variants: {
      zfs: {
        defaultText: 'the file systems alone',
        about: 'NixOS module that /etc/nixos/configuration.nix imports beside one with the file systems of the pool',
      },
    },
  },
  channel: {
    type: text('PATH'),
    group: 'Image',
    commands: INSTALLED,
    defaultText: 'none',
    about: "Store path of root's channels, in the closure",
  },
} as const satisfies Record<string, Option>

export const DISK_BOOT = {
  bootLoader: {
    type: choice(BOOT_LOADERS),
    group: 'Boot',
    commands: INSTALLED,
    variants: {
      zfs: {
        type: choice(ZFS_BOOT_LOADERS),
        defaultText: 'systemd-boot',
        about: 'What starts the system: systemd-boot with entries or with unified kernel images, or nothing',
      },
    },
    defaultText: 'systemd-boot where the layout has an EFI system partition, else none',
    about: 'What starts the system: systemd-boot with entries or with unified kernel images, or extlinux.conf for U-Boot',
  },
} as const satisfies Record<string, Option>
