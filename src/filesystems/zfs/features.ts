/** Feature flags of a pool (OpenZFS `module/zcommon/zfeature_common.c`, up to 2.4). */

export interface Feature {
  /** With the domain of who made it; what follows the colon is the name that commands use. */
  readonly guid: string
  readonly description: string
  /** Software that does not know it can still read the pool. */
  readonly readOnlyCompatible: boolean
  /** Names of those without which it cannot be enabled. */
  readonly needs: readonly string[]
}

/** What a pool has of its features in use: counts by guid, 0 or absent for those that are enabled only. */
export type FeatureCounts = Readonly<Record<string, number>>

const feature = (guid: string, description: string, more: Partial<Feature> = {}): Feature => ({
  guid,
  description,
  readOnlyCompatible: false,
  needs: [],
  ...more,
})

/** All that OpenZFS has, the older ones first. */
export const FEATURES: readonly Feature[] = [
  feature('com.delphix:async_destroy', 'Destroy filesystems asynchronously.', { readOnlyCompatible: true }),
  feature('com.delphix:empty_bpobj', 'Snapshots use less space.', { readOnlyCompatible: true }),
  feature('org.illumos:lz4_compress', 'LZ4 compression algorithm support.'),
  feature('com.joyent:multi_vdev_crash_dump', 'Crash dumps to multiple vdev pools.'),
  feature('com.delphix:spacemap_histogram', 'Spacemaps maintain space histograms.', { readOnlyCompatible: true }),
  feature('com.delphix:enabled_txg', 'Record txg at which a feature is enabled', { readOnlyCompatible: true }),
  feature('com.delphix:hole_birth', 'Retain hole birth txg for more precise zfs send', { needs: ['enabled_txg'] }),
  feature('com.delphix:extensible_dataset', 'Enhanced dataset functionality, used by other features.'),
  feature('com.delphix:bookmarks', '"zfs bookmark" command', { readOnlyCompatible: true, needs: ['extensible_dataset'] }),
  feature('com.joyent:filesystem_limits', 'Filesystem and snapshot limits.', { readOnlyCompatible: true, needs: ['extensible_dataset'] }),
  feature('com.delphix:embedded_data', 'Blocks which compress very well use even less space.'),
  feature('org.open-zfs:large_blocks', 'Support for blocks larger than 128KB.', { needs: ['extensible_dataset'] }),
  feature('org.zfsonlinux:large_dnode', 'Variable on-disk size of dnodes.', { needs: ['extensible_dataset'] }),
  feature('org.illumos:sha512', 'SHA-512/256 hash algorithm.', { needs: ['extensible_dataset'] }),
  feature('org.illumos:skein', 'Skein hash algorithm.', { needs: ['extensible_dataset'] }),
  feature('org.illumos:edonr', 'Edon-R hash algorithm.', { needs: ['extensible_dataset'] }),
  feature('org.zfsonlinux:userobj_accounting', 'User/Group object accounting.', {
    readOnlyCompatible: true,
    needs: ['extensible_dataset'],
  }),
  feature('com.datto:encryption', 'Support for dataset level encryption', { needs: ['extensible_dataset', 'bookmark_v2'] }),
  feature('org.zfsonlinux:project_quota', 'space/object accounting based on project ID.', {
    readOnlyCompatible: true,
    needs: ['extensible_dataset'],
  }),
  feature('com.delphix:device_removal', 'Top-level vdevs can be removed, reducing logical pool size.'),
  feature('com.delphix:obsolete_counts', 'Reduce memory used by removed devices when their blocks are freed or remapped.', {
    readOnlyCompatible: true,
    needs: ['extensible_dataset', 'device_removal'],
  }),
  feature('com.delphix:zpool_checkpoint', 'Pool state can be checkpointed, allowing rewind later.', { readOnlyCompatible: true }),
  feature('com.delphix:spacemap_v2', 'Space maps representing large segments are more efficient.', { readOnlyCompatible: true }),
  feature('org.zfsonlinux:allocation_classes', 'Support for separate allocation classes.', { readOnlyCompatible: true }),
  feature('com.datto:resilver_defer', 'Support for deferring new resilvers when one is already running.', { readOnlyCompatible: true }),
  feature('com.datto:bookmark_v2', 'Support for larger bookmarks', { needs: ['extensible_dataset', 'bookmarks'] }),
  feature('com.delphix:redaction_bookmarks', 'Support for bookmarks which store redaction lists for zfs redacted send/recv.', {
    needs: ['bookmark_v2', 'extensible_dataset', 'bookmarks'],
  }),
  feature('com.delphix:redacted_datasets', 'Support for redacted datasets, produced by receiving a redacted zfs send stream.', {
    needs: ['extensible_dataset'],
  }),
  feature(
    'com.delphix:bookmark_written',
    'Additional accounting, enabling the written#<bookmark> property (space written since a bookmark), and estimates of send stream sizes for incrementals from bookmarks.',
    { needs: ['bookmark_v2', 'extensible_dataset', 'bookmarks'] },
  ),
  feature('com.delphix:log_spacemap', 'Log metaslab changes on a single spacemap and flush them periodically.', {
    readOnlyCompatible: true,
    needs: ['spacemap_v2'],
  }),
  feature('com.delphix:livelist', 'Improved clone deletion performance.', { readOnlyCompatible: true, needs: ['extensible_dataset'] }),
  feature('org.openzfs:device_rebuild', 'Support for sequential mirror/dRAID device rebuilds', { readOnlyCompatible: true }),
  feature('org.freebsd:zstd_compress', 'zstd compression algorithm support.', { needs: ['extensible_dataset'] }),
  feature('org.openzfs:draid', 'Support for distributed spare RAID'),
  feature('org.openzfs:zilsaxattr', 'Support for xattr=sa extended attribute logging in ZIL.', {
    readOnlyCompatible: true,
    needs: ['extensible_dataset'],
  }),
  feature('com.delphix:head_errlog', 'Support for per-dataset on-disk error logs.'),
  feature('org.openzfs:blake3', 'BLAKE3 hash algorithm.', { needs: ['extensible_dataset'] }),
  feature('com.fudosecurity:block_cloning', 'Support for block cloning via Block Reference Table.', { readOnlyCompatible: true }),
  feature('com.klarasystems:vdev_zaps_v2', 'Support for root vdev ZAP.'),
  feature('com.delphix:redaction_list_spill', 'Support for increased number of redaction_snapshot arguments in zfs redact.', {
    needs: ['redaction_bookmarks'],
  }),
  feature('org.openzfs:raidz_expansion', 'Support for raidz expansion'),
  feature('com.klarasystems:fast_dedup', 'Support for advanced deduplication', { readOnlyCompatible: true }),
  feature('org.zfsonlinux:longname', 'support filename up to 1024 bytes', { needs: ['extensible_dataset'] }),
  feature('com.klarasystems:large_microzap', 'Support for microzaps larger than 128KB.', {
    readOnlyCompatible: true,
    needs: ['extensible_dataset', 'large_blocks'],
  }),
  feature('com.truenas:block_cloning_endian', 'Fixes BRT ZAP endianness on new pools.', { readOnlyCompatible: true }),
  feature('com.klarasystems:dynamic_gang_header', 'Support for dynamically sized gang headers'),
  feature('com.truenas:physical_rewrite', 'Support for preserving logical birth time during rewrite.', {
    readOnlyCompatible: true,
    needs: ['extensible_dataset'],
  }),
]

