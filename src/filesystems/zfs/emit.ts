/** From the plan of a pool to its bytes: the file systems first, then the pool's own objects, and the labels last. */
import { throwIfAborted } from '../../errors.ts'
import type { BuildContext, Extent } from '../../io/image.ts'
import type { Target } from '../../io/target.ts'
import { Allocator } from './allocator.ts'
import type { BlockPointer } from './block-pointer.ts'
import { type BlockStyle, BlockWriter } from './block-writer.ts'
import { labelConfig } from './config.ts'
import { FRONT_SIZE } from './constants.ts'
import { openPacker, type Packer } from './data/packer.ts'
import { RecordStream } from './data/stream.ts'
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
import { emitFileSystem, type FileSystemStyle, streamedFiles, type WrittenObjset } from './zpl/emit.ts'
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
  readonly packer: Packer
  /** Which of the packer's packings is that of a dataset. */
  readonly packingOf: readonly number[]
  readonly metadata: Omit<BlockStyle, 'copies'>
  readonly context: BuildContext
  /** Called with the most bytes that something that is placed now could have taken. */
  readonly onPlaced: (bound: number) => void
  /** Called with bytes of file contents that were read. */
  readonly onRead: (bytes: number) => void
}

/** Write all. Throws LIMIT when it does not fit, what reading and the target throw, WORKER_DIED and ABORTED. */
export async function emitPool(plan: ZfsPlan, target: Target, start: number, context: BuildContext): Promise<WrittenPool> {
  const rest = { bound: plan.size.spaceBound }
  const allocator = new Allocator({ ...allocationLimits(plan), shape: plan.size.geometry, fullError: fullErrorOf(plan, rest) })
  const writer = new BlockWriter(target, start, allocator)
  try {
    return await emitAll(plan, writer, rest, target, start, context)
  } catch (error) {
    await writer.abandon(error)
    throw error
  }
}

async function emitAll(
  plan: ZfsPlan,
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
  const contents = await emitDatasets(plan, writer, metadata, rest, context)
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
  writer: BlockWriter,
  metadata: Emission['metadata'],
  rest: { bound: number },
  context: BuildContext,
): Promise<DatasetContent[]> {
  const { packings, packingOf } = distinctPackings(plan)
  const packer = openPacker(packings, largestRecord(plan), plan.contentBytes, context)
  let doneBytes = 0
  const emission: Emission = {
    plan,
    writer,
    packer,
    packingOf,
    metadata,
    context,
    onPlaced(bound) {
      rest.bound -= bound
    },
    onRead(bytes) {
      doneBytes += bytes
      context.onProgress?.({ kind: 'bytes', stage: 'compress', doneBytes })
    },
  }
  try {
    const contents: DatasetContent[] = []
    for (const index of plan.datasets.keys()) contents.push(await emitDataset(index, emission))
    return contents
  } finally {
    await packer.close()
  }
}

/** Datasets with the same properties share what their compressor holds. */
function distinctPackings({ datasets, options }: ZfsPlan): {
  readonly packings: readonly PackingSpec[]
  readonly packingOf: readonly number[]
} {
  const packings: PackingSpec[] = []
  const known = new Map<string, number>()
  const packingOf = datasets.map(({ style }) => {
    const packing = contentPacking(style, options)
    const key = JSON.stringify(packing)
    const before = known.get(key)
    if (before !== undefined) return before
    known.set(key, packings.length)
    return packings.push(packing) - 1
  })
  return { packings, packingOf }
}

async function writeExtent(extent: Extent, target: Target, start: number): Promise<void> {
  let position = start + extent.start
  for await (const chunk of extent.read()) {
    await target.write(position, chunk)
    position += chunk.length
  }
}

function largestRecord({ datasets }: ZfsPlan): number {
  let largest = 0
  for (const { fileSystem, style } of datasets) {
    for (const { shape } of streamedFiles(fileSystem, style.recordSize)) largest = Math.max(largest, shape.recordSize)
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
  const { plan, writer, packer, packingOf, metadata, context, onPlaced, onRead } = emission
  const { spec, style } = plan.datasets[index] as DatasetPlan
  const facts = storageFacts(style, plan.options)
  const { recordSize, copies } = style
  const packing = contentPacking(style, plan.options)
  const { signal } = context
  const fileSystemStyle: FileSystemStyle = {
    data: { packing, copies },
    recordSize,
    accounts: plan.options.accounts,
    seed: `${plan.options.seed} ${spec.name}`,
    createdTxg: plan.txgs.created,
    signal,
    onNode: (planned) => onPlaced(nodeBound(planned, facts)),
  }
  const streamOptions = { packing: packingOf[index] as number, compressionId: packing.compression.id, signal, onRead }
  const records = new RecordStream(packer, streamedFiles(fileSystem, recordSize), streamOptions)
  try {
    const writeContext = { writer, birthTxg, metadataStyle: { ...metadata, copies: metadataCopies(style) } }
    return await emitFileSystem(fileSystem, writeContext, fileSystemStyle, records)
  } finally {
    await records.close()
  }
}

function writtenRuns(labels: readonly Extent[], allocator: Allocator, { metaslabShift }: Geometry): WrittenRun[] {
  const blocks = allocator.used.map((length, index) => ({ start: FRONT_SIZE + index * 2 ** metaslabShift, length }))
  const runs = [...labels.map(({ start, length }) => ({ start, length })), ...blocks.filter(({ length }) => length > 0)]
  return runs.sort((a, b) => a.start - b.start)
}
