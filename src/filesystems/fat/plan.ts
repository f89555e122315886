/** From a tree and options to the addresses of a FAT volume. Pure: no content is read. */
import { unitsFor } from '../../bytes/align.ts'
import { ascii } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { checkDepth } from '../../tree/depth.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import { ENTRY_SIZE, type FatType, FIRST_CLUSTER } from './disk.ts'
import { chooseGeometry, type FatGeometry, type GeometryOptions } from './geometry.ts'
import { type FatDirectory, type FatFile, type FatTree, fatTree } from './tree.ts'

export interface FatOptions {
  /** Of the volume in bytes, a multiple of the sector size; without it the smallest that holds the tree. */
  readonly size?: number
  /** Bytes that stay free, in whole clusters. */
  readonly freeSize?: number
  /** A computed size is a multiple of this many bytes; default: the sector size. */
  readonly roundTo?: number
  /** Without it by size, as Windows does: FAT12 up to 16 MiB, FAT16 up to 512 MiB, then FAT32. */
  readonly type?: FatType
  readonly sectorSize?: 512 | 4096
  /** In bytes, a power of two from the sector size to 32768. */
  readonly clusterSize?: number
  /** Where the cluster size is left open; default: the sector size. A power of two from there to 32768. */
  readonly leastClusterSize?: number
  /** Up to 11 characters; without it the volume has no label. */
  readonly label?: string
  /** Of the label entry. */
  readonly mtimeSeconds?: number
  /** 32 bits by which systems tell volumes apart; derive it from a seed. */
  readonly volumeSerial?: number
  /** Sectors before the volume on its disk. */
  readonly hiddenSectors?: number
  /** The fixed root directory of FAT12 and FAT16 has at least this many entries; it grows to hold the tree. */
  readonly rootEntryCount?: number
  /** Begin the data area at a multiple of the cluster size, for flash media. */
  readonly alignData?: boolean
  /** Geometry for BIOS calls; without it by size, as dosfstools does. */
  readonly sectorsPerTrack?: number
  readonly headCount?: number
}

export const FAT_DEFAULTS = {
  freeSize: 0,
  sectorSize: 512,
  mtimeSeconds: 0,
  volumeSerial: 0,
  hiddenSectors: 0,
  rootEntryCount: 512,
  alignData: false,
} as const

/** A run of clusters; `firstCluster` is 0 where there are none. */
export interface ClusterRun {
  readonly firstCluster: number
  readonly clusterCount: number
}

/** `firstCluster` of the root directory of FAT12 and FAT16 is 0: it has an area of its own. */
export type PlannedDirectory = FatDirectory & ClusterRun
export type PlannedFile = FatFile & ClusterRun

export interface FatPlan extends FatGeometry {
  /** 11 characters, blank padded; undefined for none. */
  readonly label: string | undefined
  readonly mtimeSeconds: number
  readonly volumeSerial: number
  readonly hiddenSectorCount: number
  readonly sectorsPerTrack: number
  readonly headCount: number
  /** Directories lie before files; both in this order and without gaps from cluster 2 on. */
  readonly directories: readonly PlannedDirectory[]
  readonly files: readonly PlannedFile[]
  readonly usedClusterCount: number
  readonly freeClusterCount: number
}

/**
 * Lay out a FAT volume. Throws USAGE for options that do not fit, UNSUPPORTED for trees that FAT cannot
 * hold, and LIMIT for files, directories and trees that are too large.
 */
export function planFat(root: DirectoryNode, options: FatOptions = {}): FatPlan {
  checkDepth(root)
  const geometryOptions = checkOptions(options)
  const label = options.label === undefined ? undefined : checkLabel(options.label)
  const tree = fatTree(root, label !== undefined)
  const geometry = chooseGeometry(
    {
      rootEntryCount: tree.directories[0]?.entryCount ?? 0,
      clusters: (type, clusterSize) => countClusters(tree, type, clusterSize),
    },
    geometryOptions,
  )
  let next = FIRST_CLUSTER
  const place = (clusterCount: number): ClusterRun => {
    const firstCluster = clusterCount === 0 ? 0 : next
    next += clusterCount
    return { firstCluster, clusterCount }
  }
  const directories = tree.directories.map((directory, i) => ({
    ...directory,
    ...place(directoryClusters(directory, i === 0, geometry.type, geometry.clusterSize)),
  }))
  const files = tree.files.map((file) => ({ ...file, ...place(unitsFor(file.node.size, geometry.clusterSize)) }))
  const usedClusterCount = next - FIRST_CLUSTER
  const customary = customaryDiskGeometry(geometry.size)
  return {
    ...geometry,
    label,
    mtimeSeconds: options.mtimeSeconds ?? FAT_DEFAULTS.mtimeSeconds,
    volumeSerial: checkRange('volumeSerial', options.volumeSerial ?? FAT_DEFAULTS.volumeSerial, 0, 0xffffffff),
    hiddenSectorCount: checkRange('hiddenSectors', options.hiddenSectors ?? FAT_DEFAULTS.hiddenSectors, 0, 0xffffffff),
    sectorsPerTrack: checkRange('sectorsPerTrack', options.sectorsPerTrack ?? customary.sectorsPerTrack, 1, 63),
    headCount: checkRange('headCount', options.headCount ?? customary.headCount, 1, 255),
    directories,
    files,
    usedClusterCount,
    freeClusterCount: geometry.clusterCount - usedClusterCount,
  }
}

