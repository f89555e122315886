/** `kilnix/ova` */
export type { ReadOptions } from '../disks/container.ts'
export { OVA_DEFAULTS, type OvaOptions, openOva, ova } from '../disks/ova/index.ts'
export type { OvfMachine } from '../disks/ova/ovf.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
