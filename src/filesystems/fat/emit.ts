/** From the plan to bytes, in the order of the volume: boot record, FATs, root directory, data area. */
import { ascii, utf16 } from '../../bytes/text.ts'
import { bytesExtent, type Extent } from '../../io/image.ts'
import { contentExtents } from '../../tree/content.ts'
import { messageProgram } from './boot-program.ts'
import {
  ATTRIBUTE_ARCHIVE,
  ATTRIBUTE_DIRECTORY,
  ATTRIBUTE_LONG_NAME,
  ATTRIBUTE_VOLUME_ID,
  BACKUP_BOOT_SECTOR,
  BOOT_RECORD_SECTORS,
  BOOT_SIGNATURE,
  BOOT_SIGNATURE_OFFSET,
  bootSector,
  bootSector32,
  directoryEntry,
  ENTRY_SIZE,
  EXTENDED_BOOT_RECORD_OFFSET,
  extendedBootRecord,
  FIRST_CLUSTER,
  FS_INFO_LEAD,
  FS_INFO_SECTOR,
  FS_INFO_STRUCT,
  FS_INFO_TRAIL,
  fsInfo,
  LAST_LONG_ENTRY,
  LONG_ENTRY_UNITS,
  longDirectoryEntry,
  ROOT_CLUSTER,
} from './disk.ts'
import { FAT_COUNT } from './geometry.ts'
import { shortNameChecksum } from './names.ts'
import type { ClusterRun, FatPlan, PlannedDirectory } from './plan.ts'
import { fatTable, fatTableLength } from './table.ts'
import { fatTime } from './time.ts'

const MEDIA_FIXED_DISK = 0xf8
/** The name that old drivers trust most (fatgen103, BS_OEMName). */
const OEM_NAME = 'MSWIN4.1'
const BOOT_SIGNATURE_EXTENDED = 0x29
const FIRST_FIXED_DISK = 0x80

/** The extents of the planned volume. */
export function fatExtents(plan: FatPlan): Extent[] {
  const { sectorSize } = plan
  const extents: Extent[] = [bytesExtent(0, encodeBootRecord(plan))]
  if (plan.type === 32) extents.push(bytesExtent(BACKUP_BOOT_SECTOR * sectorSize, encodeBootRecord(plan)))
  for (let copy = 0; copy < FAT_COUNT; copy++) {
    const start = (plan.reservedSectorCount + copy * plan.sectorsPerFat) * sectorSize
    extents.push({ start, length: fatTableLength(plan), read: () => fatTable(plan, MEDIA_FIXED_DISK) })
  }
  const rootStart = (plan.reservedSectorCount + FAT_COUNT * plan.sectorsPerFat) * sectorSize
  for (const directory of plan.directories) {
    if (directory.entryCount === 0) continue
    const start = directory.firstCluster === 0 ? rootStart : clusterStart(plan, directory)
    extents.push({
      start,
      length: directory.entryCount * ENTRY_SIZE,
      async *read() {
        yield encodeDirectory(plan, directory)
      },
    })
  }
  for (const file of plan.files) {
    // One by one: spread arguments have a limit that an image of many extents can meet.
    for (const extent of contentExtents(file.node, clusterStart(plan, file), `fat: ${file.path}`)) extents.push(extent)
  }
  return extents
}

function clusterStart(plan: FatPlan, run: ClusterRun): number {
  return plan.firstDataSector * plan.sectorSize + (run.firstCluster - FIRST_CLUSTER) * plan.clusterSize
}

