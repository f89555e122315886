/** From the plan of a pool to its bytes: the file systems first, then the pool's own objects, and the labels last. */
import { throwIfAborted } from '../../errors.ts'
import type { BuildContext, Extent } from '../../io/image.ts'
import type { Target } from '../../io/target.ts'
import type { TreeDigest } from '../../tree/tree.ts'
import { Allocator } from './allocator.ts'
import type { BlockPointer } from './block-pointer.ts'
import { type BlockSink, openSink } from './block-sink.ts'
import { type BlockStyle, BlockWriter } from './block-writer.ts'
import { labelConfig } from './config.ts'
import { FRONT_SIZE } from './constants.ts'
import { openPacker } from './data/packer.ts'
import { type RecordStage, RecordStream } from './data/records.ts'
import type { RecordDataset } from './data/sources.ts'
import type { DatasetPlan } from './dataset-plan.ts'
import type { Geometry } from './geometry.ts'
import { labelExtents } from './label.ts'
import { emitMetaObjset } from './mos/emit.ts'
import { poolObjects } from './mos/pool.ts'
import type { DatasetContent } from './mos/usage.ts'
import { openPacking, type PackingSpec } from './packing.ts'
import type { ZfsPlan } from './plan.ts'
import { allocationLimits, fullErrorOf, settledGeometry } from './settle.ts'
import { nodeBound } from './space-bound.ts'
import { contentPacking, metadataCopies, metadataPacking, POOL_COPIES, storageFacts } from './storage.ts'
import { recordShape } from './zpl/content.ts'
import { emitFileSystem, type FileSystemStyle, type WrittenObjset } from './zpl/emit.ts'
import type { FileSystemPlan } from './zpl/plan.ts'

/** A run of bytes of the device that were written. */
export interface WrittenRun {
  readonly start: number
  readonly length: number
}

export interface WrittenPool {
  /** Bytes of the device. */
  readonly size: number
  /** Sorted runs, which hold every block and label. */
  readonly runs: readonly WrittenRun[]
}

/** What all datasets share while they are written. */
interface Emission {
  readonly plan: ZfsPlan
  readonly writer: BlockWriter
  /** The files of all datasets. */
  readonly records: RecordStream
  readonly recordDatasets: readonly RecordDataset[]
  readonly metadata: Omit<BlockStyle, 'copies'>
  readonly context: BuildContext
  /** Called with the most bytes that something that is placed now could have taken. */
  readonly onPlaced: (bound: number) => void
}

/**
 * Write all. `digests` cover nodes of the datasets as they are. Throws LIMIT when it does not fit, HASH_MISMATCH, what
 * reading and the target throw, WORKER_DIED and ABORTED.
 */
export async function emitPool(
  plan: ZfsPlan,
  digests: readonly TreeDigest[],
  target: Target,
  start: number,
  context: BuildContext,
): Promise<WrittenPool> {
  const rest = { bound: plan.size.spaceBound }
  const allocator = new Allocator({ ...allocationLimits(plan), shape: plan.size.geometry, fullError: fullErrorOf(plan, rest) })
  const { packings, datasets } = recordDatasets(plan)
  let doneBytes = 0
  const onRead = (bytes: number): void => {
    doneBytes += bytes
    context.onProgress?.({ kind: 'bytes', stage: 'compress', doneBytes })
  }
  const { contentBytes } = plan
  const stage = openPacker({ datasets, digests, packings, recordSizeMaximum: largestRecord(datasets), contentBytes, onRead }, context)
  const sink = openSink(target, start + FRONT_SIZE, allocator.sizeOnDisk(1), stage)
  try {
    return await emitAll(plan, { stage, sink, datasets }, new BlockWriter(sink, allocator), rest, target, start, context)
  } catch (error) {
    await sink.abandon(error)
    throw error
  } finally {
    await stage.close()
  }
}

/** Through what contents go. */
interface DataPath {
  readonly stage: RecordStage
  readonly sink: BlockSink
  readonly datasets: readonly RecordDataset[]
}

async function emitAll(
  plan: ZfsPlan,
  data: DataPath,
  writer: BlockWriter,
  rest: { bound: number },
  target: Target,
  start: number,
  context: BuildContext,
): Promise<WrittenPool> {
  const { options, txgs } = plan
  const { allocator } = writer
  const packing = metadataPacking(options)
  const metadata = { packing, pack: await openPacking(packing) }
  const contents = await emitDatasets(plan, data, writer, metadata, rest, context)
  const geometry = settledGeometry(plan, contents, allocator)
  const settled = { ...options, geometry }
  const pool = poolObjects(settled, contents, txgs)
  const metaContext = { writer, birthTxg: txgs.content, metadataStyle: { ...metadata, copies: POOL_COPIES } }
  const { bytes: rootPointer } = await emitMetaObjset(metaContext, pool.objects, settled)
  await writer.finish()
  throwIfAborted(context.signal)
  const labels = labelExtents({
    deviceSize: geometry.deviceSize,
    ashift: geometry.ashift,
    config: labelConfig({ options: settled, txg: txgs.content, createTxg: txgs.created, metaslabArray: pool.metaslabArray }),
    txg: txgs.last,
    guidSum: (options.poolGuid + options.deviceGuid) & 0xffffffffffffffffn,
    timeSeconds: options.timeSeconds,
    rootPointer,
  })
  for (const label of labels) await writeExtent(label, target, start)
  const size = options.size === 'auto' ? geometry.deviceSize : options.size
  await target.setSize(start + size)
  return { size, runs: writtenRuns(labels, allocator, geometry) }
}

