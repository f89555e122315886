/** How the disks are divided, with nixpkgs' addresses. Sizes are bytes. */
import { deriveBytes, deriveGuid } from '../../bytes/guid.ts'
import { MEBIBYTE } from '../../bytes/units.ts'
import { type GptPartition, PARTITION_TYPE_GUID } from '../../disks/gpt/index.ts'
import type { SectorSize } from '../../disks/sectors.ts'
import { ImageError } from '../../errors.ts'
import { bytesImage, type Image } from '../../io/image.ts'
import type { ZfsLayout } from './names.ts'

/** Room for a boot program for BIOS, which stays empty. */
const BIOS_BOOT = { start: MEBIBYTE, size: MEBIBYTE } as const
/** Behind it: the EFI system partition. */
export const BOOT_START = 2 * MEBIBYTE
/** The last MiB of a disk holds the second partition table. */
const TABLE_SIZE = MEBIBYTE

/** What libzfs leaves behind the pool on a disk of its own (OpenZFS `lib/libefi/rdwr_efi.c`, `EFI_MIN_RESV_SIZE`). */
const RESERVED_SIZE = 8 * MEBIBYTE

/** Where a pool lies on its disk, and how much more than the pool the disk has. */
export interface PoolPlace {
  readonly start: number
  readonly overhead: number
}

export function poolPlace(layout: ZfsLayout, bootSize: number): PoolPlace {
  if (layout === 'single-disk') return { start: bootSize, overhead: bootSize + TABLE_SIZE }
  // Its partition ends at a whole MiB, and so that 8 MiB and the second table find room behind it.
  return { start: MEBIBYTE, overhead: 2 * MEBIBYTE + RESERVED_SIZE }
}

/** Bytes of the EFI system partition. Throws LIMIT where there would be none. */
export function bootPartitionSize(layout: ZfsLayout, bootSize: number): number {
  const size = bootSize - BOOT_START - (layout === 'two-disk' ? TABLE_SIZE : 0)
  if (size > 0) return size
  throw new ImageError(
    'LIMIT',
    (option) => `${option('bootSize')} is ${bootSize} bytes, of which none are left to the EFI system partition; give 64M or more`,
  )
}

/** The `bootSize` that leaves so many bytes to the EFI system partition. */
export function bootSizeFor(layout: ZfsLayout, partitionSize: number): number {
  return BOOT_START + partitionSize + (layout === 'two-disk' ? TABLE_SIZE : 0)
}

export interface TableOptions {
  readonly seed: string
  /** Partition types as nixpkgs' images have them: no EFI system partition is marked as such. */
  readonly parity: boolean
  readonly sectorSize: SectorSize
}

/** The boot disk of two. */
export function bootDiskPartitions(volume: Image, options: TableOptions): GptPartition[] {
  return [biosBoot(options), bootPartition('ESP', volume, options)]
}

/** The one disk, with `pool` from `bootSize` on. */
export function singleDiskPartitions(volume: Image, pool: Image, bootSize: number, options: TableOptions): GptPartition[] {
  const { seed, parity, sectorSize } = options
  return [
    biosBoot(options),
    { ...bootPartition('primary', volume, options), partitionGuid: deriveGuid(seed, 'zfs boot partition') },
    {
      name: 'primary',
      typeGuid: parity ? PARTITION_TYPE_GUID.basicData : PARTITION_TYPE_GUID.zfs,
      partitionGuid: deriveGuid(seed, 'zfs pool partition'),
      startSector: bootSize / sectorSize,
      image: pool,
    },
  ]
}

/** A disk that is a pool's as a whole, as libzfs divides it (OpenZFS `lib/libzfs/os/linux/libzfs_pool_os.c`, `zpool_label_disk`). */
export function wholeDiskPartitions(pool: Image, { seed, sectorSize }: TableOptions): GptPartition[] {
  const random = Buffer.from(deriveBytes(seed, 'zfs partition name', 8)).toString('hex')
  return [
    { name: `zfs-${random}`, typeGuid: PARTITION_TYPE_GUID.zfs, startSector: MEBIBYTE / sectorSize, image: pool },
    {
      name: '',
      number: 9,
      typeGuid: PARTITION_TYPE_GUID.solarisReserved,
      startSector: (MEBIBYTE + pool.size) / sectorSize,
      image: bytesImage(new Uint8Array(0), RESERVED_SIZE),
    },
  ]
}

function biosBoot({ sectorSize }: TableOptions): GptPartition {
  return {
    name: 'no-fs',
    typeGuid: PARTITION_TYPE_GUID.biosBoot,
    startSector: BIOS_BOOT.start / sectorSize,
    image: bytesImage(new Uint8Array(0), BIOS_BOOT.size),
  }
}

function bootPartition(name: string, image: Image, { parity, sectorSize }: TableOptions): GptPartition {
  return {
    name,
    typeGuid: parity ? PARTITION_TYPE_GUID.basicData : PARTITION_TYPE_GUID.efiSystem,
    startSector: BOOT_START / sectorSize,
    image,
  }
}
