import { basename } from 'node:path'
import { isOneFile, oneFileFormat, ZFS_BOOT_LOADERS, ZFS_FORMATS, ZFS_LAYOUTS, type ZfsFormat } from '../../images/zfs/names.ts'
import { ZFS_PRESETS } from '../../images/zfs/presets.ts'
import { folderCommand } from '../command.ts'
import { configurationFile, storeInput } from '../input.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { choice, flag, path, sizeOrAuto, text } from '../values.ts'
import { dataset, property, snapshot } from '../values-zfs.ts'

/** The container of all disks in one file, where one is asked for. */
function oneFile({ format, output }: { readonly format?: ZfsFormat; readonly output: string }): ZfsFormat | undefined {
  if (format === undefined) return oneFileFormat(basename(output))
  return isOneFile(format) ? format : undefined
}

export default folderCommand({
  name: 'zfs',
  writes: 'folder',
  help: {
    summary: 'Write a boot disk and a disk with a ZFS pool, with the system installed on its datasets',
    usage: 'kilnix zfs PATH|--closure CLOSURE -o DIR [options]',
    examples: [
      {
        about: 'DIR/nixos.boot.img and DIR/nixos.root.img; datasets as the system mounts them',
        line: 'kilnix zfs --closure ./closure-info -o disks',
      },
      {
        about: 'With datasets of its own, and a root to roll back to at each boot',
        line: 'kilnix zfs --closure ./closure-info --dataset tank/root:/ --dataset tank/nix:/nix,compression=zstd-19 --snapshot tank/root@blank -o disks',
      },
      {
        about: 'One disk, as large as it has to be',
        line: 'kilnix zfs --closure ./closure-info --layout single-disk --boot-size auto --root-size auto --format qcow2 -o disks',
      },
      { about: 'Both disks in one appliance', line: 'kilnix zfs --closure ./closure-info -o nixos.ova' },
    ],
  },
  rows: {
    ...rows.SYSTEM,
    provenance: rows.PROVENANCE,
    output: row({ ...rows.FOLDER, about: 'Folder to write; of ova the file, or - for standard output' }),
    force: rows.FORCE_FOLDER,
    ...rows.DRY_RUN,
    compression: rows.CONTAINER_COMPRESSION,
    jobs: rows.JOBS,
    memory: rows.MEMORY,
    kernelParams: rows.KERNEL_PARAMS,
    ...rows.INITRD_SECRETS,
    timeoutSeconds: rows.TIMEOUT,
    bootLoader: row({
      type: choice(ZFS_BOOT_LOADERS),
      group: 'Boot',
      defaultText: 'systemd-boot',
      about: 'What starts the system: systemd-boot with entries or with unified kernel images, or nothing',
    }),
    preset: row({
      type: choice(
        ZFS_PRESETS.map(({ name }) => name),
        'NAME',
      ),
      group: 'Image',
      defaultText: 'none',
      about: 'Format, layout, sizes and properties for a cloud; kilnix presets lists them',
    }),
    format: row({
      type: choice(ZFS_FORMATS, 'FORMAT'),
      group: 'Image',
      defaultText: 'ova where the name of the output ends so, else raw',
      about: `Container of each disk: ${ZFS_FORMATS.join(', ')}; ova is one file with all of them`,
    }),
    layout: row({
      type: choice(ZFS_LAYOUTS),
      group: 'Image',
      defaultText: 'two-disk',
      about: 'A disk with the EFI system partition and one for the pool alone, which can grow with it; or one disk for both',
    }),
    sectorSize: rows.SECTOR_SIZE,
    ...rows.MACHINE,
    freeSize: row({ ...rows.FREE_SIZE, about: 'What stays free in a pool whose --root-size is auto' }),
    seed: row({ ...rows.SEED, defaultText: 'the store path of the system' }),
    configuration: row({
      type: path('FILE'),
      group: 'Image',
      defaultText: 'the file systems alone',
      about: 'NixOS module that /etc/nixos/configuration.nix imports beside one with the file systems of the pool',
    }),
    channel: rows.CHANNEL,
    pool: row({
      type: text('NAME'),
      group: 'Image',
      defaultText: "that of the datasets, or of the system's root in its fstab, else tank",
      about: 'Name of the pool',
    }),
    bootSize: row({
      type: sizeOrAuto(1 << 20, 2 ** 40),
      group: 'Image',
      defaultText: '1G',
      about: 'Size of the boot disk, or where the pool begins on a single disk; auto: room for the boot files twice',
    }),
    rootSize: row({
      type: sizeOrAuto(1 << 20, 2 ** 46),
      group: 'Image',
      defaultText: '2G',
      about: 'Size of the root disk, or of what a single disk has beside --boot-size; auto: the content and what --free says',
    }),
    datasets: row({
      type: dataset(),
      group: 'Image',
      flag: 'dataset',
      repeatable: true,
      defaultText:
        "what the system's fstab mounts, else NAME/system/root on /, NAME/system/var on /var, NAME/local/nix on /nix and NAME/user/home on /home",
      about: 'A dataset, where its part of the system is mounted, and its properties; parents are made',
    }),
    snapshots: row({
      type: snapshot(),
      group: 'Image',
      flag: 'snapshot',
      repeatable: true,
      about:
        'A snapshot of a dataset before anything is in it, to which a system can be rolled back at each boot; or =populated, as it is in the image',
    }),
    poolProperties: row({
      type: property('NAME=VALUE'),
      group: 'Image',
      flag: 'pool-prop',
      repeatable: true,
      about: 'Property of the pool, as zpool create -o takes it; autoexpand is on by itself',
    }),
    fileSystemProperties: row({
      type: property('NAME=VALUE'),
      group: 'Image',
      flag: 'fs-prop',
      repeatable: true,
      about:
        'Property that all datasets inherit, as zpool create -O takes it; acltype=posixacl, atime=off, compression=on, mountpoint=legacy and xattr=sa are there by themselves',
    }),
    parity: row({
      type: flag(),
      group: 'Image',
      default: false,
      about: "Give the partitions the types that nixpkgs' images have, which mark no EFI system partition",
    }),
    add: rows.ADD_OWNED,
    mtimeSeconds: row({
      ...rows.MTIME,
      about: 'Time of the pool and of all files that are not from the store: seconds since 1970, or a date in UTC',
    }),
    ...rows.BUILDING,
  },
  check: ({ add }) => rows.checkTargets(add),
  writesImage: (given) => oneFile(given) !== undefined,
  async make(given, context) {
    const { zfs } = await import('../../images/zfs/index.ts')
    const { configuration, poolProperties = [], fileSystemProperties = [], output } = given
    const format = oneFile(given)
    return zfs({
      ...given,
      ...(format !== undefined && { format, ...(output !== '-' && { fileName: basename(output) }) }),
      poolProperties: Object.fromEntries(poolProperties),
      fileSystemProperties: Object.fromEntries(fileSystemProperties),
      ...configurationFile(configuration),
      ...storeInput(given, context),
    })
  },
  summary: ({ plan }) => `pool ${plan.pool}, ${plan.pathCount} store paths`,
})
