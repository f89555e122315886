/**
 * The recipe of ZFS images: an installed system spread over the datasets of a pool, and an EFI system partition that
 * starts it, on two disks or on one, in any container of a disk.
 *
 * Not supported: boot programs for BIOS, whose partition stays empty; a /boot on the pool; more than one generation; and
 * what `filesystems/zfs` lists.
 */

import { GENERATION_DEFAULTS } from '../../boot/generation.ts'
import { MEBIBYTE } from '../../bytes/units.ts'
import type { CodecSpec } from '../../codecs/codec.ts'
import { CONTAINERS } from '../../disks/containers.ts'
import { gpt } from '../../disks/gpt/index.ts'
import { type MachineOptions, machineOf } from '../../disks/machine.ts'
import { checkSectorSize, DEFAULT_SECTOR_SIZE, type DiskImage, type SectorSize } from '../../disks/sectors.ts'
import { ImageError } from '../../errors.ts'
import { type ZfsCompatibility, type ZfsDataset, type ZfsImage, type ZfsSnapshot, zfsPool } from '../../filesystems/zfs/index.ts'
import { type Image, leastSizeOf } from '../../io/image.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { type InstalledAddition, installedTree } from '../../system/installed.ts'
import { withSources } from '../../system/source.ts'
import { openSystem, type SystemInput, systemText } from '../../system/system.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import { type Configuration, configurationText, installedInputs } from '../configuration.ts'
import { bootVolume, bootVolumeSize } from '../disk/assemble.ts'
import { diskBoot } from '../disk/boot.ts'
import { seedOf } from '../identity.ts'
import type { InitrdSecretsOptions } from '../initrd-secrets.ts'
import { packedInPlace } from '../packed-in-place.ts'
import { imageProduct, type Product } from '../product.ts'
import { zfsConfiguration } from './configuration.ts'
import { containedDisks } from './contained.ts'
import { defaultDatasets, FILE_SYSTEM_PROPERTIES, POOL_PROPERTIES, zfsMounts } from './datasets.ts'
import {
  BOOT_START,
  bootDiskPartitions,
  bootPartitionSize,
  bootSizeFor,
  poolPlace,
  singleDiskPartitions,
  wholeDiskPartitions,
} from './layout.ts'
import { isOneFile, ZFS_FILE_NAMES, type ZfsBootLoader, type ZfsFormat, type ZfsLayout } from './names.ts'
import { type ZfsPreset, zfsPreset } from './presets.ts'

export interface ZfsOptions extends SystemInput, InitrdSecretsOptions, MachineOptions {
  /** Name of one of `ZFS_PRESETS`, whose settings hold where no others are given. */
  readonly preset?: string
  /** Default `two-disk`. */
  readonly layout?: ZfsLayout
  /** Of each disk; `ova` is one file with all of them. Default raw. */
  readonly format?: ZfsFormat
  /** Name of the file to write, where it is one: an OVA repeats it. Default `nixos.ova`. */
  readonly fileName?: string
  /** Name of the pool; default: that of the root which the system's fstab names, else `tank`. */
  readonly pool?: string
  /**
   * Bytes of the boot disk, or of one disk up to where the pool begins; whole MiB, or `auto`: room for the boot files
   * twice. Default 1 GiB.
   */
  readonly bootSize?: number | 'auto'
  /** Bytes of the root disk, or of what one disk has more than `bootSize`; whole MiB, or `auto`. Default 2 GiB. */
  readonly rootSize?: number | 'auto'
  /** Of a logical sector of each disk, in bytes. Default 512; 4096 needs an `ashift` of 12 or more, as it is by itself. */
  readonly sectorSize?: SectorSize
  /** Bytes that stay free in a pool whose size is `auto`. Default 512 MiB. */
  readonly freeSize?: number
  /** Default: what the system's fstab mounts from the pool, else nixpkgs' datasets for Amazon. */
  readonly datasets?: readonly ZfsDataset[]
  readonly snapshots?: readonly (ZfsSnapshot & { readonly dataset: string })[]
  /** As `zpool create -o` takes them, beside `autoexpand=on`. */
  readonly poolProperties?: Readonly<Record<string, string>>
  /** Of the pool's own dataset, as `zpool create -O` takes them, beside what nixpkgs gives. */
  readonly fileSystemProperties?: Readonly<Record<string, string>>
  /** Default: what OpenZFS 2.1 and later can read and write. */
  readonly compatibility?: ZfsCompatibility
  /** Default systemd-boot. */
  readonly bootLoader?: ZfsBootLoader
  /** Appended to every entry's kernel parameters. */
  readonly kernelParams?: readonly string[]
  /** Seconds until the default entry boots; null waits for ever. Default 5. */
  readonly timeoutSeconds?: number | null
  readonly add?: readonly InstalledAddition[]
  /** A NixOS module that is imported by /etc/nixos/configuration.nix. */
  readonly configuration?: Configuration
  /** Store path of root's channels. */
  readonly channel?: string
  /** Identifiers are derived from it; default: all that decides the content of the disks, whatever their container. */
  readonly seed?: string
  /** Partition types as nixpkgs' images have them, which mark no EFI system partition. Default false. */
  readonly parity?: boolean
  /** Of compressed containers; default gzip, level 6. */
  readonly compression?: CodecSpec
  /** Time of all that is not from the store; default 1980-01-01, the first day of FAT. */
  readonly mtimeSeconds?: number
}

