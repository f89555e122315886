/** Sets of features by name (OpenZFS `cmd/zpool/compatibility.d`), and the features that a pool gets. */
import { nearest } from '../../bytes/nearest.ts'
import { ImageError } from '../../errors.ts'
import { FEATURES, type Feature, featureName } from './features.ts'

const OPENZFS_2_0 = [
  'async_destroy empty_bpobj lz4_compress multi_vdev_crash_dump spacemap_histogram enabled_txg hole_birth extensible_dataset',
  'bookmarks filesystem_limits embedded_data large_blocks large_dnode sha512 skein edonr userobj_accounting encryption',
  'project_quota device_removal obsolete_counts zpool_checkpoint spacemap_v2 allocation_classes resilver_defer bookmark_v2',
  'redaction_bookmarks redacted_datasets bookmark_written log_spacemap livelist device_rebuild zstd_compress',
].join(' ')
const OPENZFS_2_1 = `${OPENZFS_2_0} draid`
const OPENZFS_2_2 = `${OPENZFS_2_1} zilsaxattr head_errlog blake3 block_cloning vdev_zaps_v2`
const OPENZFS_2_3 = `${OPENZFS_2_2} redaction_list_spill raidz_expansion fast_dedup longname large_microzap`
const OPENZFS_2_4 = `${OPENZFS_2_3} block_cloning_endian dynamic_gang_header physical_rewrite`
/** Of OpenZFS 2.1; what 2.2 and later call so is `grub2-2.12`, which has more. */
const GRUB = [
  'async_destroy bookmarks embedded_data empty_bpobj enabled_txg extensible_dataset filesystem_limits hole_birth large_blocks',
  'lz4_compress spacemap_histogram',
].join(' ')
const GRUB_2_06 = [
  'allocation_classes async_destroy block_cloning device_rebuild embedded_data empty_bpobj enabled_txg hole_birth log_spacemap',
  'lz4_compress resilver_defer spacemap_histogram spacemap_v2 zpool_checkpoint',
].join(' ')
const GRUB_2_12 = `${GRUB_2_06} bookmarks extensible_dataset filesystem_limits large_blocks livelist project_quota userobj_accounting zilsaxattr`

const SETS = {
  /** ZFS's own word for a pool without features, which GRUB and every OpenZFS can read. */
  legacy: '',
  'openzfs-2.0-linux': OPENZFS_2_0,
  'openzfs-2.1-linux': OPENZFS_2_1,
  'openzfs-2.2': OPENZFS_2_2,
  'openzfs-2.2-linux': OPENZFS_2_2,
  'openzfs-2.3': OPENZFS_2_3,
  'openzfs-2.3-linux': OPENZFS_2_3,
  'openzfs-2.4': OPENZFS_2_4,
  'openzfs-2.4-linux': OPENZFS_2_4,
  grub2: GRUB,
  'grub2-2.06': GRUB_2_06,
  'grub2-2.12': GRUB_2_12,
} as const satisfies Readonly<Record<string, string>>

export type ZfsCompatibility = keyof typeof SETS

export const ZFS_COMPATIBILITIES = Object.keys(SETS) as readonly ZfsCompatibility[]

/** The text as the name of a set. Throws UNSUPPORTED for one that this writer does not have. */
export function parseCompatibility(text: string): ZfsCompatibility {
  const found = ZFS_COMPATIBILITIES.find((name) => name === text)
  if (found !== undefined) return found
  throw new ImageError('UNSUPPORTED', `zfs: compatibility '${text}': this writer has ${ZFS_COMPATIBILITIES.join(', ')}`)
}

const FEATURE_STATES: Readonly<Record<string, boolean>> = { enabled: true, disabled: false }

/** Whether `feature@NAME=value` enables the feature. Throws USAGE. */
export function parseFeatureState(name: string, value: string): boolean {
  const known = FEATURES.map(featureName)
  if (!known.includes(name)) {
    const near = nearest(name, known)
    throw new ImageError('USAGE', `zfs: there is no feature '${name}'${near === undefined ? '' : `; did you mean '${near}'?`}`)
  }
  const state = FEATURE_STATES[value]
  if (state === undefined) throw new ImageError('USAGE', `zfs: feature@${name}=${value}: it can be enabled or disabled`)
  return state
}

/**
 * The features of a set, and those that are enabled or disabled by name with what they need. Throws UNSUPPORTED for a
 * set that this writer does not have, and USAGE when one that is disabled is needed by another.
 */
export function featuresOf(compatibility: string, states: Readonly<Record<string, boolean>> = {}): readonly Feature[] {
  const names = new Set(SETS[parseCompatibility(compatibility)].split(' '))
  for (const [name, isEnabled] of Object.entries(states)) {
    if (isEnabled) names.add(name)
    else names.delete(name)
  }
  // Those that others need stand before them nearly always, but not quite: repeat until nothing is added.
  for (let count = -1; count !== names.size; ) {
    count = names.size
    for (const feature of FEATURES) {
      if (!names.has(featureName(feature))) continue
      for (const needed of feature.needs) {
        if (states[needed] === false) {
          throw new ImageError('USAGE', `zfs: feature@${needed}=disabled: ${featureName(feature)} needs it; disable that too`)
        }
        names.add(needed)
      }
    }
  }
  return FEATURES.filter((feature) => names.has(featureName(feature)))
}
