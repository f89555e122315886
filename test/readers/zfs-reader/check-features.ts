/** Which features are there, and how often they are used (OpenZFS `module/zfs/zfeature.c`, zpool-features(7)). */
import { readDeadlist } from './block-lists.ts'
import type { Wrong } from './check.ts'
import { HISTOGRAM_SIZE } from './check-space.ts'
import { number64 } from './device.ts'
import { allDirectories, MAP_TYPE, mapOf } from './dsl.ts'
import type { ZfsReading } from './index.ts'
import { nvList, nvNumber } from './nvlist.ts'
import { type Zap, zapBits, zapNumber, zapText } from './zap.ts'

/** In use as soon as they are enabled. */
const ALWAYS = [
  ...['org.illumos:lz4_compress', 'com.delphix:hole_birth', 'com.delphix:embedded_data', 'com.delphix:spacemap_v2'],
  ...['com.delphix:head_errlog', 'com.klarasystems:vdev_zaps_v2'],
]
/** Those of them without which the meta objset cannot be read. */
const FOR_LABEL = ['com.delphix:hole_birth', 'com.delphix:embedded_data', 'com.klarasystems:vdev_zaps_v2']
const ZSTD = { guid: 'org.freebsd:zstd_compress', compression: 16 } as const
const LZ4 = { guid: 'org.illumos:lz4_compress', compression: 15 } as const
/** Of a set of objects: the flag, and what a dataset needs for it. */
const ACCOUNTS = [
  [2, 'org.zfsonlinux:userobj_accounting'],
  [4, 'org.zfsonlinux:project_quota'],
] as const
const LARGE_BLOCKS = 'org.open-zfs:large_blocks'
const READ_ONLY_COMPATIBLE = new Set(
  [
    ...['async_destroy', 'empty_bpobj', 'spacemap_histogram', 'enabled_txg', 'bookmarks', 'obsolete_counts', 'zpool_checkpoint'],
    ...['spacemap_v2', 'log_spacemap', 'livelist'],
  ]
    .map((name) => `com.delphix:${name}`)
    .concat('com.joyent:filesystem_limits', 'org.zfsonlinux:userobj_accounting', 'org.zfsonlinux:project_quota')
    .concat('org.zfsonlinux:allocation_classes', 'com.datto:resilver_defer', 'org.openzfs:device_rebuild', 'org.openzfs:zilsaxattr')
    .concat('com.fudosecurity:block_cloning', 'com.klarasystems:fast_dedup', 'com.klarasystems:large_microzap')
    .concat('com.truenas:block_cloning_endian', 'com.truenas:physical_rewrite'),
)

export function checkFeatures(reading: ZfsReading, wrong: Wrong): void {
  const { meta, labels } = reading
  const { objset, directory } = meta
  const [read, write, descriptions] = ['features_for_read', 'features_for_write', 'feature_descriptions'].map((name) =>
    mapOf(objset, zapNumber(directory, name)),
  ) as [Zap, Zap, Zap]
  const wanted = countFeatures(reading, wrong)
  const listed = new Map([...read, ...write])
  if (listed.size !== read.size + write.size) wrong('a feature is for reading and for writing')
  for (const [guid, entry] of listed) {
    const count = ALWAYS.includes(guid) ? 1 : (wanted.get(guid) ?? 0)
    if (Number(zapBits(entry)) !== count) wrong(`the feature ${guid} is used ${zapBits(entry)} times, not ${count}`)
    if (write.has(guid) !== READ_ONLY_COMPATIBLE.has(guid)) wrong(`the feature ${guid} stands in the wrong map`)
    const text = descriptions.get(guid)
    if (text === undefined || zapText(text) === '') wrong(`the feature ${guid} has no description`)
  }
  if (descriptions.size !== listed.size) wrong(`${descriptions.size} features are described, ${listed.size} are there`)
  for (const [guid, count] of wanted) if (count > 0 && !listed.has(guid)) wrong(`the feature ${guid} is used ${count} times and not there`)
  const forLabel = new Set(Object.keys(nvList(labels.config, 'features_for_read')))
  const isAsWanted = [...forLabel, ...FOR_LABEL].every((guid) => forLabel.has(guid) === (FOR_LABEL.includes(guid) && listed.has(guid)))
  if (!isAsWanted) wrong(`the label has the features ${[...forLabel]}`)
}

function countFeatures(reading: ZfsReading, wrong: Wrong): Map<string, number> {
  const { meta, labels, sets } = reading
  const { objset, directory } = meta
  const counts = new Map<string, number>()
  const add = (guid: string, count = 1): unknown => counts.set(guid, (counts.get(guid) ?? 0) + count)
  const shared = directory.has('empty_bpobj') ? zapNumber(directory, 'empty_bpobj') : 0
  let hasLimits = false
  for (const { head, snapshots, stored } of allDirectories(meta.root)) {
    if (stored.type === MAP_TYPE) add('com.delphix:extensible_dataset')
    hasLimits ||= stored.type === MAP_TYPE
    for (const dataset of [...(head ? [head] : []), ...snapshots]) {
      for (const guid of dataset.features) add(guid)
      if (dataset.stored.type === MAP_TYPE) add('com.delphix:extensible_dataset')
      for (const { object } of readDeadlist(objset, dataset.fields.deadlist).lists.values()) {
        if (object === shared) add('com.delphix:empty_bpobj')
      }
    }
  }
  if (hasLimits) add('com.joyent:filesystem_limits')
  if (directory.has('feature_enabled_txg')) {
    const map = mapOf(objset, zapNumber(directory, 'feature_enabled_txg'))
    add('com.delphix:enabled_txg', map.size)
    for (const [guid, entry] of map) if (zapBits(entry) < 1n) wrong(`the feature ${guid} was enabled in no transaction group`)
    if (!map.has('com.delphix:hole_birth')) wrong('nothing says when hole_birth was enabled')
  }
  const array = objset.objects.get(nvNumber(nvList(labels.config, 'vdev_tree'), 'metaslab_array'))?.content ?? Buffer.alloc(0)
  for (let at = 0; at < array.length; at += 8) {
    if (objset.objects.get(number64(array, at))?.bonus.length === HISTOGRAM_SIZE) add('com.delphix:spacemap_histogram')
  }
  for (const [name, { dataset, objset: own }] of sets) {
    const need = (guid: string): void => {
      if (!dataset.features.includes(guid)) wrong(`${name} needs the feature ${guid}`)
    }
    for (const [flag, guid] of ACCOUNTS) if ((own.flags & flag) !== 0) need(guid)
    if (own.blocks.some(({ pointer }) => pointer.compression === ZSTD.compression)) need(ZSTD.guid)
    if (own.blocks.some(({ pointer }) => pointer.logicalSize > 131072)) need(LARGE_BLOCKS)
  }
  const all = [objset, ...[...sets.values()].map((set) => set.objset)].flatMap(({ blocks }) => blocks)
  if (all.some(({ pointer }) => pointer.compression === LZ4.compression)) counts.set(LZ4.guid, 1)
  if (all.some(({ pointer }) => pointer.payload !== undefined)) counts.set('com.delphix:embedded_data', 1)
  return counts
}
