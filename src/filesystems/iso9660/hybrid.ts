/**
 * The records that make an ISO a disk image: system area and backup GPT.
 *
 * `gpt`, the default of Kilnix, is the layout that Debian, Ubuntu, Fedora and Qubes have come to (xorriso's
 * `-partition_offset 16 -appended_part_as_gpt --mbr-force-bootable`), because each part of it is valid:
 *
 * - The MBR is protective: its first entry is 0xEE, inactive, from sector 1 to the end (UEFI 2.10, 5.2.3).
 *   Firmware and partition tools that see the usual isohybrid MBR beside a GPT take one of the two for
 *   broken, and do not agree on which.
 * - With BIOS boot code there is a second entry: active, type 0, one sector. Some BIOSes show a stick
 *   only when an entry is active; marking the protective entry instead stops some UEFI firmware from
 *   taking the GPT. Type 0 means unused to the kernel, libfdisk, gdisk and EDK2.
 * - The GPT has both copies, and two partitions that neither overlap nor cover the table: the ISO and a
 *   real EFI System Partition, which comes last, aligned to 1 MiB.
 * - The ISO's partition begins at sector 64, behind the table, and has descriptors and directories of its
 *   own whose addresses count from there: it mounts as a partition just as the whole disk does, with
 *   the same label, so it does not matter which of the two /dev/disk/by-label names.
 * - Its type is Linux data, not basic data: Windows offers to format a basic data partition it cannot read.
 *
 * `nixpkgs` is what xorriso's `-isohybrid-mbr` and `-isohybrid-gpt-basdat` write: partitions that overlap
 * each other and the tables. It is there for those who must have the same layout.
 */
import { deriveBytes, deriveGuid, guidToText } from '../../bytes/guid.ts'
import { struct } from '../../bytes/struct.ts'
import {
  ATTRIBUTE,
  entryArraySectors,
  GPT_DEFAULTS,
  type GptEntry,
  gptTables,
  PARTITION_TYPE_GUID,
  PRIMARY_ARRAY_SECTOR,
} from '../../disks/gpt/index.ts'
import { chs, type Geometry as MbrGeometry, type MbrPartition, mbr, PARTITION_TYPE, protectiveMbr } from '../../disks/mbr/index.ts'
import { ImageError } from '../../errors.ts'
import { BLOCK_SIZE } from './disk.ts'
import type { Location } from './hierarchy.ts'
import type { GptHybrid, NixpkgsHybrid } from './options.ts'

const SECTOR_SIZE = 512
const SECTORS_PER_BLOCK = BLOCK_SIZE / SECTOR_SIZE
/** First block of the ISO's own partition: just behind the system area, as readers of the descriptors suppose. */
export const PARTITION_OFFSET_BLOCKS = 16
/** xorriso's table fills the rest of the system area; its backup takes as much. */
const NIXPKGS_ENTRY_COUNT = 248
export const NIXPKGS_GPT_BLOCKS = 16
/** Of a pure isohybrid: "hidden NTFS", which systems leave alone. */
const ISOHYBRID_TYPE = 0x17
const UINT32_LIMIT = 0xffffffff

/** What isohdpfx.bin expects behind its code: the sector of isolinux.bin (syslinux, isohybrid). */
const isohybridCode = struct('isohybrid boot code', 440, { code: [0, 'bytes', 432], bootFileSector: [432, 'u64le'] })

/** What isohdpfx.bin looks for at byte 64 of the file that it loads. */
const ISOLINUX_MAGIC = Uint8Array.of(0xfb, 0xc0, 0x78, 0x70)
const ISOLINUX_MAGIC_OFFSET = 64

/** Throws BAD_INPUT when isohybrid boot code would refuse this boot file. */
export function checkBootFile(bytes: Uint8Array, path: string): void {
  const magic = bytes.subarray(ISOLINUX_MAGIC_OFFSET, ISOLINUX_MAGIC_OFFSET + ISOLINUX_MAGIC.length)
  if (Buffer.compare(magic, ISOLINUX_MAGIC) !== 0) {
    throw new ImageError('BAD_INPUT', `iso9660: ${path}: MBR boot code starts isolinux.bin 3.72 or newer only; this file is none`, { path })
  }
}

