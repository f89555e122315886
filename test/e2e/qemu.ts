/**
 * Boots an image, a disk in a container, a kernel, or a folder of the network in QEMU. Nothing that it is given is ever
 * written to, but a disk that is booted without `snapshot`.
 * SeaBIOS starts machine `pc`, OVMF starts machine `q35` with a private copy of its variables.
 */
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type BootResult, type MachineOptions, runMachine } from './machine.ts'

const OVMF_CODE = '/usr/share/OVMF/OVMF_CODE_4M.fd'
const OVMF_VARIABLES = '/usr/share/OVMF/OVMF_VARS_4M.fd'
/** Where a machine of QEMU's user network sees the loopback interface of its host. */
const HOST_SEEN_FROM_MACHINE = '10.0.2.2'

export type Firmware = 'bios' | 'uefi'
/** How the machine sees the image: in a CD-ROM drive, as a USB stick, or as a virtio disk. */
export type Media = 'cdrom' | 'usb' | 'virtio'

export interface BootOptions extends MachineOptions {
  readonly firmware: Firmware
  readonly media: Media
}

/** Boot `image`, raw as an ISO or a disk. */
export function bootImage(image: string, options: BootOptions): Promise<BootResult> {
  const { firmware, media } = options
  const describe = async (folder: string): Promise<string[]> => [
    ...(await startedBy(firmware, folder)),
    ...['-nic', 'none'],
    ...attach(media, firmware, escaped(image)),
  ]
  return runMachine(describe, options)
}

export interface DiskBootOptions extends MachineOptions {
  /** The container, by QEMU's name. */
  readonly format: 'raw' | 'qcow2' | 'vdi' | 'vpc' | 'vhdx' | 'vmdk'
  readonly bus: DiskBus
  /** Bytes; default 512. */
  readonly sectorSize?: 512 | 4096
  /** What the machine writes is forgotten; otherwise it goes into the file. */
  readonly snapshot: boolean
}

export type DiskBus = 'virtio' | 'ata' | 'nvme'

/** Of the disk with that number, from 0 on. */
const DISK_DEVICES: Readonly<Record<DiskBus, (index: number) => string>> = {
  virtio: () => 'virtio-blk-pci',
  ata: (index) => `ide-hd,bus=ide.${index}`,
  nvme: (index) => `nvme,serial=kilnix${index}`,
}

/** Boot an installed disk by OVMF, which finds the boot program by its default name: the machine has never seen the disk. */
export function bootDisk(file: string, options: DiskBootOptions): Promise<BootResult> {
  return bootDisks([file], options)
}

/** The same with several disks, of which the first one has the boot program. */
export function bootDisks(files: readonly string[], options: DiskBootOptions): Promise<BootResult> {
  const { format, bus, snapshot, sectorSize = 512 } = options
  const sectors = sectorSize === 512 ? '' : `,logical_block_size=${sectorSize},physical_block_size=${sectorSize}`
  const disks = files.flatMap((file, index) => [
    ...['-drive', `if=none,id=disk${index},format=${format},snapshot=${snapshot ? 'on' : 'off'},file=${escaped(file)}`],
    ...['-device', `${DISK_DEVICES[bus](index)},drive=disk${index},bootindex=${index}${sectors}`],
  ])
  const describe = async (folder: string): Promise<string[]> => [...(await startedBy('uefi', folder)), '-nic', 'none', ...disks]
  return runMachine(describe, options)
}

export interface KernelToBoot {
  readonly kernel: string
  readonly initrd: string
  readonly commandLine: string
}

/** Boot a kernel that QEMU itself puts into memory. */
export function bootKernel({ kernel, initrd, commandLine }: KernelToBoot, options: MachineOptions): Promise<BootResult> {
  const system = ['-kernel', kernel, '-initrd', initrd, '-append', commandLine]
  return runMachine(async (folder) => [...(await startedBy('bios', folder)), '-nic', 'none', ...system], options)
}

/** A script in a folder that QEMU serves by TFTP; or the URL of one, which the host serves by HTTP at 127.0.0.1. */
export type NetworkSource = { readonly tftpFolder: string; readonly script: string } | { readonly url: string }

export interface NetworkBootOptions extends MachineOptions {
  readonly firmware: Firmware
  /** Each has an iPXE of its own in its ROM. */
  readonly card: 'e1000' | 'virtio-net-pci'
}

/** Boot from the network by the iPXE in the network card's ROM. QEMU's user network: the machine needs no host beyond this one. */
export function bootNetwork(source: NetworkSource, options: NetworkBootOptions): Promise<BootResult> {
  const { firmware, card } = options
  const network = ['-netdev', `user,id=network,${served(source)}`, '-device', `${card},netdev=network,bootindex=0`]
  return runMachine(async (folder) => [...(await startedBy(firmware, folder)), ...network], options)
}

function served(source: NetworkSource): string {
  // Cut off from the host too: QEMU is the TFTP server.
  if ('tftpFolder' in source) return `restrict=on,tftp=${escaped(source.tftpFolder)},bootfile=${source.script}`
  const url = new URL(source.url)
  if (url.hostname !== '127.0.0.1') throw new Error(`${source.url}: machines boot from a server at 127.0.0.1 only`)
  url.hostname = HOST_SEEN_FROM_MACHINE
  return `bootfile=${escaped(url.href)}`
}

async function startedBy(firmware: Firmware, folder: string): Promise<string[]> {
  if (firmware === 'bios') return ['-machine', 'pc']
  const variables = join(folder, 'variables.fd')
  await copyFile(OVMF_VARIABLES, variables)
  return [
    ['-machine', 'q35'],
    ['-drive', `if=pflash,format=raw,readonly=on,file=${OVMF_CODE}`],
    ['-drive', `if=pflash,format=raw,file=${variables}`],
  ].flat()
}

function attach(media: Media, firmware: Firmware, image: string): string[] {
  const disk = ['-drive', `if=none,id=image,format=raw,snapshot=on,file=${image}`]
  switch (media) {
    case 'cdrom': {
      const bus = firmware === 'bios' ? 'ide.1' : 'ide.0'
      return [
        ['-drive', `if=none,id=image,format=raw,media=cdrom,readonly=on,file=${image}`],
        ['-device', `ide-cd,bus=${bus},drive=image,bootindex=0`],
      ].flat()
    }
    case 'usb':
      return [...disk, '-device', 'qemu-xhci,id=xhci', '-device', 'usb-storage,bus=xhci.0,drive=image,removable=on,bootindex=0']
    case 'virtio':
      return [...disk, '-device', 'virtio-blk-pci,drive=image,bootindex=0']
  }
}

/** A comma ends a value of QEMU's options. */
const escaped = (value: string): string => value.replaceAll(',', ',,')