/** fatgen103, "Boot Sector and BPB Structure" and "FAT32 FSInfo Sector Structure and Backup Boot Sector". */
function encodeBootRecord(plan: FatPlan): Uint8Array {
  const { type, sectorSize, totalSectorCount } = plan
  const record = new Uint8Array(type === 32 ? BOOT_RECORD_SECTORS * sectorSize : sectorSize)
  const extendedOffset = EXTENDED_BOOT_RECORD_OFFSET[type]
  const programOffset = extendedOffset + extendedBootRecord.size
  const fitsIn16 = type !== 32 && totalSectorCount < 0x10000
  bootSector.write(record, 0, {
    // jmp short to the program, nop
    jumpBoot: Uint8Array.of(0xeb, programOffset - 2, 0x90),
    oemName: ascii(OEM_NAME, 'OEM name'),
    bytesPerSector: sectorSize,
    sectorsPerCluster: plan.clusterSize / sectorSize,
    reservedSectorCount: plan.reservedSectorCount,
    fatCount: FAT_COUNT,
    rootEntryCount: plan.rootEntryCount,
    totalSectorCount16: fitsIn16 ? totalSectorCount : 0,
    media: MEDIA_FIXED_DISK,
    sectorsPerFat16: type === 32 ? 0 : plan.sectorsPerFat,
    sectorsPerTrack: plan.sectorsPerTrack,
    headCount: plan.headCount,
    hiddenSectorCount: plan.hiddenSectorCount,
    totalSectorCount32: fitsIn16 ? 0 : totalSectorCount,
  })
  if (type === 32) {
    bootSector32.write(record, bootSector.size, {
      sectorsPerFat32: plan.sectorsPerFat,
      rootCluster: ROOT_CLUSTER,
      fsInfoSector: FS_INFO_SECTOR,
      backupBootSector: BACKUP_BOOT_SECTOR,
    })
  }
  extendedBootRecord.write(record, extendedOffset, {
    driveNumber: FIRST_FIXED_DISK,
    bootSignature: BOOT_SIGNATURE_EXTENDED,
    volumeSerial: plan.volumeSerial,
    volumeLabel: ascii(plan.label ?? 'NO NAME    ', 'label'),
    fileSystemType: ascii(`FAT${type}   `, 'file system type'),
  })
  record.set(messageProgram(), programOffset)
  record.set(BOOT_SIGNATURE, BOOT_SIGNATURE_OFFSET)
  if (type === 32) {
    fsInfo.write(record, FS_INFO_SECTOR * sectorSize, {
      leadSignature: FS_INFO_LEAD,
      structSignature: FS_INFO_STRUCT,
      freeClusterCount: plan.freeClusterCount,
      nextFreeCluster: Math.min(FIRST_CLUSTER + plan.usedClusterCount, FIRST_CLUSTER + plan.clusterCount - 1),
      trailSignature: FS_INFO_TRAIL,
    })
    record.set(BOOT_SIGNATURE, 2 * sectorSize + BOOT_SIGNATURE_OFFSET)
  }
  return record
}

/** fatgen103, "FAT Directory Structure" and "FAT Long Directory Entries". */
function encodeDirectory(plan: FatPlan, directory: PlannedDirectory): Uint8Array {
  const bytes = new Uint8Array(directory.entryCount * ENTRY_SIZE)
  let offset = 0
  const add = (short: string, attributes: number, mtimeSeconds: number, firstCluster: number, fileSize: number): void => {
    const { date, time } = fatTime(mtimeSeconds)
    directoryEntry.write(bytes, offset, {
      name: ascii(short, 'short name'),
      attributes,
      createTime: time,
      createDate: date,
      lastAccessDate: date,
      firstClusterHigh: firstCluster >>> 16,
      writeTime: time,
      writeDate: date,
      firstClusterLow: firstCluster & 0xffff,
      fileSize,
    })
    offset += ENTRY_SIZE
  }
  if (directory.path !== '/') {
    const parent = plan.directories[directory.parent] as PlannedDirectory
    add('.          ', ATTRIBUTE_DIRECTORY, directory.mtimeSeconds, directory.firstCluster, 0)
    // The root is cluster 0 here, on FAT32 too (fatgen103, on "..").
    add('..         ', ATTRIBUTE_DIRECTORY, parent.mtimeSeconds, parent.path === '/' ? 0 : parent.firstCluster, 0)
  } else if (plan.label !== undefined) {
    add(plan.label, ATTRIBUTE_VOLUME_ID, plan.mtimeSeconds, 0, 0)
  }
  for (const entry of directory.entries) {
    offset += encodeLongName(bytes, offset, entry.long, entry.short, entry.longEntryCount)
    if (entry.kind === 'directory') {
      const child = plan.directories[entry.index] as PlannedDirectory
      add(entry.short, ATTRIBUTE_DIRECTORY, child.mtimeSeconds, child.firstCluster, 0)
    } else {
      const file = plan.files[entry.index] as FatPlan['files'][number]
      add(entry.short, ATTRIBUTE_ARCHIVE, file.node.mtimeSeconds, file.firstCluster, file.node.size)
    }
  }
  return bytes
}

/** The long entries of a name, its end first; returns their length in bytes. */
function encodeLongName(bytes: Uint8Array, offset: number, long: string, short: string, count: number): number {
  // Zero ends a name that does not fill its entries; 0xFFFF fills what is left.
  const units = new Uint8Array(count * LONG_ENTRY_UNITS * 2).fill(0xff)
  if (count > 0 && long.length < count * LONG_ENTRY_UNITS) units.fill(0, long.length * 2, long.length * 2 + 2)
  if (count > 0) units.set(utf16(long, 'le'))
  const checksum = shortNameChecksum(short)
  for (let order = count; order >= 1; order--) {
    const part = units.subarray((order - 1) * LONG_ENTRY_UNITS * 2, order * LONG_ENTRY_UNITS * 2)
    longDirectoryEntry.write(bytes, offset + (count - order) * ENTRY_SIZE, {
      order: order === count ? order | LAST_LONG_ENTRY : order,
      name1: part.subarray(0, 10),
      attributes: ATTRIBUTE_LONG_NAME,
      checksum,
      name2: part.subarray(10, 22),
      name3: part.subarray(22, 26),
    })
  }
  return count * ENTRY_SIZE
}