export interface Geometry extends MbrGeometry {
  /** Bytes that the image is a multiple of: a cylinder, or a block when 1024 cylinders do not suffice. */
  readonly alignment: number
}

const CYLINDER_LIMIT = 1024

/** xorriso's choice of geometry: 64 heads and 32 sectors up to 1 GiB, then as small as 1024 cylinders allow. */
export function isohybridGeometry(imageSize: number): Geometry {
  const cylinders = (headsPerCylinder: number, sectorsPerTrack: number): Geometry => {
    const alignment = headsPerCylinder * sectorsPerTrack * SECTOR_SIZE
    return { headsPerCylinder, sectorsPerTrack, alignment: imageSize > alignment * CYLINDER_LIMIT ? BLOCK_SIZE : alignment }
  }
  if (imageSize <= 64 * 32 * SECTOR_SIZE * CYLINDER_LIMIT) return cylinders(64, 32)
  for (const sectorsPerTrack of [32, 63]) {
    const heads = Math.ceil(imageSize / (sectorsPerTrack * SECTOR_SIZE * CYLINDER_LIMIT))
    // A cylinder is a whole number of blocks.
    const headsPerCylinder = Math.ceil(heads / 4) * 4
    if (headsPerCylinder <= 255) return cylinders(headsPerCylinder, sectorsPerTrack)
  }
  return cylinders(255, 63)
}

export interface HybridLocations {
  readonly totalBlocks: number
  readonly isoPartitionBlocks: number
  readonly geometry: Geometry
  readonly bios: Location | undefined
  readonly efi: Location | undefined
}

export interface SystemRecord {
  /** Bytes from the beginning of the image. */
  readonly position: number
  readonly bytes: Uint8Array
}

function bootCodeFor(code: Uint8Array, bios: Location | undefined): Uint8Array {
  return isohybridCode.encode({ code, bootFileSector: (bios?.block ?? 0) * SECTORS_PER_BLOCK })
}

/** MBR and both copies of the GPT of a `gpt` hybrid. */
export function gptRecords(hybrid: GptHybrid, at: HybridLocations): SystemRecord[] {
  const diskSectorCount = at.totalBlocks * SECTORS_PER_BLOCK
  const hasBootCode = hybrid.bootCode !== undefined
  const seed = guidToText(hybrid.diskGuid)
  const entries: GptEntry[] = [
    {
      name: 'ISO9660',
      typeGuid: PARTITION_TYPE_GUID.linuxData,
      partitionGuid: deriveGuid(seed, 'iso9660 partition'),
      startSector: PARTITION_OFFSET_BLOCKS * SECTORS_PER_BLOCK,
      sectorCount: at.isoPartitionBlocks * SECTORS_PER_BLOCK,
      attributes: ATTRIBUTE.readOnly | (hasBootCode ? ATTRIBUTE.legacyBiosBootable : 0n),
    },
  ]
  if (at.efi !== undefined) {
    entries.push({
      name: 'EFI System Partition',
      typeGuid: PARTITION_TYPE_GUID.efiSystem,
      partitionGuid: deriveGuid(seed, 'efi system partition'),
      startSector: at.efi.block * SECTORS_PER_BLOCK,
      sectorCount: Math.ceil(at.efi.size / BLOCK_SIZE) * SECTORS_PER_BLOCK,
    })
  }
  const { entryCount } = GPT_DEFAULTS
  const arraySectors = entryArraySectors(entryCount, SECTOR_SIZE)
  const bootRecord = protectiveMbr({
    diskSectorCount,
    forceBootable: hasBootCode,
    ...(hybrid.bootCode === undefined ? {} : { bootCode: bootCodeFor(hybrid.bootCode, at.bios) }),
  })
  const firstUsableSector = PRIMARY_ARRAY_SECTOR + arraySectors
  const lastUsableSector = diskSectorCount - arraySectors - 2
  return withTables(bootRecord, { diskGuid: hybrid.diskGuid, diskSectorCount, entryCount, entries, firstUsableSector, lastUsableSector })
}

