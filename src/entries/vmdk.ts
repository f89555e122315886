/** `kilnix/vmdk` */
export {
  openVmdk,
  type VmdkAdapter,
  type VmdkOptions,
  type VmdkReadOptions,
  type VmdkStreamOptions,
  vmdk,
  vmdkStream,
} from '../disks/vmdk/index.ts'
export * from './read-disks.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
