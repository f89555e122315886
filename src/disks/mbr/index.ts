/**
 * Master boot records: the protective one of a GPT disk and plain ones with up to four entries.
 *
 * Not supported: extended partitions and logical drives (the disks that Kilnix writes have a GPT).
 */
import { ImageError } from '../../errors.ts'
import { bytesExtent, type Image, moveExtent } from '../../io/image.ts'
import { BOOT_SIGNATURE, bootRecord, PARTITION_TYPE, partitionEntry } from './disk.ts'

export { PARTITION_TYPE } from './disk.ts'

/** How a BIOS splits sector numbers: heads of a cylinder (1 to 255), sectors of a track (1 to 63). */
export interface Geometry {
  readonly headsPerCylinder: number
  readonly sectorsPerTrack: number
}

/** What BIOSes assume of a disk of 8 GB and more. */
export const LARGE_GEOMETRY: Geometry = { headsPerCylinder: 255, sectorsPerTrack: 63 }

export interface MbrPartition {
  readonly active?: boolean
  readonly type: number
  readonly startSector: number
  readonly sectorCount: number
  /** Three bytes each; computed with LARGE_GEOMETRY when not given. */
  readonly startChs?: Uint8Array
  readonly endChs?: Uint8Array
}

export interface MbrOptions {
  /** At most 440 bytes. */
  readonly bootCode?: Uint8Array
  readonly diskSignature?: number
  /** At most four, in the order of their slots. */
  readonly partitions: readonly MbrPartition[]
}

/**
 * Cylinder, head and sector of a sector as the three bytes of a partition entry. Beyond cylinder 1023
 * they are `ff ff ff` (UEFI 2.10, table 5.3).
 */
export function chs(sector: number, geometry: Geometry = LARGE_GEOMETRY): Uint8Array {
  const sectorInTrack = (sector % geometry.sectorsPerTrack) + 1
  const track = Math.floor(sector / geometry.sectorsPerTrack)
  const head = track % geometry.headsPerCylinder
  const cylinder = Math.floor(track / geometry.headsPerCylinder)
  if (cylinder > 1023) return Uint8Array.of(0xff, 0xff, 0xff)
  return Uint8Array.of(head, sectorInTrack | ((cylinder >> 8) << 6), cylinder & 0xff)
}

/** The 512 bytes of a master boot record. Throws LIMIT for more than 440 bytes of boot code or four partitions. */
export function mbr(options: MbrOptions): Uint8Array {
  const { partitions } = options
  if (partitions.length > 4) throw new ImageError('LIMIT', `mbr: ${partitions.length} partitions, the table holds 4; use a GPT`)
  const entries = partitions.map((partition) => {
    const endSector = Math.max(partition.startSector, partition.startSector + partition.sectorCount - 1)
    return partitionEntry.encode({
      status: partition.active === true ? 0x80 : 0,
      startChs: partition.startChs ?? chs(partition.startSector),
      type: partition.type,
      endChs: partition.endChs ?? chs(endSector),
      startSector: partition.startSector,
      sectorCount: partition.sectorCount,
    })
  })
  const none = new Uint8Array(partitionEntry.size)
  return bootRecord.encode({
    bootCode: options.bootCode ?? new Uint8Array(0),
    diskSignature: options.diskSignature ?? 0,
    entry1: entries[0] ?? none,
    entry2: entries[1] ?? none,
    entry3: entries[2] ?? none,
    entry4: entries[3] ?? none,
    signature: BOOT_SIGNATURE,
  })
}

export interface ProtectiveMbrOptions {
  /** Sectors of the whole disk. */
  readonly diskSectorCount: number
  readonly bootCode?: Uint8Array
  /**
   * Add a second entry that is active, of type 0 and one sector long: some BIOSes boot a USB stick only
   * when an entry is active, and the UEFI specification forbids to mark the protective one. Type 0
   * means "unused" to everything else: the kernel, libfdisk and gdisk still see a protective MBR.
   */
  readonly forceBootable?: boolean
}

/** The protective MBR of a GPT disk (UEFI 2.10, 5.2.3): one entry of type 0xEE from sector 1 to the end. */
export function protectiveMbr(options: ProtectiveMbrOptions): Uint8Array {
  const sectorCount = Math.min(options.diskSectorCount - 1, 0xffffffff)
  const protective: MbrPartition = {
    type: PARTITION_TYPE.gptProtective,
    startSector: 1,
    sectorCount,
    // The specification's own bytes, the same with every geometry.
    startChs: Uint8Array.of(0x00, 0x02, 0x00),
    endChs: chs(options.diskSectorCount - 1),
  }
  const active: MbrPartition = { active: true, type: PARTITION_TYPE.empty, startSector: 0, sectorCount: 1 }
  return mbr({
    ...(options.bootCode === undefined ? {} : { bootCode: options.bootCode }),
    partitions: options.forceBootable === true ? [protective, active] : [protective],
  })
}

export interface MbrDiskPartition {
  readonly active?: boolean
  readonly type: number
  /** Bytes from the beginning of the disk; a multiple of 512, as is `size`. */
  readonly start: number
  readonly size: number
  /** Lies at the start of the partition. */
  readonly image: Image
}

export interface MbrDiskOptions {
  /** Bytes of the whole disk, a multiple of 512. */
  readonly size: number
  readonly diskSignature: number
  readonly bootCode?: Uint8Array
}

const SECTOR_SIZE = 512
/** Fields of an entry have 32 bits. */
const SECTOR_LIMIT = 2 ** 32

/**
 * A disk with a master boot record and `partitions` in ascending order. Throws USAGE for what is not aligned or overlaps,
 * LIMIT for an image larger than its partition, a partition beyond the end, or one beyond 2 TiB.
 */
export function mbrDisk(partitions: readonly MbrDiskPartition[], { size, diskSignature, bootCode }: MbrDiskOptions): Image {
  let free = SECTOR_SIZE
  for (const [index, { start, size: length, image }] of partitions.entries()) {
    const name = `mbr: partition ${index + 1}`
    if (start % SECTOR_SIZE !== 0 || length % SECTOR_SIZE !== 0 || size % SECTOR_SIZE !== 0 || length === 0) {
      throw new ImageError('USAGE', `${name}: start ${start}, size ${length} and disk size ${size} have to be multiples of ${SECTOR_SIZE}`)
    }
    if (start < free) throw new ImageError('USAGE', `${name}: starts at byte ${start}, the first free one is ${free}`)
    if (image.size > length) throw new ImageError('LIMIT', `${name}: has ${length} bytes, its image ${image.size}; enlarge it`)
    free = start + length
    if (free > size) throw new ImageError('LIMIT', `${name}: ends at byte ${free}, the disk at ${size}; enlarge the disk`)
    if (free / SECTOR_SIZE > SECTOR_LIMIT)
      throw new ImageError('LIMIT', `${name}: ends beyond 2 TiB, which only a GPT can say; choose a layout with one`)
  }
  const record = mbr({
    ...(bootCode && { bootCode }),
    diskSignature,
    partitions: partitions.map(({ active, type, start, size: length }) => ({
      ...(active !== undefined && { active }),
      type,
      startSector: start / SECTOR_SIZE,
      sectorCount: length / SECTOR_SIZE,
    })),
  })
  const contents = partitions.flatMap(({ start, image }) => image.extents.map((extent) => moveExtent(extent, start)))
  return { size, extents: [bytesExtent(0, record), ...contents] }
}
