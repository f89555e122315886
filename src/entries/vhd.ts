/** `kilnix/vhd` */
export type { ReadOptions } from '../disks/container.ts'
export { dynamicVhd, type FixedVhdOptions, fixedVhd, openVhd, type VhdOptions, type VhdReadOptions } from '../disks/vhd/index.ts'
export * from './read-disks.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
