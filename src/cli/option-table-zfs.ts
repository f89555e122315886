/** The part of the option table that is about pools. */
import type { Option } from './option.ts'
import { flag, sizeOrAuto, text } from './values.ts'
import { dataset, property, snapshot } from './values-zfs.ts'

const ZFS = ['zfs'] as const

export const ZFS_OPTIONS = {
  pool: {
    type: text('NAME'),
    group: 'Image',
    commands: ZFS,
    defaultText: "that of the datasets, or of the system's root in its fstab, else tank",
    about: 'Name of the pool',
  },
  bootSize: {
    type: sizeOrAuto(1 << 20, 2 ** 40),
    group: 'Image',
    commands: ZFS,
    defaultText: '1G',
    about: 'Size of the boot disk, or where the pool begins on a single disk; auto: room for the boot files twice',
  },
  rootSize: {
    type: sizeOrAuto(1 << 20, 2 ** 46),
    group: 'Image',
    commands: ZFS,
    defaultText: '2G',
    about: 'Size of the root disk, or of what a single disk has beside --boot-size; auto: the content and what --free says',
  },
  dataset: {
    type: dataset(),
    group: 'Image',
    commands: ZFS,
    repeatable: true,
    default: [],
    defaultText:
      "what the system's fstab mounts, else NAME/system/root on /, NAME/system/var on /var, NAME/local/nix on /nix and NAME/user/home on /home",
    about: 'A dataset, where its part of the system is mounted, and its properties; parents are made',
  },
  snapshot: {
    type: snapshot(),
    group: 'Image',
    commands: ZFS,
    repeatable: true,
    default: [],
    about:
      'A snapshot of a dataset before anything is in it, to which a system can be rolled back at each boot; or =populated, as it is in the image',
  },
  poolProp: {
    type: property('NAME=VALUE'),
    group: 'Image',
    commands: ZFS,
    repeatable: true,
    default: [],
    about: 'Property of the pool, as zpool create -o takes it; autoexpand is on by itself',
  },
  fsProp: {
    type: property('NAME=VALUE'),
    group: 'Image',
    commands: ZFS,
    repeatable: true,
    default: [],
    about:
      'Property that all datasets inherit, as zpool create -O takes it; acltype=posixacl, atime=off, compression=on, mountpoint=legacy and xattr=sa are there by themselves',
  },
  parity: {
    type: flag(),
    group: 'Image',
    commands: ZFS,
    default: false,
    about: "Give the partitions the types that nixpkgs' images have, which mark no EFI system partition",
  },
} as const satisfies Record<string, Option>