/** What goes on the disks, as plain data. Sizes are bytes. */
export interface ZfsDisksPlan {
  readonly toplevel: string
  readonly system: string
  readonly layout: ZfsLayout
  readonly format: ZfsFormat
  readonly bootLoader: ZfsBootLoader
  readonly files: readonly string[]
  readonly bootSize: number
  /** Of the disk with the pool; undefined where it is `auto`. */
  readonly rootDiskSize: number | undefined
  readonly sectorSize: SectorSize
  readonly pool: string
  readonly poolGuid: string
  readonly compatibility: ZfsCompatibility
  readonly datasets: readonly {
    readonly name: string
    readonly mount: string | undefined
    readonly properties: string
    readonly snapshots: string
  }[]
  readonly entries: readonly string[]
  readonly contentBytes: number
  readonly pathCount: number
  readonly narBytes: number
  readonly verified: boolean
}

export const ZFS_IMAGE_DEFAULTS = {
  layout: 'two-disk',
  format: 'raw',
  bootSize: 1024 * MEBIBYTE,
  rootSize: 2048 * MEBIBYTE,
  freeSize: 512 * MEBIBYTE,
  sectorSize: DEFAULT_SECTOR_SIZE,
  bootLoader: 'systemd-boot',
  parity: false,
  mtimeSeconds: 315532800,
} as const

/**
 * Load a closure and plan its disks, the boot disk, if there is one of its own, and the root disk, with nixpkgs' names;
 * nothing is written yet. An OVA with all disks is a product of one image. Throws what `loadStore`, `installedTree`, `zfsPool`,
 * `diskBoot` and the container throw, LIMIT where a size does not hold the content.
 */
export function zfs(options: ZfsOptions): Promise<Product<ZfsDisksPlan>> {
  return withSources(options, plannedZfs)
}

