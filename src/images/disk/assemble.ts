/** A disk from its partitions: the table, the boot partitions, the root. */
import { deriveBytes, guidFromText } from '../../bytes/guid.ts'
import { MEBIBYTE } from '../../bytes/units.ts'
import { ATTRIBUTE, type GptPartition, gpt, PARTITION_TYPE_GUID } from '../../disks/gpt/index.ts'
import { mbrDisk, PARTITION_TYPE } from '../../disks/mbr/index.ts'
import type { DiskImage, SectorSize } from '../../disks/sectors.ts'
import { ImageError, type Spelling } from '../../errors.ts'
import { fat } from '../../filesystems/fat/index.ts'
import { bytesImage, type Image } from '../../io/image.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import type { DiskBoot } from './boot.ts'
import { type PartitionRole, type PlannedPartition, tableOf } from './layout.ts'
import type { DiskLayout } from './names.ts'

export interface DiskParts {
  readonly layout: DiskLayout
  readonly partitions: readonly PlannedPartition[]
  /** As `bootVolumes` gives them. */
  readonly volumes: BootVolumes
  readonly root: Image
  /** The root holds what starts the system. */
  readonly rootIsBootable: boolean
  /** Bytes of the disk. */
  readonly size: number
  /** Of a disk with a GPT, or none; those of an MBR have 512 bytes. */
  readonly sectorSize: SectorSize
  /** Identifiers that are not given are derived from it. */
  readonly seed: string
  /** 8-4-4-4-12 hex digits. */
  readonly rootUuid: string
  readonly diskGuid?: string
  /** Of the root partition in a GPT. */
  readonly rootTypeGuid: Uint8Array
  readonly mtimeSeconds: number
}

export type BootVolumes = ReadonlyMap<PartitionRole, Image>

/** The file systems of the boot partitions. Throws LIMIT where one does not hold its files, and what `fat` throws. */
export function bootVolumes(
  partitions: readonly PlannedPartition[],
  boot: DiskBoot,
  identity: Pick<DiskParts, 'seed' | 'mtimeSeconds' | 'sectorSize'>,
): BootVolumes {
  const volumes = new Map<PartitionRole, Image>()
  for (const partition of partitions) {
    const { role } = partition
    const place = { start: partition.start, size: partition.size ?? 0, ...identity }
    if (role === 'esp') volumes.set(role, bootVolume(boot.esp, 'ESP', place, espRemedy))
    if (role === 'extendedBoot') volumes.set(role, bootVolume(boot.extendedBoot, 'BOOT', place, espRemedy))
    if (role === 'boot') volumes.set(role, bootVolume(boot.boot, 'BOOT', place, espRemedy))
  }
  return volumes
}

/** Throws LIMIT for partitions that do not hold their content, and what `gpt` and `mbrDisk` throw. */
export function assembleDisk(parts: DiskParts): DiskImage {
  const { layout, partitions, root, size, sectorSize, seed, diskGuid } = parts
  if (tableOf(layout) === 'none') return { size, sectorSize, extents: root.extents }
  if (tableOf(layout) === 'mbr') return mbrOf(parts)
  const table = partitions.map(
    (partition): GptPartition => ({
      name: partition.name,
      startSector: partition.start / sectorSize,
      ...(partition.size !== undefined && { size: partition.size }),
      ...described(partition, parts),
    }),
  )
  return gpt(table, { seed, size, sectorSize, ...(diskGuid !== undefined && { diskGuid: guidFromText(diskGuid) }) })
}

/** nixpkgs makes the boot partition active; without one the root is, for boot programs that look for that. */
function mbrOf(parts: DiskParts): Image {
  const { partitions, root, size, seed } = parts
  const hasBoot = partitions.some(({ role }) => role === 'boot')
  const entries = partitions.map((partition) => {
    const isBoot = partition.role === 'boot'
    return {
      active: isBoot || !hasBoot,
      type: isBoot ? PARTITION_TYPE.fat32Lba : PARTITION_TYPE.linux,
      start: partition.start,
      size: partition.size ?? root.size,
      image: isBoot ? volumeOf(partition, parts) : root,
    }
  })
  const signature = new DataView(deriveBytes(seed, 'mbr disk', 4).buffer).getUint32(0)
  return mbrDisk(entries, { size, diskSignature: signature })
}

