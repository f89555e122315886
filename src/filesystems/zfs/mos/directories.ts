/** DSL directories: the tree of names, with properties and space (OpenZFS `module/zfs/dsl_{dir,pool}.c`). */
import { HOLE, type Space } from '../block-pointer.ts'
import { OBJECT_TYPE } from '../constants.ts'
import { DSL_DIRECTORY, DSL_DIRECTORY_HAS_BREAKDOWN } from '../disk.ts'
import { FEATURE } from '../features.ts'
import { hasLimits, storedProperty, type ZfsProperties } from '../properties.ts'
import { type ZapEntry, zapEntry, zapText } from '../zap/index.ts'
import {
  countedDeadlist,
  countFeature,
  type DatasetContext,
  type DatasetNumbers,
  datasetObject,
  datasetObjects,
  snapshotMap,
} from './datasets.ts'
import type { PoolTotals } from './objects.ts'
import { type DatasetContent, directoryUsages, sizeProperty } from './usage.ts'

type DirectoryValues = Parameters<typeof DSL_DIRECTORY.encode>[0]

/** Of the directories that every pool has beside those of its file systems. */
export const SPECIAL_DIRECTORIES = { meta: '$MOS', free: '$FREE', origin: '$ORIGIN' } as const

export interface DslNumbers {
  /** In the order of the contents. */
  readonly datasets: readonly DatasetNumbers[]
  readonly originHead: number
  readonly originSnapshot: number
}

export function numberDatasets(numberOf: () => number, contents: readonly DatasetContent[]): DslNumbers {
  const datasets = contents.map(({ spec }) => ({
    directory: numberOf(),
    head: numberOf(),
    snapshots: spec.snapshots.map(() => numberOf()),
  }))
  return { datasets, originHead: numberOf(), originSnapshot: numberOf() }
}

/** All directories and datasets. `contents` has parents before their children, the pool's own first. */
export function dslObjects(context: DatasetContext, contents: readonly DatasetContent[], numbers: DslNumbers): void {
  const rootDirectory = numbers.datasets[0]?.directory as number
  const special: ZapEntry[] = [
    zapEntry(
      SPECIAL_DIRECTORIES.meta,
      specialDirectory(context, rootDirectory, {}, ({ metaSpace }) => metaSpace),
    ),
    zapEntry(SPECIAL_DIRECTORIES.free, specialDirectory(context, rootDirectory, {})),
    zapEntry(SPECIAL_DIRECTORIES.origin, originObjects(context, rootDirectory, numbers)),
  ]
  const counted = limitCounts(contents)
  if (counted.some((entries) => entries.length > 0)) countFeature(context.counts, FEATURE.limits)
  for (const [index, content] of contents.entries()) {
    const own = numbers.datasets[index] as DatasetNumbers
    const { spec } = content
    const children = contents.flatMap((child, at) =>
      child.spec.parent === index ? [zapEntry(child.spec.shortName, numbers.datasets[at]?.directory as number)] : [],
    )
    const fixed = {
      headDataset: own.head,
      parent: spec.parent === undefined ? 0 : (numbers.datasets[spec.parent]?.directory as number),
      origin: numbers.originSnapshot,
      quota: sizeProperty(content, 'quota'),
      reserved: sizeProperty(content, 'reservation'),
    }
    const maps = directoryMaps(context, spec.properties, index === 0 ? [...special, ...children] : children)
    const values = ({ metaSpace }: PoolTotals): DirectoryValues => ({
      ...fixed,
      ...maps,
      ...directoryUsages(contents, metaSpace)[index],
    })
    directoryObject(context, values, own.directory, counted[index])
    datasetObjects(context, content, own)
  }
}

/** `entries`: what makes the data of the object a map. */
function directoryObject(
  { objects, timeSeconds, counts }: DatasetContext,
  values: (totals: PoolTotals) => DirectoryValues,
  object: number,
  entries: readonly ZapEntry[] = [],
): void {
  const bonus = (totals: PoolTotals): Uint8Array =>
    DSL_DIRECTORY.encode({ creationSeconds: timeSeconds, flags: DSL_DIRECTORY_HAS_BREAKDOWN, ...values(totals) })
  const content = { type: OBJECT_TYPE.dslDirectory, bonusType: OBJECT_TYPE.dslDirectory, bonus }
  if (entries.length === 0) {
    objects.hole(content, undefined, object)
    return
  }
  countFeature(counts, FEATURE.extensibleDataset)
  objects.zap({ ...content, type: OBJECT_TYPE.zapMetadata }, entries, object)
}