async function plannedZfs(options: ZfsOptions): Promise<Product<ZfsDisksPlan>> {
  const preset = presetSettings(options.preset)
  const settings = { ...ZFS_IMAGE_DEFAULTS, ...preset, ...options }
  const { layout, format, mtimeSeconds, bootLoader, sectorSize } = settings
  checkSizes(settings)
  checkSectorSize(sectorSize)
  const write = await CONTAINERS.writer(format)
  const configuration = configurationText(options.configuration)
  const system = await openSystem(options)
  const { store, toplevel, bootspec } = system
  const fstab = await systemText(system, 'etc/fstab')
  const chosen = chosenDatasets(settings, fstab)
  const boot = await diskBoot(system, { ...settings, loader: bootLoader, layout: 'efi' })
  const bootTree = boot.esp
  if (bootTree === undefined) throw new RangeError('a layout without an EFI system partition')
  const bootSize = resolvedBootSize(settings, bootTree)
  const { root, digests } = installedTree(system, {
    check: 'byFormat',
    mtimeSeconds,
    configuration: zfsConfiguration(chosen.datasets, configuration),
    ...(options.channel !== undefined && { channel: options.channel }),
    ...(options.add && { add: options.add }),
    ...(options.onProgress && { onProgress: options.onProgress }),
  })
  const properties = { ...FILE_SYSTEM_PROPERTIES, ...options.fileSystemProperties }
  const poolProperties = { ...POOL_PROPERTIES, ...preset.poolProperties, ...options.poolProperties }
  const datasets = withSnapshots(chosen.datasets, options.snapshots ?? [])
  const content = {
    system,
    root,
    secrets: boot.secrets,
    settings: { ...deciding(settings), pool: chosen.pool, bootSize, datasets, properties, poolProperties },
  }
  const seed = await seedOf(options, content)
  const volume = bootVolume(
    bootTree,
    'ESP',
    { start: BOOT_START, size: bootPartitionSize(layout, bootSize), sectorSize, seed, mtimeSeconds },
    ({ end, roomyEnd }, option) => {
      const [least, roomy] = [end, roomyEnd].map((one) => `${bootSizeFor(layout, one - BOOT_START) / MEBIBYTE}M`)
      return `${option('bootSize')} ${roomy} or more, which leaves room for the next system (${least} for this one alone), or auto`
    },
  )
  const place = poolPlace(layout, bootSize)
  const pool = sizedPool(settings.rootSize, place.overhead - (layout === 'single-disk' ? bootSize : 0), () =>
    zfsPool(root, {
      name: chosen.pool,
      seed,
      digests,
      ...(settings.rootSize === 'auto'
        ? { size: 'auto', freeSize: settings.freeSize, roundTo: MEBIBYTE }
        : { size: (layout === 'single-disk' ? bootSize : 0) + settings.rootSize - place.overhead }),
      ...(options.compatibility !== undefined && { compatibility: options.compatibility }),
      properties,
      poolProperties,
      datasets,
      timeSeconds: mtimeSeconds,
      devicePath: layout === 'two-disk' ? '/dev/vdb1' : '/dev/vda3',
      isWholeDisk: layout === 'two-disk',
    }),
  )
  checkPoolSectors(pool.plan.options.ashift, sectorSize)
  const table = { seed, parity: settings.parity, sectorSize }
  const diskWith = (own: Image): DiskImage => {
    const parts = layout === 'two-disk' ? wholeDiskPartitions(own, table) : singleDiskPartitions(volume, own, bootSize, table)
    return gpt(parts, { seed: `${seed} root disk`, size: own.size + place.overhead, sectorSize })
  }
  const rootDisk = packedInPlace({
    partition: pool,
    start: place.start,
    sizeLimit: pool.sizeLimit + place.overhead,
    leastSize: leastSizeOf(pool) + place.overhead,
    diskWith,
  })
  const fileName = options.fileName ?? CONTAINERS.fileName('nixos', format)
  const disks = containedDisks(
    {
      boot:
        layout === 'two-disk'
          ? gpt(bootDiskPartitions(volume, table), { seed: `${seed} boot disk`, size: bootSize, sectorSize })
          : undefined,
      root: rootDisk,
    },
    write,
    {
      ...{ format, sectorSize, fileName, seed, timeSeconds: mtimeSeconds, machine: machineOf(options) },
      ...(options.compression && { compression: options.compression }),
    },
  )
  const verified = store.digests.length > 0
  const plan: ZfsDisksPlan = {
    toplevel,
    system: bootspec.system,
    layout,
    format,
    bootLoader,
    files: disks.map(({ path }) => path),
    bootSize,
    rootDiskSize: settings.rootSize === 'auto' ? undefined : settings.rootSize + (layout === 'single-disk' ? bootSize : 0),
    sectorSize,
    ...poolSummary(pool),
    entries: boot.entries,
    pathCount: store.closure.paths.length,
    narBytes: store.narBytes,
    verified,
  }
  const made = { plan, source: { narBytes: store.narBytes, verified }, inputs: [...store.inputs, ...installedInputs(options)] }
  const [first] = disks
  if (isOneFile(format) && first?.content.kind === 'image') {
    return imageProduct({ ...made, name: fileName, named: CONTAINERS.named(format), image: first.content.image })
  }
  return {
    ...made,
    files: async () => disks,
    close: async () => undefined,
    replaceable: ZFS_FILE_NAMES,
    dataBytes: pool.contentBytes,
  }
}

/** What decides the disks beside what lies on the pool, and how it is divided. */
function deciding(options: ZfsOptions): Readonly<Record<string, unknown>> {
  const { layout, rootSize, freeSize, sectorSize, compatibility, bootLoader, parity, mtimeSeconds } = options
  const { kernelParams = [], timeoutSeconds = GENERATION_DEFAULTS.timeoutSeconds } = options
  const disks = { layout, rootSize, freeSize, sectorSize, parity }
  return { kind: 'zfs', ...disks, compatibility, bootLoader, kernelParams, timeoutSeconds, mtimeSeconds }
}

/** Throws USAGE for a name that none has. */
function presetSettings(name: string | undefined): Partial<Omit<ZfsPreset, 'name' | 'about'>> {
  if (name === undefined) return {}
  const { name: _, about, ...settings } = zfsPreset(name)
  return settings
}

type PoolSummary = Pick<ZfsDisksPlan, 'pool' | 'poolGuid' | 'compatibility' | 'datasets' | 'contentBytes'>

function poolSummary({ plan, contentBytes }: ZfsImage): PoolSummary {
  const { name, poolGuid, compatibility } = plan.options
  const datasets = plan.datasets.map(({ spec }) => ({
    name: spec.name,
    mount: spec.mount,
    properties: Object.entries(spec.properties)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    snapshots: spec.snapshots.map((snapshot) => snapshot.name).join(','),
  }))
  return { pool: name, poolGuid: String(poolGuid), compatibility, datasets, contentBytes }
}

