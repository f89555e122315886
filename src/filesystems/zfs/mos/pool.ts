/** The objects of a pool beside its datasets (OpenZFS `module/zfs/{spa,dsl_pool}.c`, `spa_create`). */
import { alignUp } from '../../../bytes/align.ts'
import { deriveBytes } from '../../../bytes/guid.ts'
import { ImageError } from '../../../errors.ts'
import { NO_SPACE } from '../block-pointer.ts'
import { type DeviceMaps, poolConfig } from '../config.ts'
import { BLOCK_SIZE_MAXIMUM, OBJECT_TYPE, POOL_VERSION, SECTOR_SIZE } from '../constants.ts'
import { HISTORY } from '../disk.ts'
import { activeFromStart, FEATURE, type Feature, featuresWithTxg, hasFeature } from '../features.ts'
import { encodeNvlist, nvNumber, nvText } from '../nvlist.ts'
import type { ResolvedOptions } from '../options.ts'
import { storedPoolProperty } from '../pool-properties.ts'
import { type ZapEntry, zapEntry, zapText } from '../zap/index.ts'
import { emptyBpobj } from './bpobj.ts'
import type { Txgs } from './datasets.ts'
import { dslObjects, numberDatasets } from './directories.ts'
import { MetaObjects, type PoolTotals } from './objects.ts'
import { checkUsages, type DatasetContent } from './usage.ts'

const CONFIG_BLOCK_SIZE = 16 << 10
/** Of the list of blocks to be freed in the next pass, which real pools do not compress. */
const SYNC_LIST_BLOCK_SIZE = 16 << 10
const CHECKSUM_SALT_SIZE = 32
const OBJECT_DIRECTORY = 1

export interface PoolObjects {
  readonly objects: MetaObjects
  readonly metaslabArray: number
}

/** All objects but the space maps. */
export function poolObjects(options: ResolvedOptions, contents: readonly DatasetContent[], txgs: Txgs): PoolObjects {
  const { seed, timeSeconds, features } = options
  checkUsages(contents, options.geometry.allocatableSize)
  const objects = new MetaObjects(seed)
  const directory = objects.number()
  if (directory !== OBJECT_DIRECTORY) throw new Error('the object directory must be the first object')
  const counts = new Map(activeFromStart(features))
  const metaslabArray = objects.number()
  const featureMaps = { read: objects.number(), write: objects.number() }
  const map = { type: OBJECT_TYPE.zapMetadata }
  const described = features.map(({ guid, description }) => zapEntry(guid, zapText(description)))
  const descriptions = objects.zap(map, described)
  const sharedEmpty = hasFeature(features, FEATURE.emptyBpobj) ? emptyBpobj(objects, BLOCK_SIZE_MAXIMUM) : undefined
  const numbers = numberDatasets(() => objects.number(), contents)
  const { originSnapshot } = numbers
  dslObjects({ objects, seed, timeSeconds, txgs, originSnapshot, sharedEmpty, counts }, contents, numbers)
  const maps = deviceMaps(objects, features)
  const entries: ZapEntry[] = [
    zapEntry('root_dataset', numbers.datasets[0]?.directory as number),
    zapEntry('features_for_read', featureMaps.read),
    zapEntry('features_for_write', featureMaps.write),
    zapEntry('feature_descriptions', descriptions),
    zapEntry('deflate', 1),
    zapEntry('creation_version', POOL_VERSION),
    zapEntry('free_bpobj', emptyBpobj(objects, BLOCK_SIZE_MAXIMUM)),
    zapEntry('sync_bplist', emptyBpobj(objects, SYNC_LIST_BLOCK_SIZE)),
    zapEntry('config', configObject(objects, poolConfig({ options, txg: txgs.content, createTxg: txgs.created, metaslabArray }, maps))),
    zapEntry('history', historyObject(objects, options, txgs)),
    zapEntry('pool_props', objects.zap({ type: OBJECT_TYPE.poolProperties }, poolProperties(options, contents, numbers.datasets))),
    zapEntry('com.delphix:vdev_zap_map', maps.map),
    zapEntry('org.illumos:checksum_salt', {
      integerSize: 1,
      bytes: deriveBytes(seed, 'zfs checksum salt', CHECKSUM_SALT_SIZE),
    }),
  ]
  const noted = featuresWithTxg(features)
  if (noted.length > 0) {
    counts.set(FEATURE.enabledTxg, noted.length)
    const notes = noted.map(({ guid }) => zapEntry(guid, txgs.created))
    entries.push(zapEntry('feature_enabled_txg', objects.zap(map, notes)))
  }
  if (sharedEmpty !== undefined) entries.push(zapEntry('empty_bpobj', sharedEmpty))
  objects.zap({ type: OBJECT_TYPE.objectDirectory }, entries, directory)
  lateObjects(objects, options, counts, { ...featureMaps, metaslabArray })
  return { objects, metaslabArray }
}