async function emitDatasets(
  plan: ZfsPlan,
  { stage, sink, datasets }: DataPath,
  writer: BlockWriter,
  metadata: Emission['metadata'],
  rest: { bound: number },
  context: BuildContext,
): Promise<DatasetContent[]> {
  const records = new RecordStream(stage, () => sink.flush())
  const onPlaced = (bound: number): void => {
    rest.bound -= bound
  }
  const emission: Emission = { plan, writer, records, recordDatasets: datasets, metadata, context, onPlaced }
  const contents: DatasetContent[] = []
  for (const index of plan.datasets.keys()) contents.push(await emitDataset(index, emission))
  // What comes after the last record is checked too.
  await records.finish()
  return contents
}

/** Datasets with the same properties share what their compressor holds. */
function recordDatasets({ datasets, options }: ZfsPlan): {
  readonly packings: readonly PackingSpec[]
  readonly datasets: readonly RecordDataset[]
} {
  const packings: PackingSpec[] = []
  const known = new Map<string, number>()
  let firstFile = 0
  const own = datasets.map(({ style, fileSystem }): RecordDataset => {
    const spec = contentPacking(style, options)
    const key = JSON.stringify(spec)
    const packing = known.get(key) ?? packings.push(spec) - 1
    known.set(key, packing)
    const { nodes } = fileSystem
    firstFile += nodes.length
    return { nodes, recordSize: style.recordSize, packing, compressionId: spec.compression.id, firstFile: firstFile - nodes.length }
  })
  return { packings, datasets: own }
}

async function writeExtent(extent: Extent, target: Target, start: number): Promise<void> {
  let position = start + extent.start
  for await (const chunk of extent.read()) {
    await target.write(position, chunk)
    position += chunk.length
  }
}

function largestRecord(datasets: readonly RecordDataset[]): number {
  let largest = 0
  for (const { nodes, recordSize } of datasets) {
    for (const { node } of nodes) if (node.kind === 'file') largest = Math.max(largest, recordShape(node.size, recordSize).recordSize)
  }
  return largest
}

async function emitDataset(index: number, emission: Emission): Promise<DatasetContent> {
  const { plan, writer } = emission
  const { spec, fileSystem, empty, features, emptyFeatures } = plan.datasets[index] as DatasetPlan
  const pointers: BlockPointer[] = []
  writer.recordInto(pointers)
  const written = empty && (await emitObjset(index, empty, plan.txgs.empty, emission))
  writer.recordInto(undefined)
  return {
    spec,
    empty: written && { ...written, pointers },
    head: await emitObjset(index, fileSystem, plan.txgs.content, emission),
    features,
    emptyFeatures,
  }
}

async function emitObjset(index: number, fileSystem: FileSystemPlan, birthTxg: number, emission: Emission): Promise<WrittenObjset> {
  const { plan, writer, records, recordDatasets, metadata, context, onPlaced } = emission
  const { spec, style } = plan.datasets[index] as DatasetPlan
  const { firstFile } = recordDatasets[index] as RecordDataset
  const facts = storageFacts(style, plan.options)
  const { recordSize, copies } = style
  const fileSystemStyle: FileSystemStyle = {
    data: { packing: contentPacking(style, plan.options), copies },
    recordSize,
    firstFile,
    accounts: plan.options.accounts,
    seed: `${plan.options.seed} ${spec.name}`,
    createdTxg: plan.txgs.created,
    signal: context.signal,
    onNode: (planned) => onPlaced(nodeBound(planned, facts)),
  }
  const writeContext = { writer, birthTxg, metadataStyle: { ...metadata, copies: metadataCopies(style) } }
  return emitFileSystem(fileSystem, writeContext, fileSystemStyle, records)
}

function writtenRuns(labels: readonly Extent[], allocator: Allocator, { metaslabShift }: Geometry): WrittenRun[] {
  const blocks = allocator.used.map((length, index) => ({ start: FRONT_SIZE + index * 2 ** metaslabShift, length }))
  const runs = [...labels.map(({ start, length }) => ({ start, length })), ...blocks.filter(({ length }) => length > 0)]
  return runs.sort((a, b) => a.start - b.start)
}