export const FEATURE = {
  lz4: 'org.illumos:lz4_compress',
  embeddedData: 'com.delphix:embedded_data',
  accountsObjects: 'org.zfsonlinux:userobj_accounting',
  projects: 'org.zfsonlinux:project_quota',
  zstd: 'org.freebsd:zstd_compress',
  largeBlocks: 'org.open-zfs:large_blocks',
  largeDnodes: 'org.zfsonlinux:large_dnode',
  limits: 'com.joyent:filesystem_limits',
  extensibleDataset: 'com.delphix:extensible_dataset',
  emptyBpobj: 'com.delphix:empty_bpobj',
  enabledTxg: 'com.delphix:enabled_txg',
  spaceMapHistogram: 'com.delphix:spacemap_histogram',
  spaceMapTwoWords: 'com.delphix:spacemap_v2',
  rootDeviceMap: 'com.klarasystems:vdev_zaps_v2',
} as const

/**
 * In use from the moment they are enabled: `ZFEATURE_FLAG_ACTIVATE_ON_ENABLE`, and the map of the root device, which
 * `vdev_construct_zaps` makes when it can. The error logs of `head_errlog` are made with the first error.
 */
const ALWAYS_ACTIVE: FeatureCounts = {
  [FEATURE.lz4]: 1,
  'com.delphix:hole_birth': 1,
  [FEATURE.embeddedData]: 1,
  [FEATURE.spaceMapTwoWords]: 1,
  'com.delphix:head_errlog': 1,
  [FEATURE.rootDeviceMap]: 1,
}

/** Without these the meta objset cannot be read, so they stand in the label too when they are in use: `ZFEATURE_FLAG_MOS`. */
const OF_META_OBJSET: readonly string[] = ['com.delphix:hole_birth', FEATURE.embeddedData, FEATURE.rootDeviceMap]

export function featureName({ guid }: Pick<Feature, 'guid'>): string {
  return guid.slice(guid.indexOf(':') + 1)
}

export function hasFeature(features: readonly Feature[], guid: string): boolean {
  return features.some((own) => own.guid === guid)
}

export function activeFromStart(features: readonly Feature[]): [guid: string, count: number][] {
  return Object.entries(ALWAYS_ACTIVE).filter(([guid]) => hasFeature(features, guid))
}

/** Guids for the label. */
export function labelFeatures(features: readonly Feature[]): readonly string[] {
  return OF_META_OBJSET.filter((guid) => hasFeature(features, guid))
}

/** Those that are not enabled before the one that notes when features are enabled. */
export function featuresWithTxg(features: readonly Feature[]): readonly Feature[] {
  const from = features.findIndex(({ guid }) => guid === FEATURE.enabledTxg)
  return from < 0 ? [] : features.slice(from)
}
