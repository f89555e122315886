/** The configurations in the labels and among the objects, and what they say of the device (OpenZFS `module/zfs/spa_config.c`). */
import { isDeepStrictEqual } from 'node:util'
import type { Wrong } from './check.ts'
import { number64 } from './device.ts'
import type { ZfsReading } from './index.ts'
import { LABEL_SIZE } from './labels.ts'
import { type NvList, nvList, nvNumber, readNvlist } from './nvlist.ts'
import { zapNumber } from './zap.ts'

const POOL_VERSION = 5000
const EXPORTED = 1
/** Labels and the boot area. */
const OVERHEAD = (4 << 20) + 2 * LABEL_SIZE
/** What stands in one of the two only. */
const LABEL_ONLY = ['top_guid', 'guid', 'vdev_tree']
const POOL_ONLY = ['com.delphix:has_per_vdev_zaps', 'vdev_tree']
const DEVICE_MAPS = ['com.delphix:vdev_zap_leaf', 'com.delphix:vdev_zap_top']

export function checkConfig({ pool, labels, meta }: ZfsReading, wrong: Wrong): void {
  const { config, uberblock } = labels
  const packed = meta.objset.objects.get(zapNumber(meta.directory, 'config'))
  if (packed?.content === undefined) throw new Error('the configuration cannot be read')
  const { list, size } = readNvlist(packed.content)
  if (number64(packed.bonus, 0) !== size) wrong(`the configuration has ${size} bytes, its bonus says ${number64(packed.bonus, 0)}`)
  if (!isDeepStrictEqual(without(config, LABEL_ONLY), without(list, POOL_ONLY))) wrong('the configurations of label and pool differ')
  const tree = nvList(list, 'vdev_tree')
  const device = nvList(config, 'vdev_tree')
  const children = tree['children'] as readonly NvList[]
  if (children.length !== 1 || !isDeepStrictEqual(without(children[0] ?? {}, DEVICE_MAPS), device))
    wrong('the devices of label and pool differ')
  const numbers: Readonly<Record<string, readonly [unknown, unknown]>> = {
    version: [config['version'], BigInt(POOL_VERSION)],
    state: [config['state'], BigInt(EXPORTED)],
    errata: [config['errata'], 0n],
    vdev_children: [config['vdev_children'], 1n],
    guid: [config['guid'], device['guid']],
    top_guid: [config['top_guid'], device['guid']],
    'guid of the root': [tree['guid'], config['pool_guid']],
    'sum of the guids': [uberblock.guidSum, BigInt.asUintN(64, (config['pool_guid'] as bigint) + (device['guid'] as bigint))],
    type: [device['type'], 'disk'],
    asize: [device['asize'], BigInt(pool.device.size - (pool.device.size % LABEL_SIZE) - OVERHEAD)],
  }
  for (const [name, [actual, wanted]] of Object.entries(numbers)) {
    if (actual !== wanted) wrong(`${name} is ${actual}, not ${wanted}`)
  }
  const txg = nvNumber(config, 'txg')
  if (txg < 1 || txg > uberblock.txg) wrong(`the label is of ${txg}, the uberblock of ${uberblock.txg}`)
  if (uberblock.pointer.birthTxg > uberblock.txg) wrong(`the root was born in ${uberblock.pointer.birthTxg}, after the uberblock`)
  for (const name of ['name', 'hostname']) if (typeof config[name] !== 'string') wrong(`the label has no ${name}`)
  const path = device['path']
  if (typeof path !== 'string' || !path.startsWith('/')) wrong(`the path of the device is ${path}`)
  const shift = nvNumber(device, 'metaslab_shift')
  if (shift < 24 || shift > 34 || nvNumber(device, 'asize') < 2 ** shift) wrong(`metaslabs of 2^${shift}`)
}

function without(list: NvList, names: readonly string[]): NvList {
  return Object.fromEntries(Object.entries(list).filter(([name]) => !names.includes(name)))
}