type Described = Pick<GptPartition, 'typeGuid' | 'image' | 'partitionGuid' | 'attributes'>

function described(partition: PlannedPartition, parts: DiskParts): Described {
  const { root, rootUuid, rootTypeGuid, rootIsBootable } = parts
  switch (partition.role) {
    case 'esp':
      return { typeGuid: PARTITION_TYPE_GUID.efiSystem, image: volumeOf(partition, parts) }
    case 'extendedBoot':
      return { typeGuid: PARTITION_TYPE_GUID.extendedBoot, image: volumeOf(partition, parts) }
    case 'boot':
      return { typeGuid: PARTITION_TYPE_GUID.basicData, image: volumeOf(partition, parts) }
    case 'biosBoot':
      return { typeGuid: PARTITION_TYPE_GUID.biosBoot, image: bytesImage(new Uint8Array(0), partition.size) }
    case 'root':
      return {
        typeGuid: rootTypeGuid,
        image: root,
        partitionGuid: guidFromText(rootUuid),
        // U-Boot looks for extlinux.conf there.
        ...(rootIsBootable && { attributes: ATTRIBUTE.legacyBiosBootable }),
      }
  }
}

function volumeOf({ role }: PlannedPartition, { volumes }: DiskParts): Image {
  const volume = volumes.get(role)
  if (volume === undefined) throw new RangeError(`${role}: a partition without a volume`)
  return volume
}

function espRemedy({ end, roomyEnd }: BootVolumeNeed, option: Spelling): string {
  return `${option('espSize')} ${roomyEnd / MEBIBYTE}M or more, which leaves room for the next system (${end / MEBIBYTE}M for this one alone)`
}

/** Where the partition of a boot volume would have to end. */
export interface BootVolumeNeed {
  readonly end: number
  /** With room for as much again: a new system is installed beside the old one. */
  readonly roomyEnd: number
}

export interface BootVolumePlace extends Pick<DiskParts, 'seed' | 'mtimeSeconds' | 'sectorSize'> {
  /** Of the partition, in bytes. */
  readonly start: number
  readonly size: number
}

/**
 * A FAT volume with what starts the system. Throws LIMIT where it does not hold its files, with what `remedy` says of
 * where the partition would have to end, and what `fat` throws.
 */
export function bootVolume(
  tree: DirectoryNode | undefined,
  label: string,
  { start, size, sectorSize, seed, mtimeSeconds }: BootVolumePlace,
  remedy: (need: BootVolumeNeed, option: Spelling) => string,
): Image {
  if (tree === undefined) throw new RangeError(`${label}: a partition without a tree`)
  const serial = deriveBytes(seed, `${label} volume serial`, 4)
  const common = { label, mtimeSeconds, sectorSize, alignData: true }
  try {
    const volumeSerial = new DataView(serial.buffer).getUint32(0)
    return fat(tree, { ...common, size, volumeSerial, hiddenSectors: start / sectorSize })
  } catch (error) {
    if (!(error instanceof ImageError) || error.code !== 'LIMIT') throw error
    const needed = bootVolumeSize(tree, label, { mtimeSeconds, sectorSize })
    if (needed <= size) throw error
    throw new ImageError(
      'LIMIT',
      (option) =>
        `the partition ${label} has ${size} bytes, its kernels and boot programs need ${needed}; give ${remedy({ end: start + needed, roomyEnd: start + 2 * needed }, option)}`,
      { cause: error },
    )
  }
}

/** Whole MiB that such a volume needs at least. Throws what no volume holds. */
export function bootVolumeSize(
  tree: DirectoryNode,
  label: string,
  { mtimeSeconds, sectorSize }: Pick<DiskParts, 'mtimeSeconds' | 'sectorSize'>,
): number {
  return fat(tree, { label, mtimeSeconds, sectorSize, alignData: true, roundTo: MEBIBYTE }).size
}
