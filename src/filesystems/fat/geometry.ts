/**
 * How large the areas of a volume are. The type of a FAT volume is nowhere stored: drivers derive it from
 * the count of clusters (fatgen103, "FAT Type Determination"), so that count decides everything here.
 */
import { alignUp, unitsFor } from '../../bytes/align.ts'
import { ImageError } from '../../errors.ts'
import { ENTRY_SIZE, type FatType } from './disk.ts'

export interface FatGeometry {
  readonly type: FatType
  /** Of the whole volume. Up to a cluster less one sector at its end belongs to no cluster. */
  readonly size: number
  readonly sectorSize: number
  readonly clusterSize: number
  readonly reservedSectorCount: number
  readonly sectorsPerFat: number
  /** Of the fixed root directory; 0 on FAT32. */
  readonly rootEntryCount: number
  readonly rootSectorCount: number
  readonly firstDataSector: number
  readonly clusterCount: number
  readonly totalSectorCount: number
}

/** What the volume must hold; how many clusters that takes hangs on their size and on the type. */
export interface SpaceNeed {
  /** 32-byte entries of the root directory, the label's included. */
  readonly rootEntryCount: number
  /** Clusters of all files and directories; those of the root directory are counted on FAT32 only. */
  clusters(type: FatType, clusterSize: number): number
}

export interface GeometryOptions {
  readonly size: number | undefined
  readonly freeSize: number
  readonly roundTo: number
  readonly type: FatType | undefined
  readonly sectorSize: 512 | 4096
  readonly clusterSize: number | undefined
  readonly leastClusterSize: number
  readonly rootEntryCount: number
  readonly alignData: boolean
}

export const FAT_COUNT = 2
const RESERVED_SECTORS: Readonly<Record<FatType, number>> = { 12: 1, 16: 1, 32: 32 }
const TYPES: readonly FatType[] = [12, 16, 32]
/** fatgen103: larger clusters are not to be used, since not all drivers can. */
const LARGEST_CLUSTER = 32768

/**
 * A volume of fewer than 4085 clusters is FAT12, of fewer than 65525 FAT16. Drivers are off by up to 16
 * around these, so fatgen103 wants formatters to stay that far away. FAT32 has 28 bits, the last 11 values reserved.
 */
const CLUSTER_COUNTS: Readonly<Record<FatType, { readonly least: number; readonly most: number }>> = {
  12: { least: 1, most: 4085 - 17 },
  16: { least: 4085 + 17, most: 65525 - 17 },
  32: { least: 65525 + 17, most: 0x0ffffff5 },
}

/**
 * Volumes up to these sizes are of the type where the caller leaves it open: Windows formats FAT12 below
 * 16 MiB, FAT16 up to 512 MiB (fatgen103, the DSKSZTOSECPERCLUS tables), and firmware is tested with that.
 */
const CUSTOMARY_SIZES: Readonly<Record<FatType, number>> = { 12: 16 * 2 ** 20, 16: 512 * 2 ** 20, 32: Number.POSITIVE_INFINITY }

/** The cluster size Windows takes for a volume of a given size (same tables). */
const CUSTOMARY_CLUSTERS: Readonly<Record<FatType, readonly (readonly [upToMebibytes: number, clusterSize: number])[]>> = {
  12: [[16, 4096]],
  16: [
    [16, 1024],
    [128, 2048],
    [256, 4096],
    [512, 8192],
    [1024, 16384],
  ],
  32: [
    [260, 512],
    [8192, 4096],
    [16384, 8192],
    [32768, 16384],
  ],
}

interface Candidate {
  readonly type: FatType
  readonly clusterSize: number
}

/**
 * The geometry for `need`. With a given size the customary type and cluster size are taken if the tree
 * fits, else the first that does; otherwise the smallest volume, and of equal ones that with the largest
 * clusters. Throws LIMIT when there is none.
 */
export function chooseGeometry(need: SpaceNeed, options: GeometryOptions): FatGeometry {
  const { size } = options
  if (size === undefined) {
    const smallest = smallestGeometry(need, options)
    if (smallest === undefined) throw impossible(options)
    return smallest
  }
  for (const candidate of candidates(options, size)) {
    const geometry = geometryOfSize(candidate, size, need, options)
    if (geometry !== undefined && isCustomary(geometry, options) && holds(geometry, need, options)) return geometry
  }
  throw tooSmall(need, options, size)
}

/** The smallest volume, or undefined when no cluster size and type hold the tree. */
function smallestGeometry(need: SpaceNeed, options: GeometryOptions): FatGeometry | undefined {
  let best: FatGeometry | undefined
  for (const candidate of candidates(options, 0)) {
    const { least } = CLUSTER_COUNTS[candidate.type]
    const count = Math.max(least, neededClusters(candidate, need, options))
    const area = fixedArea(candidate, need, options)
    const sectors = area.firstDataSector(sectorsPerFat(candidate, count, options)) + count * area.sectorsPerCluster
    const geometry = geometryOfSize(candidate, alignUp(sectors * options.sectorSize, options.roundTo), need, options)
    if (geometry === undefined || !isCustomary(geometry, options)) continue
    const better = best === undefined || geometry.size < best.size || (geometry.size === best.size && isPreferred(geometry, best))
    if (better) best = geometry
  }
  return best
}

function isPreferred(geometry: FatGeometry, other: FatGeometry): boolean {
  return geometry.clusterSize > other.clusterSize || (geometry.clusterSize === other.clusterSize && geometry.type < other.type)
}

