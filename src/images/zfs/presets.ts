/** What clouds take, after the ZFS images of nixpkgs (`amazon-image.nix` with `ec2.zfs.enable`, `openstack-image-zfs.nix`). */
import { MEBIBYTE } from '../../bytes/units.ts'
import { namedPreset } from '../named-preset.ts'
import type { ZfsFormat, ZfsLayout } from './names.ts'

export interface ZfsPreset {
  readonly name: string
  readonly format: ZfsFormat
  readonly layout: ZfsLayout
  /** Bytes. */
  readonly bootSize: number
  readonly rootSize: number
  readonly poolProperties: Readonly<Record<string, string>>
  /** One line. */
  readonly about: string
}

export const ZFS_PRESETS: readonly ZfsPreset[] = [
  {
    name: 'amazon-zfs',
    format: 'vhd',
    layout: 'two-disk',
    // The smallest volume of EBS has 1 GiB, to which these are rounded up.
    bootSize: 1000 * MEBIBYTE,
    rootSize: 4096 * MEBIBYTE,
    poolProperties: { ashift: '12', autoexpand: 'on' },
    about: 'Amazon EC2 with a ZFS root: import both disks as snapshots, boot mode uefi',
  },
  {
    name: 'openstack-zfs',
    format: 'qcow2',
    layout: 'single-disk',
    bootSize: 1000 * MEBIBYTE,
    rootSize: 8192 * MEBIBYTE,
    poolProperties: { ashift: '12', autoexpand: 'on' },
    about: 'OpenStack Glance with a ZFS root, with hw_firmware_type=uefi',
  },
]

/** Throws USAGE for a name that none has. */
export function zfsPreset(name: string): ZfsPreset {
  return namedPreset(ZFS_PRESETS, name)
}
