/**
 * The recipe of disk images: an installed system on its root, what starts it on an EFI system partition, in one of
 * nixpkgs' partition tables, in any container.
 *
 * Not supported: boot programs for BIOS, whose partition stays empty; root file systems other than ext4 and squashfs;
 * encryption, swap, further partitions; more than one generation.
 */

import { GENERATION_DEFAULTS } from '../../boot/generation.ts'
import { alignUp } from '../../bytes/align.ts'
import { deriveGuid, guidFromText, guidToText } from '../../bytes/guid.ts'
import { MEBIBYTE } from '../../bytes/units.ts'
import type { CodecSpec } from '../../codecs/codec.ts'
import type { Container } from '../../disks/container.ts'
import { CONTAINERS, type OutputFormat } from '../../disks/containers.ts'
import { PARTITION_TYPE_GUID, ROOT_TYPE_GUID } from '../../disks/gpt/index.ts'
import { type MachineOptions, machineOf } from '../../disks/machine.ts'
import { checkSectorSize, DEFAULT_SECTOR_SIZE, type DiskImage, type SectorSize } from '../../disks/sectors.ts'
import { ImageError } from '../../errors.ts'
import { type Ext4Image, type Ext4Options, ext4 } from '../../filesystems/ext4/index.ts'
import { SQUASHFS_DEFAULTS, squashfs } from '../../filesystems/squashfs/index.ts'
import type { GrowingImage, Image } from '../../io/image.ts'
import { type InstalledAddition, installedTree } from '../../system/installed.ts'
import { withSources } from '../../system/source.ts'
import type { CheckedTree } from '../../system/store.ts'
import { openSystem, type System, type SystemInput } from '../../system/system.ts'
import { warn } from '../../system/warnings.ts'
import { mergeTrees, treeAt } from '../../tree/merge.ts'
import type { Attributes, DirectoryNode } from '../../tree/tree.ts'
import { type Configuration, configurationText, installedInputs } from '../configuration.ts'
import { formatOfFile, innerName } from '../endings.ts'
import { seedOf } from '../identity.ts'
import type { InitrdSecretsOptions } from '../initrd-secrets.ts'
import { packedFirst } from '../packed-first.ts'
import { packedInPlace } from '../packed-in-place.ts'
import { type ImageProduct, imageProduct } from '../product.ts'
import { assembleDisk, bootVolumes } from './assemble.ts'
import { type DiskBoot, diskBoot, notStarted } from './boot.ts'
import { diskSizeFor, type PartitionRole, type PlannedPartition, planLayout, rootSizeOn, tableOf } from './layout.ts'
import type { BootLoader, DiskLayout } from './names.ts'
import { type DiskPreset, diskPreset } from './presets.ts'
import { noteSize } from './sizes.ts'

export type RootFileSystem = 'ext4' | 'squashfs'

export interface DiskOptions extends SystemInput, InitrdSecretsOptions, MachineOptions {
  /** Name of one of `DISK_PRESETS`, whose settings hold where no others are given. */
  readonly preset?: string
  /** Default: what the ending of `fileName` says, else raw. */
  readonly format?: OutputFormat
  /** Default `efi`. */
  readonly layout?: DiskLayout
  /** Default systemd-boot where the layout has an EFI system partition, else none. */
  readonly bootLoader?: BootLoader
  /** Default ext4; squashfs is read-only. */
  readonly rootFileSystem?: RootFileSystem
  /** Bytes of the disk, whole MiB, or `auto` (the default): as much as its content and `freeSize` need. */
  readonly size?: number | 'auto'
  /** Bytes that stay free on an ext4 root of a disk whose size is `auto`. Default 512 MiB. */
  readonly freeSize?: number
  /** Where the boot partitions end, as nixpkgs' `bootSize` says it. Default 256 MiB. */
  readonly espSize?: number
  /** Of a logical sector of the disk, in bytes. Default 512; 4096 for a disk with a GPT, or none, that a machine attaches so. */
  readonly sectorSize?: SectorSize
  /** Of the root file system. Default `nixos`. */
  readonly label?: string
  /** Appended to every entry's kernel parameters. */
  readonly kernelParams?: readonly string[]
  /** Seconds until the default entry boots; null waits for ever. Default 5. */
  readonly timeoutSeconds?: number | null
  readonly add?: readonly InstalledAddition[]
  /** /etc/nixos/configuration.nix. */
  readonly configuration?: Configuration
  /** Store path of root's channels. */
  readonly channel?: string
  /** Identifiers are derived from it; default: all that decides the content of the disk, whatever its container. */
  readonly seed?: string
  /** Of the root partition and its file system, 8-4-4-4-12 hex digits; default: nixpkgs' own. */
  readonly rootUuid?: string
  /** Of the partition table; default: derived from the seed. */
  readonly diskGuid?: string
  /** Give the root the partition type of its CPU, by which systemd finds and systemd-repart grows it. Default: that of Linux data. */
  readonly discoverableRoot?: boolean
  /** Of compressed containers; default gzip, level 6. */
  readonly compression?: CodecSpec
  /** Name of the file to write, which some containers repeat. Default `nixos`. */
  readonly fileName?: string
  /** Time of all that is not from the store; default 1980-01-01, the first day of FAT. */
  readonly mtimeSeconds?: number
}

