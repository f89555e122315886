/** `kilnix/zfs` */

export type { BlockChecksum as ZfsBlockChecksum } from '../filesystems/zfs/checksum.ts'
export type { Compression as ZfsCompression } from '../filesystems/zfs/compression.ts'
export type { DatasetPlan as ZfsDatasetPlan } from '../filesystems/zfs/dataset-plan.ts'
export type { DatasetStyle as ZfsDatasetStyle } from '../filesystems/zfs/dataset-style.ts'
export type { DatasetSpec as ZfsDatasetSpec } from '../filesystems/zfs/datasets.ts'
export type { Feature as ZfsFeature } from '../filesystems/zfs/features.ts'
export type { Geometry as ZfsGeometry, MetaslabShape } from '../filesystems/zfs/geometry.ts'
export {
  ZFS_COMPATIBILITIES,
  ZFS_DEFAULTS,
  type ZfsCompatibility,
  type ZfsDataset,
  type ZfsImage,
  type ZfsPackOptions,
  type ZfsPlan,
  type ZfsPoolOptions,
  type ZfsPoolProperties,
  type ZfsProperties,
  type ZfsSnapshot,
  zfsPool,
} from '../filesystems/zfs/index.ts'
export type { Txgs as ZfsTxgs } from '../filesystems/zfs/mos/datasets.ts'
export type {
  Accounts as ZfsAccounts,
  CheckedOptions as CheckedZfsOptions,
  ResolvedOptions as ResolvedZfsOptions,
} from '../filesystems/zfs/options.ts'
export type { SizePlan as ZfsSizePlan } from '../filesystems/zfs/plan-size.ts'
export type { NameRules as ZfsNameRules } from '../filesystems/zfs/zpl/name-rules.ts'
export type { FileSystemPlan as ZfsFileSystemPlan, PlannedNode as ZfsPlannedNode } from '../filesystems/zfs/zpl/plan.ts'
export * from './nodes.ts'
export * from './vocabulary.ts'
