/** `kilnix/gpt` */
export { ATTRIBUTE, type GptOptions, type GptPartition, gpt, PARTITION_TYPE_GUID } from '../disks/gpt/index.ts'
export * from './vocabulary.ts'
