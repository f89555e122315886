/** A GUID partition table as bytes: both headers and the one entry array that they name. */
import { crc32 } from 'node:zlib'
import { utf16 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { entry, header, REVISION, SIGNATURE } from './disk.ts'

/** One entry. GUIDs are the bytes on disk. */
export interface GptEntry {
  readonly typeGuid: Uint8Array
  readonly partitionGuid: Uint8Array
  readonly startSector: number
  readonly sectorCount: number
  readonly name: string
  readonly attributes?: bigint
  /** Its slot, from 1 on, where that is not its place in the list. */
  readonly number?: number
}

export interface GptTableOptions {
  readonly diskGuid: Uint8Array
  /** Sectors of the whole disk. */
  readonly diskSectorCount: number
  /** 512 or 4096. */
  readonly sectorSize: number
  /** Slots of the array; at least 128 for a disk that firmware reads (UEFI 2.10, 5.3.1: 16 KiB). */
  readonly entryCount: number
  readonly firstUsableSector: number
  readonly lastUsableSector: number
  /** In the order of their slots, where they have no numbers. */
  readonly entries: readonly GptEntry[]
}

export interface GptTables {
  /** One sector each; the primary one is sector 1, the backup the last of the disk. */
  readonly primaryHeader: Uint8Array
  readonly backupHeader: Uint8Array
  /** Whole sectors, at sector 2 and just before the backup header. */
  readonly entryArray: Uint8Array
  readonly backupArraySector: number
}

export const PRIMARY_ARRAY_SECTOR = 2

/** Sectors of an entry array. */
export function entryArraySectors(entryCount: number, sectorSize: number): number {
  return Math.ceil((entryCount * entry.size) / sectorSize)
}

/** Both copies of the table. Throws LIMIT when a name or an entry does not fit, USAGE for numbers that cannot be. */
export function gptTables(options: GptTableOptions): GptTables {
  const { entries, entryCount, sectorSize, diskSectorCount } = options
  if (entries.length > entryCount) throw new ImageError('LIMIT', `gpt: ${entries.length} partitions, the table holds ${entryCount}`)
  const slots = entries.map(({ number }, index) => slotOf(number ?? index + 1, entryCount))
  const twin = slots.find((slot, index) => slots.indexOf(slot) !== index)
  if (twin !== undefined) throw new ImageError('USAGE', `gpt: two partitions have the number ${twin + 1}`)
  const arraySectors = entryArraySectors(entryCount, sectorSize)
  const entryArray = new Uint8Array(arraySectors * sectorSize)
  entries.forEach((partition, index) => {
    const name = utf16(partition.name, 'le')
    if (name.length > 72)
      throw new ImageError('LIMIT', `gpt: partition name '${partition.name}' is longer than 36 UTF-16 units; shorten it`)
    entry.write(entryArray, (slots[index] as number) * entry.size, {
      typeGuid: partition.typeGuid,
      partitionGuid: partition.partitionGuid,
      startSector: partition.startSector,
      lastSector: partition.startSector + partition.sectorCount - 1,
      attributes: partition.attributes ?? 0n,
      name,
    })
  })
  const lastSector = diskSectorCount - 1
  const backupArraySector = lastSector - arraySectors
  const common = {
    signature: SIGNATURE,
    revision: REVISION,
    headerSize: header.size,
    firstUsableSector: options.firstUsableSector,
    lastUsableSector: options.lastUsableSector,
    diskGuid: options.diskGuid,
    entryCount,
    entrySize: entry.size,
    entryArrayCrc32: crc32(entryArray.subarray(0, entryCount * entry.size)),
  }
  const sector = (mySector: number, alternateSector: number, entryArraySector: number): Uint8Array => {
    const bytes = new Uint8Array(sectorSize)
    header.write(bytes, 0, { ...common, mySector, alternateSector, entryArraySector })
    header.write(bytes, 0, { headerCrc32: crc32(bytes.subarray(0, header.size)) })
    return bytes
  }
  return {
    primaryHeader: sector(1, lastSector, PRIMARY_ARRAY_SECTOR),
    backupHeader: sector(lastSector, 1, backupArraySector),
    entryArray,
    backupArraySector,
  }
}

/** Throws USAGE for a number that no slot has. */
function slotOf(number: number, entryCount: number): number {
  if (Number.isInteger(number) && number >= 1 && number <= entryCount) return number - 1
  throw new ImageError('USAGE', `gpt: a partition has the number ${number}, the table has 1 to ${entryCount}`)
}
