/** `kilnix/ova` */
export type { ReadOptions } from '../disks/container.ts'
export type { MachineOptions } from '../disks/machine.ts'
export { OVA_DEFAULTS, type OvaOptions, type OvaReadOptions, openOva, ova } from '../disks/ova/index.ts'
export type { OvfDisk, OvfMachine } from '../disks/ova/ovf.ts'
export * from './read-disks.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