/** Bytes before the content of a file that is not empty, from the beginning of the volume; its clusters follow each other. */
export function fileOffset({ firstDataSector, sectorSize, clusterSize }: FatPlan, { firstCluster }: PlannedFile): number {
  return firstDataSector * sectorSize + (firstCluster - FIRST_CLUSTER) * clusterSize
}

function countClusters(tree: FatTree, type: FatType, clusterSize: number): number {
  let count = 0
  tree.directories.forEach((directory, i) => {
    count += directoryClusters(directory, i === 0, type, clusterSize)
  })
  for (const file of tree.files) count += unitsFor(file.node.size, clusterSize)
  return count
}

function directoryClusters(directory: FatDirectory, isRoot: boolean, type: FatType, clusterSize: number): number {
  if (isRoot && type !== 32) return 0
  return Math.max(1, unitsFor(directory.entryCount * ENTRY_SIZE, clusterSize))
}

function checkOptions(options: FatOptions): GeometryOptions {
  const { size, type, clusterSize } = options
  const sectorSize = options.sectorSize ?? FAT_DEFAULTS.sectorSize
  if (sectorSize !== 512 && sectorSize !== 4096) throw unsupported(`sectors of ${sectorSize} bytes; use 512 or 4096`)
  if (type !== undefined && type !== 12 && type !== 16 && type !== 32) throw unsupported(`FAT${type}; use 12, 16 or 32`)
  if (clusterSize !== undefined && (!Number.isInteger(Math.log2(clusterSize)) || clusterSize < sectorSize || clusterSize > 32768)) {
    throw unsupported(`clusters of ${clusterSize} bytes; use a power of two from ${sectorSize} to 32768`)
  }
  const leastClusterSize = options.leastClusterSize ?? sectorSize
  if (!Number.isInteger(Math.log2(leastClusterSize)) || leastClusterSize < sectorSize || leastClusterSize > 32768) {
    throw unsupported(`clusters of ${leastClusterSize} bytes and more; use a power of two from ${sectorSize} to 32768`)
  }
  const roundTo = options.roundTo ?? sectorSize
  for (const [name, value] of [['size', size ?? sectorSize] as const, ['roundTo', roundTo] as const]) {
    if (!Number.isSafeInteger(value) || value <= 0 || value % sectorSize !== 0) {
      throw new ImageError('USAGE', `fat: ${name} is ${value} bytes, it must be a multiple of the sector size, ${sectorSize}`)
    }
  }
  return {
    size,
    type,
    clusterSize,
    leastClusterSize,
    sectorSize,
    roundTo,
    freeSize: checkRange('freeSize', options.freeSize ?? FAT_DEFAULTS.freeSize, 0, Number.MAX_SAFE_INTEGER),
    rootEntryCount: checkRange('rootEntryCount', options.rootEntryCount ?? FAT_DEFAULTS.rootEntryCount, 1, 65520),
    alignData: options.alignData ?? FAT_DEFAULTS.alignData,
  }
}

function unsupported(what: string): ImageError {
  return new ImageError('UNSUPPORTED', `fat: no support for ${what}`)
}

function checkRange(name: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value
  throw new ImageError('USAGE', `fat: ${name} is ${value}, it must be an integer from ${least} to ${most}`)
}

/** A label is a short name without the dot (fatgen103, ATTR_VOLUME_ID): upper case, no long form. */
function checkLabel(label: string): string {
  ascii(label, 'fat: label')
  if (label.length > 11) throw new ImageError('LIMIT', `fat: label '${label}' has ${label.length} characters, FAT allows 11; shorten it`)
  if (!/^[A-Z0-9$%'_@~`!(){}^#&-][A-Z0-9$%'_@~`!(){}^#& -]*$/.test(label) || label.endsWith(' ')) {
    throw new ImageError('USAGE', `fat: label '${label}' may hold upper-case letters, digits, inner blanks and $%'-_@~\`!(){}^#& only`)
  }
  return label.padEnd(11)
}

/** Sectors a track and heads by size in MiB: SD Memory Card, Part 2, up to 256 MiB, then BIOS LBA assist. */
const DISK_GEOMETRIES: readonly (readonly [upToMebibytes: number, sectorsPerTrack: number, headCount: number])[] = [
  [2, 16, 2],
  [16, 32, 2],
  [32, 32, 4],
  [128, 32, 8],
  [256, 32, 16],
  [504, 63, 16],
  [1008, 63, 32],
  [2016, 63, 64],
  [4032, 63, 128],
]

function customaryDiskGeometry(size: number): { sectorsPerTrack: number; headCount: number } {
  const [, sectorsPerTrack, headCount] = DISK_GEOMETRIES.find(([upTo]) => size <= upTo * 2 ** 20) ?? [0, 63, 255]
  return { sectorsPerTrack, headCount }
}