/** What goes on a disk, as plain data. Sizes are bytes. */
export interface DiskPlan {
  readonly toplevel: string
  readonly system: string
  readonly format: OutputFormat
  readonly layout: DiskLayout
  readonly bootLoader: BootLoader
  readonly rootFileSystem: RootFileSystem
  /** Of the disk that a machine sees; undefined where it is `auto` and the root has to be packed first. */
  readonly diskSize: number | undefined
  readonly sectorSize: SectorSize
  readonly partitions: readonly {
    readonly name: string
    readonly role: PartitionRole
    readonly start: number
    readonly size: number | undefined
  }[]
  readonly rootUuid: string
  readonly rootFreeBytes: number | undefined
  readonly entries: readonly string[]
  readonly pathCount: number
  readonly narBytes: number
  readonly verified: boolean
}

const EXT4_BLOCK_SIZE = 4096

export const DISK_DEFAULTS = {
  format: 'raw',
  layout: 'efi',
  freeSize: 512 * MEBIBYTE,
  espSize: 256 * MEBIBYTE,
  sectorSize: DEFAULT_SECTOR_SIZE,
  label: 'nixos',
  /** nixpkgs' `rootGPUID`, which is `rootFSUID` too. */
  rootUuid: 'F222513B-DED1-49FA-B591-20CE86A2FE7F',
  mtimeSeconds: 315532800,
} as const

/**
 * Load a closure and plan its disk; nothing is written yet. Throws what `loadStore`, `installedTree`, `ext4`, `diskBoot`
 * and the container throw, LIMIT where the size does not hold the content.
 */
export function disk(options: DiskOptions): Promise<ImageProduct<DiskPlan>> {
  return withSources(options, plannedDisk)
}