/** Where neither type nor cluster size is asked for, only what Windows would make of the size. */
function isCustomary(geometry: FatGeometry, options: GeometryOptions): boolean {
  if (options.type !== undefined || options.clusterSize !== undefined) return true
  return geometry.size <= CUSTOMARY_SIZES[geometry.type]
}

function candidates(options: GeometryOptions, size: number): Candidate[] {
  const list: Candidate[] = []
  for (const type of options.type === undefined ? TYPES : [options.type]) {
    if (options.clusterSize !== undefined) {
      list.push({ type, clusterSize: options.clusterSize })
      continue
    }
    const customary = CUSTOMARY_CLUSTERS[type].find(([upTo]) => size <= upTo * 2 ** 20)?.[1] ?? LARGEST_CLUSTER
    if (customary >= options.leastClusterSize) list.push({ type, clusterSize: customary })
    for (let clusterSize: number = options.leastClusterSize; clusterSize <= LARGEST_CLUSTER; clusterSize *= 2) {
      if (clusterSize !== customary) list.push({ type, clusterSize })
    }
  }
  return list
}

/** The volume that fills `size` bytes; undefined when its count of clusters is not one of the type. */
function geometryOfSize(candidate: Candidate, size: number, need: SpaceNeed, options: GeometryOptions): FatGeometry | undefined {
  const { type, clusterSize } = candidate
  const { sectorSize } = options
  const area = fixedArea(candidate, need, options)
  const totalSectorCount = size / sectorSize
  if (totalSectorCount > 0xffffffff || area.rootEntryCount > 0xffff) return undefined
  const clustersWith = (fatSectors: number) => Math.floor((totalSectorCount - area.firstDataSector(fatSectors)) / area.sectorsPerCluster)
  // More sectors of FAT leave fewer clusters, so the smallest FAT that covers its clusters can be bisected.
  let low = 1
  let high = sectorsPerFat(candidate, Math.max(1, clustersWith(1)), options)
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (sectorsPerFat(candidate, clustersWith(middle), options) <= middle) high = middle
    else low = middle + 1
  }
  const clusterCount = clustersWith(low)
  const { least, most } = CLUSTER_COUNTS[type]
  if (clusterCount < least || clusterCount > most) return undefined
  const firstDataSector = area.firstDataSector(low)
  return {
    type,
    size,
    sectorSize,
    clusterSize,
    reservedSectorCount: firstDataSector - FAT_COUNT * low - area.rootSectorCount,
    sectorsPerFat: low,
    rootEntryCount: area.rootEntryCount,
    rootSectorCount: area.rootSectorCount,
    firstDataSector,
    clusterCount,
    totalSectorCount,
  }
}

/** Everything before the data area, but for the length of the FATs. */
function fixedArea({ type, clusterSize }: Candidate, need: SpaceNeed, options: GeometryOptions) {
  const { sectorSize } = options
  const sectorsPerCluster = clusterSize / sectorSize
  const wanted = Math.max(need.rootEntryCount, options.rootEntryCount)
  const rootEntryCount = type === 32 ? 0 : alignUp(wanted, sectorSize / ENTRY_SIZE)
  const rootSectorCount = (rootEntryCount * ENTRY_SIZE) / sectorSize
  const firstDataSector = (fatSectors: number) => {
    const sector = RESERVED_SECTORS[type] + FAT_COUNT * fatSectors + rootSectorCount
    return options.alignData ? alignUp(sector, sectorsPerCluster) : sector
  }
  return { sectorsPerCluster, rootEntryCount, rootSectorCount, firstDataSector }
}

/** Sectors of one FAT: an entry a cluster and two more. */
function sectorsPerFat({ type }: Candidate, clusterCount: number, { sectorSize }: GeometryOptions): number {
  return unitsFor((clusterCount + 2) * type, 8 * sectorSize)
}

function neededClusters({ type, clusterSize }: Candidate, need: SpaceNeed, options: GeometryOptions): number {
  return need.clusters(type, clusterSize) + unitsFor(options.freeSize, clusterSize)
}

function holds(geometry: FatGeometry, need: SpaceNeed, options: GeometryOptions): boolean {
  return geometry.clusterCount >= neededClusters(geometry, need, options)
}

function impossible(options: GeometryOptions): ImageError {
  const type = options.type === undefined ? 'FAT' : `FAT${options.type}`
  const clusters = options.clusterSize === undefined ? '' : ` with clusters of ${options.clusterSize} bytes`
  const range =
    options.type === undefined ? '' : `; it has ${CLUSTER_COUNTS[options.type].least} to ${CLUSTER_COUNTS[options.type].most} clusters`
  return new ImageError('LIMIT', `fat: no ${type} volume${clusters} holds the tree${range}; choose another type or cluster size`)
}

function tooSmall(need: SpaceNeed, options: GeometryOptions, size: number): ImageError {
  const smallest = smallestGeometry(need, { ...options, size: undefined, roundTo: options.sectorSize })
  if (smallest === undefined) return impossible(options)
  if (size < smallest.size) {
    const what = options.type === undefined ? 'the tree' : `FAT${options.type} with the tree`
    return new ImageError('LIMIT', `fat: ${what} needs ${smallest.size} bytes, the volume has ${size}; make it larger`)
  }
  const type = options.type === undefined ? 'type' : `FAT${options.type}`
  return new ImageError(
    'LIMIT',
    `fat: no ${type} with the asked cluster size has a valid count of clusters in ${size} bytes; choose another type, cluster size or volume size`,
  )
}
