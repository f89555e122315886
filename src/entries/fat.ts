/** `kilnix/fat` */
export {
  FAT_DEFAULTS,
  type FatGeometry,
  type FatOptions,
  type FatPlan,
  type FatType,
  fat,
  type PlannedDirectory as FatPlannedDirectory,
  type PlannedFile as FatPlannedFile,
  planFat,
} from '../filesystems/fat/index.ts'
export type { FatName } from '../filesystems/fat/names.ts'
export type { ClusterRun as FatClusterRun } from '../filesystems/fat/plan.ts'
export type { FatDirectory, FatEntry, FatFile } from '../filesystems/fat/tree.ts'
export * from './nodes.ts'
export * from './vocabulary.ts'
