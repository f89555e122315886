/** Where partitions go on a GPT disk. */
import { alignUp } from '../../bytes/align.ts'
import { deriveGuid } from '../../bytes/guid.ts'
import { ImageError } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import type { SectorSize } from '../sectors.ts'
import { entryArraySectors, type GptEntry, PRIMARY_ARRAY_SECTOR } from './records.ts'

export interface GptPartition {
  /** At most 36 UTF-16 units; also the purpose from which a missing GUID is derived. */
  readonly name: string
  readonly typeGuid: Uint8Array
  readonly partitionGuid?: Uint8Array
  readonly attributes?: bigint
  /** Lies at the start of the partition. */
  readonly image: Image
  /** Bytes of the partition; the image's own size, rounded up to sectors, when not given. */
  readonly size?: number
  /** The partition's number, from 1 on; when not given, its place in the list. */
  readonly number?: number
  /** First sector of the partition, which may lie before the ones given earlier; when not given, the next aligned one behind them. */
  readonly startSector?: number
}

export interface GptOptions {
  /** Identifiers that are not given are derived from it. */
  readonly seed: string
  readonly diskGuid?: Uint8Array
  /** 512 (default) or 4096. */
  readonly sectorSize?: SectorSize
  /** Partitions start at multiples of so many bytes (default 1 MiB), and the disk's size is one. */
  readonly alignment?: number
  /** Bytes of the whole disk; just enough when not given. */
  readonly size?: number
  /** At most 440 bytes for the protective MBR. */
  readonly bootCode?: Uint8Array
  /** See `ProtectiveMbrOptions`. */
  readonly forceBootable?: boolean
}

export const GPT_DEFAULTS = { sectorSize: 512, alignment: 1 << 20, entryCount: 128 } as const

export interface GptPlan {
  readonly sectorSize: SectorSize
  readonly diskSectorCount: number
  readonly firstUsableSector: number
  readonly lastUsableSector: number
  readonly entryCount: number
  readonly diskGuid: Uint8Array
  /** In the order of the partitions given. */
  readonly entries: readonly GptEntry[]
}

/** Addresses of everything on the disk. Throws USAGE for a malformed request and LIMIT for what does not fit. */
export function planGpt(partitions: readonly GptPartition[], options: GptOptions): GptPlan {
  const sectorSize = options.sectorSize ?? GPT_DEFAULTS.sectorSize
  if (sectorSize !== 512 && sectorSize !== 4096) throw new ImageError('USAGE', `gpt: sector size ${sectorSize}; 512 and 4096 are possible`)
  const alignment = options.alignment ?? GPT_DEFAULTS.alignment
  if (alignment < sectorSize || alignment % sectorSize !== 0) {
    throw new ImageError('USAGE', `gpt: alignment ${alignment} is not a multiple of the sector size ${sectorSize}`)
  }
  const { entryCount } = GPT_DEFAULTS
  if (partitions.length > entryCount) throw new ImageError('LIMIT', `gpt: ${partitions.length} partitions, the table holds ${entryCount}`)
  const arraySectors = entryArraySectors(entryCount, sectorSize)
  const firstUsableSector = PRIMARY_ARRAY_SECTOR + arraySectors
  const alignmentSectors = alignment / sectorSize
  let nextSector = firstUsableSector
  const entries = partitions.map((partition) => {
    const size = partition.size ?? partition.image.size
    if (size < partition.image.size) {
      throw new ImageError(
        'LIMIT',
        `gpt: ${partition.name}: the partition has ${size} bytes, its image ${partition.image.size}; enlarge it`,
      )
    }
    if (size === 0) throw new ImageError('USAGE', `gpt: ${partition.name}: a partition has at least one sector`)
    const startSector = partition.startSector ?? alignUp(nextSector, alignmentSectors)
    const sectorCount = Math.ceil(size / sectorSize)
    nextSector = Math.max(nextSector, startSector + sectorCount)
    return {
      typeGuid: partition.typeGuid,
      partitionGuid: partition.partitionGuid ?? deriveGuid(options.seed, `gpt partition ${partition.name}`),
      startSector,
      sectorCount,
      name: partition.name,
      attributes: partition.attributes ?? 0n,
      ...(partition.number !== undefined && { number: partition.number }),
    }
  })
  rejectEqualGuids(entries)
  rejectOverlaps(entries, firstUsableSector)
  const neededSectors = nextSector + arraySectors + 1
  const diskSectorCount = options.size === undefined ? alignUp(neededSectors, alignmentSectors) : options.size / sectorSize
  if (!Number.isInteger(diskSectorCount)) throw new ImageError('USAGE', `gpt: disk size ${options.size} is not a multiple of ${sectorSize}`)
  if (diskSectorCount < neededSectors) {
    throw new ImageError(
      'LIMIT',
      `gpt: the disk has ${diskSectorCount} sectors, its partitions and tables need ${neededSectors}; enlarge it`,
    )
  }
  if (!Number.isSafeInteger(diskSectorCount * sectorSize)) throw new ImageError('LIMIT', 'gpt: the disk is larger than 2^53 - 1 bytes')
  return {
    sectorSize,
    diskSectorCount,
    firstUsableSector,
    lastUsableSector: diskSectorCount - arraySectors - 2,
    entryCount,
    diskGuid: options.diskGuid ?? deriveGuid(options.seed, 'gpt disk'),
    entries,
  }
}

function rejectOverlaps(entries: readonly GptEntry[], firstUsableSector: number): void {
  let free = firstUsableSector
  for (const { name, startSector, sectorCount } of [...entries].sort((a, b) => a.startSector - b.startSector)) {
    if (startSector < free) throw new ImageError('USAGE', `gpt: ${name}: starts at sector ${startSector}, the first free one is ${free}`)
    free = startSector + sectorCount
  }
}

function rejectEqualGuids(entries: readonly GptEntry[]): void {
  const seen = new Map<string, string>()
  for (const { partitionGuid, name } of entries) {
    const key = Buffer.from(partitionGuid).toString('hex')
    const other = seen.get(key)
    if (other !== undefined) {
      throw new ImageError('USAGE', `gpt: partitions '${other}' and '${name}' have the same GUID; give them different names or GUIDs`)
    }
    seen.set(key, name)
  }
}
