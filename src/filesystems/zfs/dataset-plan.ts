/** What is planned of one dataset. */
import type { DatasetStyle } from './dataset-style.ts'
import type { DatasetSpec } from './datasets.ts'
import type { FileSystemPlan } from './zpl/plan.ts'

export interface DatasetPlan {
  readonly spec: DatasetSpec
  readonly fileSystem: FileSystemPlan
  /** The file system as it was made, when it has empty snapshots. */
  readonly empty: FileSystemPlan | undefined
  readonly style: DatasetStyle
  /** Guids of the features that blocks of the file system need. */
  readonly features: readonly string[]
  /** And of the empty one. */
  readonly emptyFeatures: readonly string[]
}
