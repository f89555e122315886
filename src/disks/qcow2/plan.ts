/** Where everything goes in a qcow2 image, before a byte of content is read. */
import { alignUp, unitsFor } from '../../bytes/align.ts'
import { ImageError } from '../../errors.ts'
import { type BlockRuns, coarserRuns } from '../../io/block-runs.ts'
import { blockRuns } from '../../io/blocks.ts'
import type { Image } from '../../io/image.ts'
import { CLUSTER_BITS, ENTRY_SIZE, L1_TABLE_LIMIT, REFCOUNT_SIZE, REFCOUNT_TABLE_LIMIT } from './disk.ts'

export interface Qcow2Options {
  /** Bytes: a power of two, 512 to 2 MiB; default 64 KiB. */
  readonly clusterSize?: number
}

export const QCOW2_DEFAULTS = { clusterSize: 1 << CLUSTER_BITS.default } as const

/** What both kinds of images have: the virtual disk, its tables, and which parts of them are needed. */
export interface Qcow2Layout {
  /** Bytes of the virtual disk: the image's size, rounded up to sectors of 512 bytes as qemu-img does. */
  readonly size: number
  readonly clusterBits: number
  readonly clusterSize: number
  /** Entries of the L1 table: one an L2 table. */
  readonly l1Size: number
  readonly l1Clusters: number
  /** Guest clusters that hold data. */
  readonly clusters: BlockRuns
  /** L2 tables that hold an entry. */
  readonly l2Tables: BlockRuns
}

/** Clusters one after the other, in this order; all are counted from the start of the file. */
export interface Qcow2Plan extends Qcow2Layout {
  readonly refcountTableClusters: number
  readonly refcountBlockClusters: number
  readonly firstRefcountTableCluster: number
  readonly firstRefcountBlockCluster: number
  readonly firstL1Cluster: number
  readonly firstL2Cluster: number
  readonly firstDataCluster: number
  readonly clusterCount: number
}

/** Throws USAGE for a cluster size that does not exist, LIMIT for a disk that such clusters cannot address. */
export function planLayout(image: Image, options: Qcow2Options): Qcow2Layout {
  const clusterSize = options.clusterSize ?? QCOW2_DEFAULTS.clusterSize
  const clusterBits = Math.log2(clusterSize)
  const { minimum, maximum } = CLUSTER_BITS
  if (!Number.isInteger(clusterBits) || clusterBits < minimum || clusterBits > maximum) {
    throw new ImageError('USAGE', `qcow2: cluster size ${clusterSize}; give a power of two from ${1 << minimum} to ${1 << maximum}`)
  }
  const size = alignUp(image.size, 512)
  const entriesPerTable = clusterSize / ENTRY_SIZE
  const l1Size = unitsFor(size, clusterSize * entriesPerTable)
  const largest = (L1_TABLE_LIMIT / ENTRY_SIZE) * clusterSize * entriesPerTable
  if (size > largest) {
    throw new ImageError(
      'LIMIT',
      `qcow2: the disk has ${size} bytes, with clusters of ${clusterSize} QEMU opens up to ${largest}; choose larger clusters`,
    )
  }
  const clusters = blockRuns(image, clusterSize)
  const l2Tables = coarserRuns(clusters, entriesPerTable)
  return { size, clusterBits, clusterSize, l1Size, l1Clusters: unitsFor(l1Size * ENTRY_SIZE, clusterSize), clusters, l2Tables }
}

/** The whole of an image whose clusters are stored as they are. Throws what `planLayout` throws. */
export function planQcow2(image: Image, options: Qcow2Options = {}): Qcow2Plan {
  const layout = planLayout(image, options)
  const { clusterSize, l1Clusters } = layout
  const fixedClusters = 1 + l1Clusters + layout.l2Tables.blockCount + layout.clusters.blockCount
  const { refcountBlockClusters, refcountTableClusters } = refcountClusters(fixedClusters, clusterSize)
  const firstRefcountTableCluster = 1
  const firstRefcountBlockCluster = firstRefcountTableCluster + refcountTableClusters
  const firstL1Cluster = firstRefcountBlockCluster + refcountBlockClusters
  const firstL2Cluster = firstL1Cluster + l1Clusters
  return {
    ...layout,
    refcountTableClusters,
    refcountBlockClusters,
    firstRefcountTableCluster,
    firstRefcountBlockCluster,
    firstL1Cluster,
    firstL2Cluster,
    firstDataCluster: firstL2Cluster + layout.l2Tables.blockCount,
    clusterCount: fixedClusters + refcountTableClusters + refcountBlockClusters,
  }
}

/** The refcount structures that count `otherClusters` and themselves. Throws LIMIT when QEMU would not open the table. */
export function refcountClusters(
  otherClusters: number,
  clusterSize: number,
): { readonly refcountBlockClusters: number; readonly refcountTableClusters: number } {
  const countsPerBlock = clusterSize / REFCOUNT_SIZE
  let refcountBlockClusters = 0
  let refcountTableClusters = 1
  for (;;) {
    const blocks = unitsFor(otherClusters + refcountBlockClusters + refcountTableClusters, countsPerBlock)
    const tables = Math.max(1, unitsFor(blocks * ENTRY_SIZE, clusterSize))
    if (blocks === refcountBlockClusters && tables === refcountTableClusters) break
    refcountBlockClusters = blocks
    refcountTableClusters = tables
  }
  if (refcountTableClusters * clusterSize > REFCOUNT_TABLE_LIMIT) {
    throw new ImageError(
      'LIMIT',
      `qcow2: ${otherClusters} clusters of ${clusterSize} bytes need a refcount table of more than ${REFCOUNT_TABLE_LIMIT} bytes; choose larger clusters`,
    )
  }
  return { refcountBlockClusters, refcountTableClusters }
}
