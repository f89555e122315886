/** `kilnix/vhdx` */

export type { DiskImage, SectorSize } from '../disks/sectors.ts'
export { openVhdx, vhdx } from '../disks/vhdx/index.ts'
export type { VhdxOptions } from '../disks/vhdx/plan.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
