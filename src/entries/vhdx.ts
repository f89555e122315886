/** `kilnix/vhdx` */
export { openVhdx, vhdx } from '../disks/vhdx/index.ts'
export type { VhdxOptions } from '../disks/vhdx/plan.ts'
export * from './read-disks.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
