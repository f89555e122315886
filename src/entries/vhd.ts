/** `kilnix/vhd` */
export type { ReadOptions } from '../disks/container.ts'
export { dynamicVhd, type FixedVhdOptions, fixedVhd, openVhd, type VhdOptions } from '../disks/vhd/index.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
