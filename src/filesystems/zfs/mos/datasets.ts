/** DSL datasets: heads of file systems and their snapshots (OpenZFS `module/zfs/dsl_dataset.c`). */
import type { BlockPointer } from '../block-pointer.ts'
import { OBJECT_TYPE, UPPER_CASE } from '../constants.ts'
import { findsSnapshotsByAnyCase } from '../datasets.ts'
import { DATASET_FLAGS, DSL_DATASET } from '../disk.ts'
import { FEATURE } from '../features.ts'
import { deriveFileSystemId, deriveId } from '../options.ts'
import { type ZapEntry, zapEntry } from '../zap/index.ts'
import type { WrittenObjset } from '../zpl/emit.ts'
import { normalForm } from '../zpl/name-rules.ts'
import { deadlist } from './bpobj.ts'
import type { MetaObjects } from './objects.ts'
import { type DatasetContent, uniqueToHead } from './usage.ts'

/** When things happened, in transaction groups. */
export interface Txgs {
  /** Of the origin of all datasets. */
  readonly origin: number
  /** Of the pool and its features. */
  readonly created: number
  /** Of the first empty snapshot, and of the blocks of empty file systems; the next snapshots follow one by one. */
  readonly empty: number
  /** Of all else in the image, and of the first populated snapshot; the next ones follow one by one. */
  readonly content: number
  /** Of the uberblock. */
  readonly last: number
}

/** What the datasets have in common, and counts that grow while they are made. */
export interface DatasetContext {
  readonly objects: MetaObjects
  readonly seed: string
  readonly timeSeconds: number
  readonly txgs: Txgs
  readonly originSnapshot: number
  /** The one empty list of block pointers, where the feature is. */
  readonly sharedEmpty: number | undefined
  /** Counts of features, by guid. */
  readonly counts: Map<string, number>
}

type DatasetValues = Parameters<typeof DSL_DATASET.encode>[0]

/** The numbers of a dataset's objects. */
export interface DatasetNumbers {
  readonly directory: number
  readonly head: number
  /** In the order in which they were taken. */
  readonly snapshots: readonly number[]
}

export function countFeature(counts: Map<string, number>, guid: string, uses = 1): void {
  counts.set(guid, (counts.get(guid) ?? 0) + uses)
}

/** The head and the snapshots of one dataset. */
export function datasetObjects(context: DatasetContext, content: DatasetContent, numbers: DatasetNumbers): void {
  const { objects, txgs } = context
  const { spec, head, empty } = content
  const states = [...spec.snapshots, undefined]
  const flags = DATASET_FLAGS.uniqueIsAccurate + (findsSnapshotsByAnyCase(spec) ? DATASET_FLAGS.isCaseInsensitive : 0)
  const keys = [0]
  let previous = { object: context.originSnapshot, txg: txgs.origin }
  let taken = { empty: 0, populated: 0 }
  for (const [index, snapshot] of states.entries()) {
    const isEmpty = snapshot?.state === 'empty' && empty !== undefined
    // What comes first after the empty snapshots has lost all blocks that they have.
    const dead = !isEmpty && taken.populated === 0 && empty !== undefined ? empty.pointers : []
    const creationTxg = isEmpty ? txgs.empty + taken.empty : txgs.content + taken.populated
    const features = isEmpty ? content.emptyFeatures : content.features
    const values = {
      directory: numbers.directory,
      previousSnapshot: previous.object,
      previousSnapshotTxg: previous.txg,
      deadlist: countedDeadlist(context, keys, dead),
      flags,
      ...objsetValues(isEmpty ? empty : head),
    }
    if (snapshot === undefined) {
      const names = spec.snapshots.map(({ name }, at) => zapEntry(name, numbers.snapshots[at] as number))
      const snapshotNames = snapshotMap(objects, names)
      const more = { snapshotNames, creationTxg: txgs.origin, unique: uniqueToHead(content) }
      datasetObject(context, numbers.head, spec.name, { ...values, ...more }, features)
      continue
    }
    const object = numbers.snapshots[index] as number
    const isOnlyEmpty = isEmpty && spec.snapshots.filter(({ state }) => state === 'empty').length === 1
    const nextSnapshot = numbers.snapshots[index + 1] ?? numbers.head
    const more = { nextSnapshot, children: 1, creationTxg, unique: isOnlyEmpty ? empty.space.used : 0 }
    datasetObject(context, object, `${spec.name}@${snapshot.name}`, { ...values, ...more }, features)
    // Blocks that are younger than the last snapshot never get into a list: the last key is the snapshot before it.
    keys.push(previous.txg)
    previous = { object, txg: creationTxg }
    taken = isEmpty ? { ...taken, empty: taken.empty + 1 } : { ...taken, populated: taken.populated + 1 }
  }
}

/** The names of snapshots, which are hashed without regard to case for all datasets (`dsl_dataset_create_sync_dd`). */
export function snapshotMap(objects: MetaObjects, names: readonly ZapEntry[]): number {
  const hashed = names.map((entry) => ({ ...entry, hashedName: normalForm(entry.name, UPPER_CASE) }))
  return objects.zap({ type: OBJECT_TYPE.dslSnapshotMap }, hashed, undefined, UPPER_CASE)
}

/** A dataset object; with features its data are a map that names them. */
export function datasetObject(
  { objects, seed, timeSeconds, counts }: DatasetContext,
  object: number,
  purpose: string,
  values: DatasetValues,
  features: readonly string[],
): void {
  const bonus = DSL_DATASET.encode({
    creationSeconds: timeSeconds,
    fileSystemGuid: deriveFileSystemId(seed, `fsid ${purpose}`),
    guid: deriveId(seed, `dataset ${purpose}`),
    flags: DATASET_FLAGS.uniqueIsAccurate,
    ...values,
  })
  const content = { type: OBJECT_TYPE.dslDataset, bonusType: OBJECT_TYPE.dslDataset, bonus }
  if (features.length === 0) {
    objects.hole(content, undefined, object)
    return
  }
  countFeature(counts, FEATURE.extensibleDataset)
  for (const guid of features) countFeature(counts, guid)
  const entries = features.map((guid) => zapEntry(guid, 0))
  objects.zap({ ...content, type: OBJECT_TYPE.zapMetadata }, entries, object)
}

export function countedDeadlist(context: DatasetContext, keys: readonly number[], dead: readonly BlockPointer[]): number {
  const made = deadlist(context.objects, { keys, dead, sharedEmpty: context.sharedEmpty })
  countFeature(context.counts, FEATURE.emptyBpobj, made.sharedUses)
  return made.object
}

function objsetValues({ pointer, space }: WrittenObjset): DatasetValues {
  return { objset: pointer.bytes, referenced: space.used, compressed: space.compressed, uncompressed: space.uncompressed }
}
