/** `kilnix/tar` */
export type { ExtensionType as TarExtensionType, MemberType as TarMemberType } from '../archives/tar/disk.ts'
export type { Extension as TarExtension } from '../archives/tar/extensions.ts'
export { TAR_DEFAULTS, type TarFormat, type TarImage, type TarMember, type TarOptions, type TarPlan, tar } from '../archives/tar/index.ts'
export * from './nodes.ts'
export * from './vocabulary.ts'
