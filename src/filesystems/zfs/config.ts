/** The configuration of a pool, in its labels and among its objects (OpenZFS `module/zfs/spa_config.c`). */
import { POOL_VERSION } from './constants.ts'
import { labelFeatures } from './features.ts'
import { encodeNvlist, type NvList, nvFlag, nvList, nvLists, nvNumber, nvText } from './nvlist.ts'
import type { ResolvedOptions } from './options.ts'

export interface ConfigFacts {
  readonly options: ResolvedOptions
  readonly txg: number
  readonly createTxg: number
  readonly metaslabArray: number
}

/** Objects with data about the device. */
export interface DeviceMaps {
  readonly leaf: number
  readonly top: number
  /** Of the root of all devices; undefined where the feature is missing. */
  readonly root: number | undefined
}

/** `POOL_STATE_EXPORTED`: an import need not be forced. */
const EXPORTED = 1

/** What the labels have. */
export function labelConfig(facts: ConfigFacts): Uint8Array {
  const { deviceGuid } = facts.options
  return encodeNvlist([
    ...poolPairs(facts),
    ['top_guid', nvNumber(deviceGuid)],
    ['guid', nvNumber(deviceGuid)],
    ['vdev_children', nvNumber(1)],
    ['vdev_tree', nvList(deviceList(facts))],
    featurePairs(facts),
  ])
}

/** What the object `config` has. */
export function poolConfig(facts: ConfigFacts, maps: DeviceMaps): Uint8Array {
  const { poolGuid } = facts.options
  const mapPairs: NvList = [
    ['com.delphix:vdev_zap_leaf', nvNumber(maps.leaf)],
    ['com.delphix:vdev_zap_top', nvNumber(maps.top)],
  ]
  const tree: NvList = [
    ['type', nvText('root')],
    ['id', nvNumber(0)],
    ['guid', nvNumber(poolGuid)],
    ['create_txg', nvNumber(facts.createTxg)],
    ...(maps.root === undefined ? [] : [['com.klarasystems:vdev_zap_root', nvNumber(maps.root)] as const]),
    ['children', nvLists([[...deviceList(facts), ...mapPairs]])],
  ]
  return encodeNvlist([
    ...poolPairs(facts),
    ['com.delphix:has_per_vdev_zaps', nvFlag],
    ['vdev_children', nvNumber(1)],
    ['vdev_tree', nvList(tree)],
    featurePairs(facts),
  ])
}

function poolPairs({ options, txg }: ConfigFacts): NvList {
  const { comment } = options.poolProperties
  return [
    ['version', nvNumber(POOL_VERSION)],
    ['name', nvText(options.name)],
    ['state', nvNumber(EXPORTED)],
    ['txg', nvNumber(txg)],
    ['pool_guid', nvNumber(options.poolGuid)],
    ['errata', nvNumber(0)],
    ...(comment === undefined ? [] : [['comment', nvText(comment)] as const]),
    ['compatibility', nvText(options.compatibility)],
    ['hostname', nvText('(none)')],
  ]
}

function deviceList({ options, createTxg, metaslabArray }: ConfigFacts): NvList {
  const { geometry } = options
  return [
    ['type', nvText('disk')],
    ['id', nvNumber(0)],
    ['guid', nvNumber(options.deviceGuid)],
    ['path', nvText(options.devicePath)],
    ['whole_disk', nvNumber(options.isWholeDisk ? 1 : 0)],
    ['metaslab_array', nvNumber(metaslabArray)],
    ['metaslab_shift', nvNumber(geometry.metaslabShift)],
    ['ashift', nvNumber(geometry.ashift)],
    ['asize', nvNumber(geometry.allocatableSize)],
    ['is_log', nvNumber(0)],
    ['create_txg', nvNumber(createTxg)],
  ]
}

function featurePairs({ options }: ConfigFacts): NvList[number] {
  return ['features_for_read', nvList(labelFeatures(options.features).map((name) => [name, nvFlag] as const))]
}
