/** `kilnix/vhdx` */
export { openVhdx, type VhdxOptions, vhdx } from '../disks/vhdx/index.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
