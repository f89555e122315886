/** `kilnix/gpt` */
export {
  ATTRIBUTE,
  type GptOptions,
  type GptPartition,
  gpt,
  gptSectorSize,
  PARTITION_TYPE_GUID,
  ROOT_TYPE_GUID,
} from '../disks/gpt/index.ts'
export type { DiskImage, SectorSize } from '../disks/sectors.ts'
export * from './vocabulary.ts'
