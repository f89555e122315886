import { basename } from 'node:path'
import { CONTAINERS } from '../../disks/containers.ts'
import { BOOT_LOADERS, DISK_LAYOUTS } from '../../images/disk/names.ts'
import { DISK_PRESETS } from '../../images/disk/presets.ts'
import { imageCommand } from '../command.ts'
import { configurationFile, storeInput } from '../input.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { choice, flag, path, size, sizeOrAuto, text, uuid } from '../values.ts'

export default imageCommand({
  name: 'disk',
  writes: 'image',
  help: {
    summary: 'Write a disk image with the system installed on it',
    usage: 'kilnix disk PATH|--closure CLOSURE -o FILE [options]',
    examples: [
      { about: 'For QEMU with OVMF', line: 'kilnix disk --closure ./closure-info -o nixos.qcow2' },
      {
        about: 'For a cloud; kilnix presets lists what there is',
        line: 'kilnix disk --closure ./closure-info --preset azure -o nixos.vhd',
      },
      {
        about: 'Of 8 GiB, with a file of its own',
        line: 'kilnix disk --closure ./closure-info --size 8G --add /root/.ssh/authorized_keys=./keys:0600 -o nixos.img',
      },
    ],
  },
  rows: {
    ...rows.SYSTEM,
    provenance: rows.PROVENANCE,
    output: rows.FILE,
    force: rows.FORCE,
    ...rows.DRY_RUN,
    compression: rows.CONTAINER_COMPRESSION,
    jobs: rows.JOBS,
    memory: rows.MEMORY,
    kernelParams: rows.KERNEL_PARAMS,
    ...rows.INITRD_SECRETS,
    timeoutSeconds: rows.TIMEOUT,
    bootLoader: row({
      type: choice(BOOT_LOADERS),
      group: 'Boot',
      defaultText: 'systemd-boot where the layout has an EFI system partition, else none',
      about: 'What starts the system: systemd-boot with entries or with unified kernel images, or extlinux.conf for U-Boot',
    }),
    preset: row({
      type: choice(
        DISK_PRESETS.map(({ name }) => name),
        'NAME',
      ),
      group: 'Image',
      defaultText: 'none',
      about: 'Format, layout and size for a cloud or hypervisor; kilnix presets lists them',
    }),
    format: row({
      type: choice(CONTAINERS.outputFormats, 'FORMAT'),
      group: 'Image',
      defaultText: 'what the ending of FILE says, else raw',
      about: `Container of the disk: ${CONTAINERS.outputFormats.join(', ')}`,
    }),
    layout: row({
      type: choice(DISK_LAYOUTS),
      group: 'Image',
      defaultText: 'efi',
      about: "Partition table, with nixpkgs' addresses",
    }),
    rootFileSystem: row({
      type: choice(['ext4', 'squashfs']),
      group: 'Image',
      flag: 'root-fs',
      default: 'ext4',
      about: 'Root file system; squashfs is read-only',
    }),
    size: row({
      type: sizeOrAuto(1 << 20, 2 ** 50),
      group: 'Image',
      defaultText: 'auto: the content, and what --free says',
      about: 'Size of the disk',
    }),
    freeSize: rows.FREE_SIZE,
    espSize: row({
      type: size(1 << 20, 2 ** 40),
      group: 'Image',
      default: 256 << 20,
      about: "Where the boot partitions end, as nixpkgs' bootSize says it: 256M make 249 MiB of EFI system partition",
    }),
    sectorSize: rows.SECTOR_SIZE,
    ...rows.MACHINE,
    label: row({ type: text('TEXT'), group: 'Image', default: 'nixos', about: 'Label of the root file system' }),
    seed: rows.SEED,
    rootUuid: row({
      type: uuid(),
      group: 'Image',
      defaultText: "nixpkgs' own",
      about: 'Of the root partition and its file system',
    }),
    diskGuid: row({ type: uuid(), group: 'Image', defaultText: 'derived from the seed', about: 'Of the partition table' }),
    discoverableRoot: row({
      type: flag(),
      group: 'Image',
      default: false,
      about: 'Give the root the partition type of its CPU, by which systemd-repart grows it (Discoverable Partitions Specification)',
    }),
    configuration: row({
      type: path('FILE'),
      group: 'Image',
      defaultText: 'none',
      about: 'Text for /etc/nixos/configuration.nix',
    }),
    channel: rows.CHANNEL,
    add: rows.ADD_OWNED,
    mtimeSeconds: rows.MTIME,
    ...rows.BUILDING,
  },
  check: ({ add }) => rows.checkTargets(add),
  async make(given, context) {
    const { disk } = await import('../../images/disk/index.ts')
    const { output, configuration } = given
    return disk({
      ...(output !== '-' && { fileName: basename(output) }),
      ...given,
      ...configurationFile(configuration),
      ...storeInput(given, context),
    })
  },
})