/** Throws USAGE for sizes that are no whole MiB. */
function checkSizes({ bootSize, rootSize }: Pick<ZfsOptions, 'bootSize' | 'rootSize'>): void {
  for (const [name, size] of Object.entries({ bootSize, rootSize })) {
    if (typeof size !== 'number' || (Number.isSafeInteger(size) && size > 0 && size % MEBIBYTE === 0)) continue
    throw new ImageError('USAGE', (option) => `${option(name)} is ${size} bytes; give whole MiB, such as 2G or 800M`)
  }
}

/** Throws USAGE for a pool whose blocks are smaller than the sectors of its disk, which no system would import there. */
function checkPoolSectors(ashift: number, sectorSize: SectorSize): void {
  if (2 ** ashift >= sectorSize) return
  throw new ImageError(
    'USAGE',
    (option) =>
      `${option('poolProperties')} ashift=${ashift}: blocks of ${2 ** ashift} bytes, and the sectors of the disk have ${sectorSize}; give ashift=${Math.log2(sectorSize)} or more`,
  )
}

/** A pool whose errors speak of the size that was asked for; `overhead` is what its disk has beside it. */
function sizedPool(rootSize: number | 'auto', overhead: number, make: () => ZfsImage): ZfsImage {
  const inAskedSize = (error: unknown): unknown => {
    if (!(error instanceof ImageError) || error.neededBytes === undefined) return error
    const enough = Math.ceil((error.neededBytes + overhead) / MEBIBYTE)
    return new ImageError(
      'LIMIT',
      (option) =>
        `${option('rootSize')} is ${rootSize} bytes, which the content of the pool outgrows; ${enough}M will do, and auto or more compression less`,
      { neededBytes: enough * MEBIBYTE, cause: error },
    )
  }
  try {
    const pool = make()
    return {
      ...pool,
      ...(rootSize !== 'auto' && { leastSize: pool.sizeLimit }),
      pack: (...args) =>
        pool.pack(...args).catch((error: unknown) => {
          throw inAskedSize(error)
        }),
    }
  } catch (error) {
    throw inAskedSize(error)
  }
}

/** Twice what there is: with another generation there is another kernel. */
function resolvedBootSize(
  { bootSize = ZFS_IMAGE_DEFAULTS.bootSize, layout = 'two-disk', mtimeSeconds = 0, sectorSize = DEFAULT_SECTOR_SIZE }: ZfsOptions,
  tree: DirectoryNode,
): number {
  return bootSize === 'auto' ? bootSizeFor(layout, 2 * bootVolumeSize(tree, 'ESP', { mtimeSeconds, sectorSize })) : bootSize
}

interface ChosenDatasets {
  readonly pool: string
  readonly datasets: readonly ZfsDataset[]
}

function chosenDatasets({ pool, datasets, onProgress }: ZfsOptions, fstab: string | undefined): ChosenDatasets {
  if (datasets === undefined || datasets.length === 0) return defaultDatasets(fstab, pool)
  const chosen = { pool: pool ?? (datasets[0] as ZfsDataset).name.split('/')[0] ?? '', datasets }
  noteMissing(chosen, fstab, onProgress)
  return chosen
}

/** The system may find its file systems by other means; what its table names and the pool does not have is worth a word. */
function noteMissing({ pool, datasets }: ChosenDatasets, fstab: string | undefined, onProgress: ProgressListener | undefined): void {
  const missing = zfsMounts(fstab ?? '').filter(({ name, mount }) => !datasets.some((own) => own.name === name && own.mount === mount))
  for (const { name, mount } of missing) {
    onProgress?.({
      kind: 'note',
      message: `the system mounts ${name} on ${mount}, and the pool ${pool} has no such dataset with content for it`,
    })
  }
}

/** Throws USAGE for a snapshot of a dataset that is not there. */
function withSnapshots(datasets: readonly ZfsDataset[], snapshots: readonly (ZfsSnapshot & { readonly dataset: string })[]): ZfsDataset[] {
  const stray = snapshots.find(({ dataset }) => !datasets.some(({ name }) => name === dataset))
  if (stray !== undefined) {
    const known = datasets.map(({ name }) => name).join(', ')
    throw new ImageError(
      'USAGE',
      (option) => `${option('snapshots')} ${stray.dataset}@${stray.name}: there is no such dataset; there are ${known}`,
    )
  }
  return datasets.map((dataset) => {
    const own = snapshots.filter((snapshot) => snapshot.dataset === dataset.name).map(({ name, state }) => ({ name, state }))
    return own.length === 0 ? dataset : { ...dataset, snapshots: [...(dataset.snapshots ?? []), ...own] }
  })
}