/** What directories count from a dataset with limits on down (OpenZFS `module/zfs/dsl_dir.c`, `dsl_dir_init_fs_ss_count`). */
function limitCounts(contents: readonly DatasetContent[]): ZapEntry[][] {
  const isCounted: boolean[] = []
  for (const { spec } of contents)
    isCounted.push(hasLimits(spec.properties) || (spec.parent !== undefined && isCounted[spec.parent] === true))
  const fileSystems = contents.map(() => 0)
  const snapshots = contents.map(({ spec }) => spec.snapshots.length)
  for (const [index, { spec }] of [...contents.entries()].reverse()) {
    if (spec.parent === undefined) continue
    fileSystems[spec.parent] = (fileSystems[spec.parent] ?? 0) + 1 + (fileSystems[index] ?? 0)
    snapshots[spec.parent] = (snapshots[spec.parent] ?? 0) + (snapshots[index] ?? 0)
  }
  return contents.map((_, index) => {
    if (isCounted[index] !== true) return []
    return [zapEntry('com.joyent:filesystem_count', fileSystems[index] ?? 0), zapEntry('com.joyent:snapshot_count', snapshots[index] ?? 0)]
  })
}

function directoryMaps({ objects }: DatasetContext, properties: ZfsProperties, children: readonly ZapEntry[]): DirectoryValues {
  const stored = Object.entries(properties).flatMap(([name, value]) => {
    const property = storedProperty(name, value)
    if (property === undefined) return []
    return [zapEntry(name, typeof property === 'string' ? zapText(property) : property)]
  })
  return {
    properties: objects.zap({ type: OBJECT_TYPE.dslProperties }, stored),
    childMap: objects.zap({ type: OBJECT_TYPE.dslChildMap }, children),
  }
}

/** A directory without file systems; returns its number. */
function specialDirectory(context: DatasetContext, parent: number, more: DirectoryValues, spaceOf?: (totals: PoolTotals) => Space): number {
  const object = context.objects.number()
  const fixed = { ...directoryMaps(context, {}, []), parent, ...more }
  const values = (totals: PoolTotals): DirectoryValues => {
    const space = spaceOf?.(totals)
    return { ...fixed, ...(space !== undefined && { ...space, usedByHead: space.used }) }
  }
  directoryObject(context, values, object)
  return object
}

/** The empty snapshot of which all file systems are clones, as it were; returns its directory. */
function originObjects(context: DatasetContext, rootDirectory: number, { datasets, originHead, originSnapshot }: DslNumbers): number {
  const { objects, txgs } = context
  const cloneOf = (object: number): ZapEntry => zapEntry(object.toString(16), object)
  const clones = objects.zap(
    { type: OBJECT_TYPE.directoryClones },
    datasets.map(({ head }) => cloneOf(head)),
  )
  const nextClones = objects.zap(
    { type: OBJECT_TYPE.nextClones },
    datasets.map(({ head, snapshots }) => cloneOf(snapshots[0] ?? head)),
  )
  const directory = specialDirectory(context, rootDirectory, { headDataset: originHead, clones })
  const snapshotNames = snapshotMap(objects, [zapEntry(SPECIAL_DIRECTORIES.origin, originSnapshot)])
  const common = { directory, creationTxg: txgs.origin, objset: HOLE.bytes }
  const headValues = { previousSnapshot: originSnapshot, previousSnapshotTxg: txgs.origin, snapshotNames }
  datasetObject(context, originHead, 'origin', { ...common, ...headValues, deadlist: countedDeadlist(context, [0], []) }, [])
  const snapshotValues = { nextSnapshot: originHead, children: 1 + datasets.length, nextClones }
  datasetObject(
    context,
    originSnapshot,
    'origin snapshot',
    { ...common, ...snapshotValues, deadlist: countedDeadlist(context, [], []) },
    [],
  )
  return directory
}
