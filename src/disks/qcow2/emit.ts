/** From the plan of a qcow2 image to its bytes: tables are made when they are read, a piece at a time. */
import { runFinder } from '../../io/block-runs.ts'
import { entryExtents, gatheredExtents, tableExtent } from '../../io/blocks.ts'
import { bytesExtent, type Extent, type Image } from '../../io/image.ts'
import { COMPRESSION_TYPE, ENTRY_SIZE, HIGH, header, headerExtensions, INCOMPATIBLE, MAGIC, REFCOUNT_ORDER, REFCOUNT_SIZE } from './disk.ts'
import type { Qcow2Layout, Qcow2Plan } from './plan.ts'

/** Header and extensions; places are counted in clusters. */
export function encodeHeader(
  layout: Qcow2Layout,
  places: { readonly l1Cluster: number; readonly refcountTableCluster: number; readonly refcountTableClusters: number },
  compressionType: number,
): Uint8Array {
  const fixed = header.encode({
    magic: MAGIC,
    version: 3,
    clusterBits: layout.clusterBits,
    size: layout.size,
    l1Size: layout.l1Size,
    l1TableOffset: places.l1Cluster * layout.clusterSize,
    refcountTableOffset: places.refcountTableCluster * layout.clusterSize,
    refcountTableClusters: places.refcountTableClusters,
    incompatibleFeatures: compressionType === COMPRESSION_TYPE.zlib ? 0 : INCOMPATIBLE.compressionType,
    refcountOrder: REFCOUNT_ORDER,
    headerLength: header.size,
    compressionType,
  })
  return new Uint8Array(Buffer.concat([fixed, headerExtensions()]))
}

/** The image of which `planQcow2` made `plan`. */
export function emitQcow2(image: Image, plan: Qcow2Plan): Image {
  const { clusterSize, clusters, l2Tables } = plan
  const places = {
    l1Cluster: plan.firstL1Cluster,
    refcountTableCluster: plan.firstRefcountTableCluster,
    refcountTableClusters: plan.refcountTableClusters,
  }
  const extents: Extent[] = [
    bytesExtent(0, encodeHeader(plan, places, COMPRESSION_TYPE.zlib)),
    // One entry a refcount block, all in a row.
    tableExtent(plan.firstRefcountTableCluster * clusterSize, plan.refcountBlockClusters, ENTRY_SIZE, (index, view, at) =>
      setEntry(view, at, (plan.firstRefcountBlockCluster + index) * clusterSize, 0),
    ),
    // All clusters of the file are used once.
    tableExtent(plan.firstRefcountBlockCluster * clusterSize, plan.clusterCount, REFCOUNT_SIZE, (_, view, at) => view.setUint16(at, 1)),
    ...entryExtents(l2Tables, {
      entrySize: ENTRY_SIZE,
      placeOf: ({ first }) => plan.firstL1Cluster * clusterSize + first * ENTRY_SIZE,
      set: (table, view, at) => setEntry(view, at, (plan.firstL2Cluster + table) * clusterSize, HIGH.copied),
    }),
    ...l2Extents(plan),
    ...gatheredExtents(image, clusters, clusterSize, plan.firstDataCluster * clusterSize),
  ]
  return { size: plan.clusterCount * clusterSize, extents }
}

/** Tables in use lie in a row, so an entry's place is that of its table, and then within it. */
function l2Extents(plan: Qcow2Plan): Extent[] {
  const { clusterSize, clusters, l2Tables } = plan
  const entriesPerTable = clusterSize / ENTRY_SIZE
  const tableOf = runFinder(l2Tables)
  return entryExtents(clusters, {
    entrySize: ENTRY_SIZE,
    placeOf: ({ first }) => {
      // A run of clusters may span tables, which then are of one run too.
      const { first: firstTable, before: tablesBefore } = tableOf(Math.floor(first / entriesPerTable))
      return (plan.firstL2Cluster + tablesBefore) * clusterSize + (first - firstTable * entriesPerTable) * ENTRY_SIZE
    },
    set: (cluster, view, at) => setEntry(view, at, (plan.firstDataCluster + cluster) * clusterSize, HIGH.copied),
  })
}

/** A table entry: an offset below 2^53 in 64 bits, and flags of the high word. */
export function setEntry(view: DataView, at: number, offset: number, highFlags: number): void {
  view.setUint32(at, (Math.floor(offset / 2 ** 32) | highFlags) >>> 0)
  view.setUint32(at + 4, offset >>> 0)
}