async function plannedDisk(options: DiskOptions): Promise<ImageProduct<DiskPlan>> {
  const settings = {
    ...DISK_DEFAULTS,
    rootFileSystem: 'ext4',
    format: formatOfFile(options.fileName ?? '') ?? DISK_DEFAULTS.format,
    ...presetSettings(options.preset),
    ...options,
  } as const
  const { layout, format, mtimeSeconds, rootUuid, rootFileSystem, sectorSize } = settings
  checkSettings(settings)
  const contained = await CONTAINERS.writer(format)
  const partitions = planLayout(layout, settings.espSize, sectorSize)
  const start = rootOf(partitions).start
  const configuration = configurationText(options.configuration)
  const system = await openSystem(options)
  const { store, toplevel, bootspec } = system
  const loader = options.bootLoader ?? (partitions.some(({ role }) => role === 'esp') ? 'systemd-boot' : 'none')
  warn(notStarted(layout, options.bootLoader), options)
  const boot = await diskBoot(system, { ...settings, loader })
  const { root, digests } = rootTree(system, boot, { ...options, configuration, mtimeSeconds, rootFileSystem })
  const content = { system, root, secrets: boot.secrets, settings: deciding(settings, loader) }
  const seed = await seedOf(options, content)
  const volumes = bootVolumes(partitions, boot, { seed, mtimeSeconds, sectorSize })
  const rootTypeGuid = options.discoverableRoot === true ? discoverableType(bootspec.system, layout) : PARTITION_TYPE_GUID.linuxData
  const container: Container | undefined = CONTAINERS.list.find(({ name }) => name === format)
  // A loader for a BIOS starts nothing but by one.
  const machine = machineOf({ ...(layout.startsWith('legacy') && container?.hasMachine && { firmware: 'bios' }), ...options })
  const whole = (size: number): number => alignUp(size, settings.sizeUnit ?? 1)
  const diskWith = (rootImage: Image): DiskImage => {
    const needed = diskSizeFor(layout, start, rootImage.size)
    const size = typeof settings.size === 'number' ? settings.size : whole(needed)
    if (size < needed) {
      throw new ImageError(
        'LIMIT',
        (option) =>
          `${option('size')} is ${size} bytes, the packed root needs a disk of ${needed}; give ${option('size')} ${Math.ceil(needed / MEBIBYTE)}M or more, or auto`,
      )
    }
    return assembleDisk({
      layout,
      partitions,
      volumes,
      root: rootImage,
      rootIsBootable: boot.rootBoot !== undefined,
      size,
      sectorSize,
      seed,
      rootUuid,
      rootTypeGuid,
      mtimeSeconds,
      ...(options.diskGuid !== undefined && { diskGuid: options.diskGuid }),
    })
  }
  const finish = (whole: Image): Image | GrowingImage => {
    const { compression, fileName = 'nixos' } = options
    return contained(
      { ...whole, sectorSize },
      { seed, fileName: innerName(fileName), timeSeconds: mtimeSeconds, machine, ...(compression && { compression }) },
    )
  }
  const plan = {
    toplevel,
    system: bootspec.system,
    format,
    layout,
    sectorSize,
    bootLoader: loader,
    rootFileSystem,
    rootUuid,
    entries: boot.entries,
    pathCount: store.closure.paths.length,
    narBytes: store.narBytes,
    verified: store.digests.length > 0,
  }
  const table = (rootSize: number | undefined): DiskPlan['partitions'] =>
    partitions.map(({ role, name, start: at, size }) => ({ role, name, start: at, size: size ?? rootSize }))
  const product = (
    image: Image | GrowingImage,
    own: Pick<DiskPlan, 'diskSize' | 'partitions' | 'rootFreeBytes'>,
  ): ImageProduct<DiskPlan> => {
    if (container !== undefined && own.diskSize !== undefined) noteSize(own.diskSize, container, options.onProgress)
    return imageProduct({
      name: options.fileName ?? 'nixos.img',
      named: CONTAINERS.named(plan.format),
      image,
      plan: { ...plan, ...own },
      inputs: [...store.inputs, ...installedInputs(options)],
      source: { narBytes: plan.narBytes, verified: plan.verified },
    })
  }
  if (rootFileSystem === 'squashfs') {
    // What no root would fit in is found before one is packed.
    finish(diskWith({ size: MEBIBYTE, extents: [] }))
    const partition = squashfs(root, { codec: SQUASHFS_DEFAULTS.codec, timeSeconds: mtimeSeconds, digests })
    const diskSize = typeof settings.size === 'number' ? settings.size : undefined
    const sizeLimit = diskSize ?? whole(diskSizeFor(layout, start, partition.sizeLimit))
    const raw = packedInPlace({ partition, start, sizeLimit, ...(diskSize !== undefined && { leastSize: diskSize }), diskWith })
    return product(format === 'raw' ? raw : packedFirst(raw, finish), { diskSize, partitions: table(undefined), rootFreeBytes: undefined })
  }
  const rootImage = ext4Root(root, start, {
    ...settings,
    uuid: rootUuid,
    // No identifier: a root of the same files is the same.
    hashSeed: guidToText(deriveGuid(options.seed ?? toplevel, 'ext4 hash')),
  })
  const diskSize = typeof settings.size === 'number' ? settings.size : whole(diskSizeFor(layout, start, rootImage.size))
  const rootFreeBytes = rootImage.plan.freeBlockCount * EXT4_BLOCK_SIZE
  return product(finish(diskWith(rootImage)), { diskSize, partitions: table(rootImage.size), rootFreeBytes })
}

/** Throws USAGE for a layout without a GPT, and UNSUPPORTED for a CPU that the specification does not name. */
function discoverableType(system: string, layout: DiskLayout): Uint8Array {
  if (tableOf(layout) !== 'gpt')
    throw new ImageError('USAGE', (option) => `${option('discoverableRoot')}: the layout ${layout} has no GPT; leave it out`)
  const [cpu = ''] = system.split('-')
  const guid = ROOT_TYPE_GUID[cpu]
  if (guid !== undefined) return guid
  throw new ImageError('UNSUPPORTED', (option) => `${option('discoverableRoot')}: there is no partition type for ${system}; leave it out`)
}

/** What decides a disk beside its root directory; what is not given, and what means the same, is the same here. */
function deciding(
  options: DiskOptions & { readonly layout: DiskLayout; readonly sectorSize: SectorSize; readonly rootUuid: string },
  bootLoader: BootLoader,
): Readonly<Record<string, unknown>> {
  const { layout, rootFileSystem, size = 'auto', freeSize, espSize, sectorSize, label, mtimeSeconds } = options
  const { kernelParams = [], timeoutSeconds = GENERATION_DEFAULTS.timeoutSeconds, rootUuid, discoverableRoot = false } = options
  const partitions = { layout, rootFileSystem, size, freeSize, espSize, sectorSize, discoverableRoot }
  return { kind: 'disk', ...partitions, label, bootLoader, kernelParams, timeoutSeconds, rootUuid: rootUuid.toUpperCase(), mtimeSeconds }
}

