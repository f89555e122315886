/** `kilnix/vdi` */
export { openVdi, type VdiOptions, vdi } from '../disks/vdi/index.ts'
export * from './read-disks.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