/** MBR and, with an EFI image, both copies of the GPT as nixpkgs' call of xorriso writes them. */
export function nixpkgsRecords(hybrid: NixpkgsHybrid, at: HybridLocations): SystemRecord[] {
  const diskSectorCount = at.totalBlocks * SECTORS_PER_BLOCK
  const { efi, geometry } = at
  const unreachable = Uint8Array.of(0xfe, 0xff, 0xff)
  const partitions: MbrPartition[] = [
    {
      active: true,
      type: efi === undefined ? ISOHYBRID_TYPE : PARTITION_TYPE.empty,
      startSector: 0,
      sectorCount: Math.min(diskSectorCount, UINT32_LIMIT),
      startChs: chs(0, geometry),
      endChs: lastChs(diskSectorCount, geometry),
    },
  ]
  const efiSectors = efi === undefined ? 0 : Math.ceil(efi.size / BLOCK_SIZE) * SECTORS_PER_BLOCK
  if (efi !== undefined) {
    partitions.push({
      type: PARTITION_TYPE.efiSystem,
      startSector: efi.block * SECTORS_PER_BLOCK,
      sectorCount: efiSectors,
      startChs: unreachable,
      endChs: unreachable,
    })
  }
  const derivedId = deriveBytes(guidToText(hybrid.diskGuid), 'isohybrid mbr id', 4)
  const bootRecord = mbr({
    bootCode: bootCodeFor(hybrid.bootCode, at.bios),
    diskSignature: hybrid.mbrId ?? new DataView(derivedId.buffer).getUint32(0, true),
    partitions,
  })
  if (efi === undefined) return [{ position: 0, bytes: bootRecord }]
  const arraySectors = entryArraySectors(NIXPKGS_ENTRY_COUNT, SECTOR_SIZE)
  const basicData = (index: number, name: string, startSector: number, sectorCount: number): GptEntry => {
    const partitionGuid = Uint8Array.from(hybrid.diskGuid)
    partitionGuid[9] = (partitionGuid[9] ?? 0) ^ index
    return {
      name,
      typeGuid: PARTITION_TYPE_GUID.basicData,
      partitionGuid,
      startSector,
      sectorCount,
      attributes: ATTRIBUTE.required | ATTRIBUTE.readOnly,
    }
  }
  return withTables(bootRecord, {
    diskGuid: hybrid.diskGuid,
    diskSectorCount,
    entryCount: NIXPKGS_ENTRY_COUNT,
    entries: [
      basicData(1, 'ISOHybrid', 0, diskSectorCount - NIXPKGS_GPT_BLOCKS * SECTORS_PER_BLOCK),
      basicData(2, 'ISOHybrid1', efi.block * SECTORS_PER_BLOCK, efiSectors),
    ],
    firstUsableSector: PRIMARY_ARRAY_SECTOR + arraySectors,
    lastUsableSector: diskSectorCount - arraySectors - 2,
  })
}

/** Head and sector of the last sector, in cylinder 1023 at most: isohybrid's rule, not the general one. */
function lastChs(diskSectorCount: number, geometry: Geometry): Uint8Array {
  const cylinderSectors = geometry.headsPerCylinder * geometry.sectorsPerTrack
  const cylinder = Math.min(Math.ceil(diskSectorCount / cylinderSectors), CYLINDER_LIMIT) - 1
  return chs((cylinder + 1) * cylinderSectors - 1, geometry)
}

function withTables(bootRecord: Uint8Array, options: Omit<Parameters<typeof gptTables>[0], 'sectorSize'>): SystemRecord[] {
  const tables = gptTables({ ...options, sectorSize: SECTOR_SIZE })
  return [
    { position: 0, bytes: bootRecord },
    { position: SECTOR_SIZE, bytes: tables.primaryHeader },
    { position: PRIMARY_ARRAY_SECTOR * SECTOR_SIZE, bytes: tables.entryArray },
    { position: tables.backupArraySector * SECTOR_SIZE, bytes: tables.entryArray },
    { position: (options.diskSectorCount - 1) * SECTOR_SIZE, bytes: tables.backupHeader },
  ]
}
