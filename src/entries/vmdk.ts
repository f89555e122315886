/** `kilnix/vmdk` */
export { openVmdk, type VmdkAdapter, type VmdkOptions, type VmdkStreamOptions, vmdk, vmdkStream } from '../disks/vmdk/index.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
