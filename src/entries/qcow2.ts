/** `kilnix/qcow2` */
export { openQcow2, type Qcow2CompressedOptions, type Qcow2Options, qcow2, qcow2Compressed } from '../disks/qcow2/index.ts'
export * from './codecs.ts'
export * from './sources.ts'
export * from './vocabulary.ts'
