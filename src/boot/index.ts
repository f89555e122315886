/**
 * Menus and boot files of live images and disks, from a bootspec alone.
 *
 * Not supported: rEFInd's menu, a picture or theme that is not given, Secure
 * Boot signatures (programs are copied as they are), `findiso=` loopback files.
 */
export { decodedLabelBytes, requirePlainText } from './command-line.ts'
export {
  type BootFile,
  type EfiArchitecture,
  type EfiBoot,
  type EfiMenu,
  efiArchitecture,
  efiBoot,
  efiProgram,
  systemdBootPath,
} from './efi.ts'
export {
  type BootExtensions,
  bootExtensions,
  disobeyedExtensions,
  type ExtendedBootspec,
  type Extensions,
  type Starter,
} from './extensions.ts'
export { type ExtlinuxOptions, type ExtlinuxParts, extlinuxConfig, extlinuxTree, joinedInitrd } from './extlinux.ts'
export {
  type FurtherEntries,
  type FurtherEntry,
  type FurtherFile,
  type FurtherProgram,
  type FurtherStart,
  furtherEntries,
  type MenuAddition,
  type Starters,
} from './further.ts'
export { type DiskBootspec, GENERATION_DEFAULTS, type GenerationOptions, generationOf } from './generation.ts'
export { GRUB_DEFAULTS, GRUB_MARKER_PATH, type GrubOptions, grubConfig } from './grub.ts'
export { type IpxeScript, ipxeScript } from './ipxe.ts'
export { changedByIsolinux, ISOLINUX_DEFAULTS, type IsolinuxOptions, isolinuxConfig } from './isolinux.ts'
export { type KexecScript, kexecScript } from './kexec.ts'
export {
  type BootMenu,
  expectedVolumeId,
  isoPathOf,
  MENU_DEFAULTS,
  MENU_VARIANTS,
  type MenuBootspec,
  type MenuEntry,
  type MenuOptions,
  type MenuVariant,
  menuEntries,
} from './menu.ts'
export type { MenuChoice } from './menu-choice.ts'
export { consoleParameters, MENU_STYLES, type MenuStyle, SERIAL_SPEED, type SerialConsole, serialConsole } from './menu-look.ts'
export { efiMachine, peImageSize } from './pe.ts'
export { findSyslinux, ISOLINUX_PATH, type Syslinux } from './syslinux.ts'
export { type SystemdBootFiles, systemdBootConfig } from './systemd-boot.ts'
export {
  type DiskMenu,
  type DiskMenuOptions,
  diskBootFiles,
  diskMenu,
  type SystemdBootDisk,
  type SystemdBootDiskOptions,
  type SystemdBootDiskParts,
  systemdBootDisk,
} from './systemd-boot-disk.ts'
export { type BootTreeOptions, espTree, type IsoBootParts, type IsoBootTree, isoBootTree, type KernelFiles } from './trees.ts'
export { efiStubPath, planUnifiedKernelImage, type UnifiedKernelParts, type UnifiedKernelPlan, unifiedKernelImage } from './uki.ts'
