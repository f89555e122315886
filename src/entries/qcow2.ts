/** `kilnix/qcow2` */
export {
  openQcow2,
  type Qcow2CompressedOptions,
  type Qcow2Options,
  type Qcow2ReadOptions,
  qcow2,
  qcow2Compressed,
} from '../disks/qcow2/index.ts'
export * from './codecs.ts'
export * from './read-disks.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