/** What depends on where blocks lie: counts of features, since space maps count for one, and the list of space maps. */
function lateObjects(
  objects: MetaObjects,
  { features, geometry }: ResolvedOptions,
  counts: ReadonlyMap<string, number>,
  numbers: { readonly read: number; readonly write: number; readonly metaslabArray: number },
): void {
  for (const [isCompatible, object] of [[false, numbers.read] as const, [true, numbers.write] as const]) {
    const own = features.filter(({ readOnlyCompatible }) => readOnlyCompatible === isCompatible)
    const make = ({ spaceMaps }: PoolTotals): Uint8Array => {
      const mapCount = spaceMaps.filter((map) => map !== 0).length
      const all = new Map([...counts, [FEATURE.spaceMapHistogram, mapCount]])
      const entries = own.map(({ guid }) => zapEntry(guid, all.get(guid) ?? 0))
      return objects.microZap(entries, object)
    }
    objects.late({ type: OBJECT_TYPE.zapMetadata }, make({ spaceMaps: [], metaSpace: NO_SPACE }).length, make, object)
  }
  const arraySize = alignUp(8 * geometry.metaslabCount, SECTOR_SIZE)
  const makeArray = ({ spaceMaps }: PoolTotals): Uint8Array => {
    const block = new Uint8Array(arraySize)
    const view = new DataView(block.buffer)
    for (const [index, map] of spaceMaps.entries()) view.setBigUint64(8 * index, BigInt(map), true)
    return block
  }
  objects.late({ type: OBJECT_TYPE.objectArray }, arraySize, makeArray, numbers.metaslabArray)
}

function deviceMaps(objects: MetaObjects, features: readonly Feature[]): DeviceMaps & { readonly map: number } {
  const map = { type: OBJECT_TYPE.zapMetadata }
  const leaf = objects.zap(map, [])
  const top = objects.zap(map, [])
  const root = hasFeature(features, FEATURE.rootDeviceMap) ? objects.zap(map, []) : undefined
  const entries = [leaf, top, ...(root === undefined ? [] : [root])].map((object) => zapEntry(object.toString(16), object))
  return { leaf, top, root, map: objects.zap(map, entries) }
}

function configObject(objects: MetaObjects, config: Uint8Array): number {
  const block = new Uint8Array(CONFIG_BLOCK_SIZE)
  if (config.length > block.length)
    throw new ImageError('LIMIT', `zfs: the pool's configuration is ${config.length} bytes, it may be 16 KiB`)
  block.set(config)
  const bonus = new Uint8Array(8)
  new DataView(bonus.buffer).setBigUint64(0, BigInt(config.length), true)
  return objects.block({ type: OBJECT_TYPE.packedNvlist, bonusType: OBJECT_TYPE.packedNvlistSize, bonus }, block)
}

/** The log may take a thousandth of the pool, within these limits. */
const HISTORY_SIZE_MINIMUM = 128 << 10
const HISTORY_SIZE_MAXIMUM = 1 << 30

/** A log with one record: a packed list behind its length. */
function historyObject(objects: MetaObjects, options: ResolvedOptions, txgs: Txgs): number {
  const record = encodeNvlist([
    ['internal_name', nvText('create')],
    ['history internal str', nvText(`pool version ${POOL_VERSION}; written by kilnix`)],
    ['history txg', nvNumber(txgs.created)],
    ['history time', nvNumber(options.timeSeconds)],
    ['history hostname', nvText('(none)')],
  ])
  const block = new Uint8Array(BLOCK_SIZE_MAXIMUM)
  const view = new DataView(block.buffer)
  view.setBigUint64(0, BigInt(record.length), true)
  block.set(record, 8)
  const end = 8 + record.length
  const share = Math.floor(options.geometry.allocatableSize / 1000)
  const bonus = HISTORY.encode({
    createLength: end,
    maximumOffset: Math.min(HISTORY_SIZE_MAXIMUM, Math.max(HISTORY_SIZE_MINIMUM, share)),
    begin: end,
    end,
  })
  return objects.block({ type: OBJECT_TYPE.history, bonusType: OBJECT_TYPE.historyOffsets, bonus }, block)
}

function poolProperties(
  options: ResolvedOptions,
  contents: readonly DatasetContent[],
  numbers: readonly { readonly head: number }[],
): ZapEntry[] {
  const headOf = (name: string): number | undefined => numbers[contents.findIndex(({ spec }) => spec.name === name)]?.head
  const entries = Object.entries(options.poolProperties).flatMap(([name, value]) => {
    const stored = storedPoolProperty(name, value, headOf)
    if (stored === undefined) return []
    return [zapEntry(name, typeof stored === 'string' ? zapText(stored) : stored)]
  })
  return [...entries, zapEntry('ashift', options.geometry.ashift)]
}
