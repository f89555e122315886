/** Every object of the pool itself is one that something refers to, once, by its type (OpenZFS `include/sys/dmu.h`). */
import { readBlockList, readDeadlist } from './block-lists.ts'
import type { Wrong } from './check.ts'
import { number64 } from './device.ts'
import { allDirectories, type Dataset, MAP_TYPE, mapOf, properties } from './dsl.ts'
import type { ZfsReading } from './index.ts'
import { type NvList, nvList, nvNumber, readNvlist } from './nvlist.ts'
import { type Zap, zapBits, zapNumber } from './zap.ts'

const META_TYPE = 1
/** In the configuration, where the feature vdev_zaps_v2 is. */
const ROOT_MAP = 'com.klarasystems:vdev_zap_root'
/** Types of an object and of its bonus. */
type Types = readonly [type: number, bonusType: number]

const MAP: Types = [MAP_TYPE, 0]
const LIST: Types = [5, 6]

/** What the map of objects must have. */
const REQUIRED: Readonly<Record<string, Types>> = {
  config: [3, 4],
  sync_bplist: LIST,
  free_bpobj: LIST,
  features_for_read: MAP,
  features_for_write: MAP,
  feature_descriptions: MAP,
  pool_props: [31, 0],
  history: [29, 30],
}
/** And may have. */
const OPTIONAL: Readonly<Record<string, Types>> = { empty_bpobj: LIST, feature_enabled_txg: MAP, 'com.delphix:vdev_zap_map': MAP }
const VALUES: Readonly<Record<string, number>> = { deflate: 1, creation_version: 5000 }
const SALT = 'org.illumos:checksum_salt'
const SPECIAL = ['/$MOS', '/$FREE', '/$ORIGIN']

export function checkObjects(reading: ZfsReading, wrong: Wrong): void {
  const { objset, directory } = reading.meta
  if (objset.type !== META_TYPE) wrong(`the meta objset is of type ${objset.type}`)
  const claims = new Map<number, string>()
  const claim = (object: number, what: string, [type, bonusType]: Types): void => {
    const stored = objset.objects.get(object)
    const other = claims.get(object)
    if (other !== undefined) wrong(`the object ${object} is ${other} and ${what}`)
    claims.set(object, what)
    if (stored === undefined) wrong(`${what} is object ${object}, which is not there`)
    else if (stored.type !== type || stored.bonusType !== bonusType) {
      wrong(`${what} is of type ${stored.type} with a bonus of ${stored.bonusType}, not ${type} with ${bonusType}`)
    }
  }
  claim(1, 'the directory', [1, 0])
  for (const [name, types] of Object.entries(REQUIRED)) claim(zapNumber(directory, name), name, types)
  for (const [name, types] of Object.entries(OPTIONAL)) if (directory.has(name)) claim(zapNumber(directory, name), name, types)
  for (const [name, value] of Object.entries(VALUES))
    if (zapNumber(directory, name) !== value) wrong(`${name} is ${zapNumber(directory, name)}`)
  const known = [...Object.keys(REQUIRED), ...Object.keys(OPTIONAL), ...Object.keys(VALUES), SALT, 'root_dataset']
  for (const name of directory.keys()) if (!known.includes(name)) wrong(`the directory has ${name}, which is not known`)
  const salt = directory.get(SALT)
  if (salt !== undefined && (salt.integerSize !== 1 || salt.value.length !== 32)) wrong('the salt of checksums has not 32 bytes')
  for (const name of ['sync_bplist', 'free_bpobj', 'empty_bpobj']) {
    if (directory.has(name) && readBlockList(objset, zapNumber(directory, name)).pointers.length > 0) wrong(`${name} is not empty`)
  }
  claimDevice(reading, claim, wrong)
  claimDatasets(reading, claim)
  checkProperties(reading, wrong)
  checkHistory(reading, wrong)
  for (const [object, { type }] of objset.objects) if (!claims.has(object)) wrong(`nothing refers to object ${object} of type ${type}`)
}

type Claim = (object: number, what: string, types: Types) => void

