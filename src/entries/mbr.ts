/** `kilnix/mbr` */
export { type MbrDiskOptions, type MbrDiskPartition, mbrDisk, PARTITION_TYPE } from '../disks/mbr/index.ts'
export * from './vocabulary.ts'
