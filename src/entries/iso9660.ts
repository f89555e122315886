/** `kilnix/iso9660` */
export {
  type Iso9660Options,
  type Iso9660Plan,
  iso9660,
  type PlannedFile as Iso9660PlannedFile,
  planIso9660,
} from '../filesystems/iso9660/index.ts'
export type {
  BootOptions as Iso9660BootOptions,
  GptHybrid,
  GrowingFile,
  HybridOptions,
  NixpkgsHybrid,
  NoHybrid,
} from '../filesystems/iso9660/options.ts'
export * from './nodes.ts'
export * from './vocabulary.ts'