function claimDevice({ labels, meta }: ZfsReading, claim: Claim, wrong: Wrong): void {
  const { objset, directory } = meta
  const array = nvNumber(nvList(labels.config, 'vdev_tree'), 'metaslab_array')
  claim(array, 'the list of metaslabs', [2, 0])
  const maps = objset.objects.get(array)?.content ?? Buffer.alloc(0)
  for (let at = 0; at < maps.length; at += 8) {
    if (number64(maps, at) !== 0) claim(number64(maps, at), `space map ${at / 8}`, [8, 7])
  }
  const { list } = readNvlist(objset.objects.get(zapNumber(directory, 'config'))?.content ?? Buffer.alloc(0))
  const tree = nvList(list, 'vdev_tree')['children'] as readonly NvList[]
  const own = ['com.delphix:vdev_zap_leaf', 'com.delphix:vdev_zap_top'].filter((name) => tree[0]?.[name] !== undefined)
  const root = nvList(list, 'vdev_tree')[ROOT_MAP]
  const hasMap = directory.has('com.delphix:vdev_zap_map')
  if (hasMap !== (list['com.delphix:has_per_vdev_zaps'] === true) || hasMap !== (own.length === 2))
    wrong('maps of devices, but not all of them')
  if (!hasMap) return
  const map = mapOf(objset, zapNumber(directory, 'com.delphix:vdev_zap_map'))
  const objects = [...own.map((name) => nvNumber(tree[0] ?? {}, name)), ...(root === undefined ? [] : [Number(root)])]
  for (const object of objects) claim(object, 'a map of the device', MAP)
  if (map.size !== objects.length || objects.some((object) => zapNumber(map, object.toString(16)) !== object))
    wrong('the map of maps of devices is wrong')
}

function claimDatasets({ meta }: ZfsReading, claim: Claim): void {
  const { objset, directory } = meta
  const shared = directory.has('empty_bpobj') ? zapNumber(directory, 'empty_bpobj') : 0
  const claimDataset = (name: string, { object, fields, stored }: Dataset): void => {
    claim(object, name, [stored.type === MAP_TYPE ? MAP_TYPE : 16, 16])
    if (fields.snapshotNames !== 0) claim(fields.snapshotNames, `the snapshots of ${name}`, [14, 0])
    if (fields.nextClones !== 0) claim(fields.nextClones, `the clones of ${name}`, [37, 0])
    if (fields.properties !== 0) claim(fields.properties, `the properties of ${name}`, [15, 0])
    claim(fields.deadlist, `the deadlist of ${name}`, [50, 51])
    for (const list of readDeadlist(objset, fields.deadlist).lists.values()) {
      if (list.object !== shared) claim(list.object, `a list of ${name}`, LIST)
      for (const part of list.parts) claim(part, `a part of a list of ${name}`, LIST)
    }
  }
  for (const { name, object, stored, fields, head, snapshots } of allDirectories(meta.root)) {
    claim(object, `directory ${name}`, [stored.type === MAP_TYPE ? MAP_TYPE : 12, 12])
    claim(fields.childMap, `the children of ${name}`, [13, 0])
    claim(fields.properties, `the properties of ${name}`, [15, 0])
    if (fields.clones !== 0) claim(fields.clones, `the clones of ${name}`, [52, 0])
    if (fields.delegation !== 0) claim(fields.delegation, `the delegation of ${name}`, [34, 0])
    if (head !== undefined) claimDataset(`dataset ${name}`, head)
    for (const snapshot of snapshots) claimDataset(snapshot.name, snapshot)
  }
}

function checkProperties({ meta, pool }: ZfsReading, wrong: Wrong): void {
  const map: Zap = mapOf(meta.objset, zapNumber(meta.directory, 'pool_props'))
  const directories = [...allDirectories(meta.root)]
  const bootfs = map.get('bootfs')
  const object = bootfs === undefined ? undefined : Number(zapBits(bootfs))
  if (object !== undefined && !directories.some(({ head }) => head?.object === object)) wrong(`bootfs is ${object}, which is no dataset`)
  const ashift = map.get('ashift')
  if (ashift !== undefined && Number(zapBits(ashift)) !== pool.ashift)
    wrong(`the pool has ashift ${zapBits(ashift)}, its device ${pool.ashift}`)
  for (const name of SPECIAL) if (!directories.some((directory) => directory.name === name)) wrong(`there is no ${name}`)
  for (const directory of directories) {
    for (const name of properties(directory).keys()) if (name === '') wrong(`${directory.name} has a property without name`)
    const isSpecial = SPECIAL.slice(0, 2).includes(directory.name)
    if ((directory.head === undefined) !== isSpecial) wrong(`directory ${directory.name} has a dataset, or has none`)
  }
}

/** Packed lists, each behind its length. */
function checkHistory({ meta }: ZfsReading, wrong: Wrong): void {
  const stored = meta.objset.objects.get(zapNumber(meta.directory, 'history'))
  if (stored?.content === undefined) throw new Error('the history cannot be read')
  const [createLength, maximum, begin, end, lost] = [0, 8, 16, 24, 32].map((at) => number64(stored.bonus, at)) as [
    number,
    number,
    number,
    number,
    number,
  ]
  if (createLength > begin || begin > end || end > maximum || lost !== 0) wrong(`the history goes from ${begin} to ${end} of ${maximum}`)
  for (let at = 0; at < end; ) {
    const length = number64(stored.content, at)
    const { list, size } = readNvlist(stored.content.subarray(at + 8, at + 8 + length))
    if (size !== length || typeof list['history time'] !== 'bigint') wrong(`the record at ${at} of the history is wrong`)
    at += 8 + length
  }
}