/** Throws USAGE for a name that none has. */
function presetSettings(name: string | undefined): Partial<Pick<DiskPreset, 'format' | 'layout' | 'size' | 'sizeUnit'>> {
  if (name === undefined) return {}
  const { format, layout, size, sizeUnit } = diskPreset(name)
  return { format, layout, size, ...(sizeUnit !== undefined && { sizeUnit }) }
}

interface RootOptions extends Omit<DiskOptions, 'configuration'> {
  readonly configuration: string | undefined
  readonly mtimeSeconds: number
  readonly rootFileSystem: RootFileSystem
}

/** The root directory. The store paths of an ext4 root are checked while they are written, in the order of their files. */
function rootTree(system: System, boot: DiskBoot, options: RootOptions): CheckedTree {
  const { configuration, channel, add, onProgress, mtimeSeconds } = options
  const { root, digests } = installedTree(system, {
    check: options.rootFileSystem === 'ext4' ? 'inOrder' : 'byFormat',
    mtimeSeconds,
    ...(configuration !== undefined && { configuration }),
    ...(channel !== undefined && { channel }),
    ...(add && { add }),
    ...(onProgress && { onProgress }),
  })
  const folder: Attributes = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds }
  return { root: boot.rootBoot === undefined ? root : mergeTrees(root, treeAt('boot', boot.rootBoot, folder)), digests }
}

function rootOf(partitions: readonly PlannedPartition[]): PlannedPartition {
  const found = partitions.find(({ role }) => role === 'root')
  if (found === undefined) throw new RangeError('a layout without a root')
  return found
}

interface Ext4RootOptions extends Required<Pick<Ext4Options, 'uuid' | 'hashSeed' | 'label' | 'mtimeSeconds'>> {
  readonly layout: DiskLayout
  readonly size?: number | 'auto'
  readonly freeSize: number
}

/** As large as the disk leaves it, or as its content needs. Throws LIMIT with a size of the disk that would do. */
function ext4Root(tree: DirectoryNode, start: number, options: Ext4RootOptions): Ext4Image {
  const { layout, size = 'auto', freeSize, uuid, hashSeed, label, mtimeSeconds } = options
  const identity = { uuid, hashSeed, label, mtimeSeconds }
  if (size === 'auto') return ext4(tree, { ...identity, freeSize, roundTo: MEBIBYTE })
  const rootSize = rootSizeOn(layout, start, size)
  try {
    return ext4(tree, { ...identity, size: Math.max(rootSize, EXT4_BLOCK_SIZE) })
  } catch (error) {
    if (!(error instanceof ImageError) || error.code !== 'LIMIT') throw error
    // What no size mends is thrown again here.
    const needed = diskSizeFor(layout, start, ext4(tree, { ...identity, roundTo: MEBIBYTE }).size)
    if (needed <= size) throw error
    throw new ImageError(
      'LIMIT',
      (option) =>
        `${option('size')} is ${size} bytes, of which the layout ${layout} leaves ${Math.max(0, rootSize)} to the root; ` +
        `its content needs a disk of ${needed}, so give ${option('size')} ${needed / MEBIBYTE}M or more, or auto`,
      { cause: error },
    )
  }
}

/** Throws USAGE for what is wrong whatever the closure holds. */
function checkSettings({
  size,
  rootUuid,
  diskGuid,
  layout,
  sectorSize,
}: DiskOptions & { readonly rootUuid: string; readonly layout: DiskLayout; readonly sectorSize: SectorSize }): void {
  checkSectorSize(sectorSize)
  if (sectorSize !== DEFAULT_SECTOR_SIZE && tableOf(layout) === 'mbr') {
    throw new ImageError(
      'USAGE',
      (option) =>
        `${option('sectorSize')} is ${sectorSize}, and the layout ${layout} is for a BIOS, which knows sectors of 512 bytes; choose a layout with a GPT`,
    )
  }
  if (typeof size === 'number' && !(Number.isSafeInteger(size) && size > 0 && size % MEBIBYTE === 0)) {
    // Partitions begin at whole MiB, and containers such as a fixed VHD would round up and leave the second table inside.
    throw new ImageError('USAGE', (option) => `${option('size')} is ${size} bytes; give whole MiB, such as 8G or 800M`)
  }
  guidFromText(rootUuid)
  if (diskGuid === undefined) return
  guidFromText(diskGuid)
  if (tableOf(layout) !== 'gpt')
    throw new ImageError('USAGE', (option) => `${option('diskGuid')}: the layout ${layout} has no GPT; leave it out`)
}
