/** Which programs start an ISO, and what is to be said of them. */
import {
  type EfiBoot,
  efiArchitecture,
  efiBoot,
  efiProgram,
  findSyslinux,
  type MenuStyle,
  type Starter,
  type Syslinux,
  systemdBootPath,
} from '../../boot/index.ts'
import { deriveGuid } from '../../bytes/guid.ts'
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { HybridOptions } from '../../filesystems/iso9660/index.ts'
import type { Bootspec } from '../../system/bootspec.ts'
import { smallHostFile } from '../../system/small-file.ts'
import { bytesInStore, fileInStore } from '../../system/store-files.ts'
import type { System } from '../../system/system.ts'
import type { Attributes, DirectoryNode, Entry } from '../../tree/tree.ts'
import { ISO_FIRMWARES, type IsoFirmware } from './firmware.ts'

export interface ProgramOptions {
  /** A folder with syslinux, for BIOS. Without it the image boots by UEFI only. */
  readonly syslinux?: string
  /** A folder with `EFI/BOOT/BOOT*.EFI`, or an EFI program; default: systemd-boot of the closure. */
  readonly efiBoot?: string
  /** Default `both` with `syslinux`, else `uefi`. */
  readonly firmware?: IsoFirmware
  /** Default `graphical`. */
  readonly menu?: MenuStyle
}

/** At least one of them is there. */
export interface Programs {
  readonly syslinux: Syslinux | undefined
  readonly efi: EfiBoot | undefined
}

/** Of isohdpfx.bin, which has some 400 bytes. */
const BOOT_CODE_LIMIT = 64 << 10

/** Throws USAGE for options that contradict each other, NOT_FOUND for programs that are missing, and what `efiBoot` throws. */
export async function bootPrograms(options: ProgramOptions, system: System): Promise<Programs> {
  const { syslinux, firmware = syslinux === undefined ? 'uefi' : 'both' } = options
  if (!ISO_FIRMWARES.includes(firmware)) {
    throw new ImageError('USAGE', (option) => `${option('firmware')} is '${firmware}'; ${ISO_FIRMWARES.join(', ')} are known`)
  }
  if (firmware !== 'uefi' && syslinux === undefined) {
    throw new ImageError('USAGE', (option) => `${option('firmware')} ${firmware}: a BIOS starts isolinux; give ${option('syslinux')}`)
  }
  if (firmware === 'uefi' && syslinux !== undefined) {
    throw new ImageError('USAGE', (option) => `${option('firmware')} uefi: no BIOS is to start the image; leave out ${option('syslinux')}`)
  }
  if (firmware === 'bios' && options.efiBoot !== undefined) {
    throw new ImageError('USAGE', (option) => `${option('firmware')} bios: UEFI is not to start the image; leave out ${option('efiBoot')}`)
  }
  return {
    syslinux: syslinux === undefined ? undefined : await biosBoot(syslinux, system.bootspec, options.menu),
    efi: firmware === 'bios' ? undefined : await uefiBoot(options.efiBoot, system),
  }
}

async function biosBoot(folder: string, { system }: Bootspec, style: MenuStyle | undefined): Promise<Syslinux> {
  if (!/^(x86_64|i.86)-/.test(system))
    throw new ImageError('USAGE', (option) => `${option('syslinux')}: ${system} has no BIOS; leave it out`)
  return findSyslinux(folder, style)
}

async function uefiBoot(path: string | undefined, { store, bootspec: { system, toplevel } }: System): Promise<EfiBoot> {
  if (path !== undefined) return efiBoot(path, system)
  const own = systemdBootPath(toplevel, efiArchitecture(system))
  try {
    return efiProgram(await fileInStore(own, store), await bytesInStore(own, store), own, system)
  } catch (error) {
    if (!(error instanceof ImageError) || error.code !== 'NOT_FOUND') throw error
    throw new ImageError(
      'NOT_FOUND',
      (option) => `${own}: the closure has no systemd-boot; give a UEFI boot program with ${option('efiBoot')}`,
      {
        path: own,
        cause: error,
      },
    )
  }
}

/** The programs as a folder, by their paths with dashes: what decides the bytes of an image beside its menus. */
export function programFiles({ efi, syslinux }: Programs, folder: Attributes): DirectoryNode {
  const { isolinux, modules = [], hybridBootCode } = syslinux ?? {}
  const files = [
    ...(efi?.files ?? []),
    ...(isolinux === undefined ? [] : [isolinux]),
    ...modules,
    ...(hybridBootCode === undefined ? [] : [{ ...hybridBootCode, path: 'isohdpfx.bin' }]),
  ]
  const entries = files.map(({ path, hostPath, size, ...file }): Entry => {
    const content = 'content' in file && file.content !== undefined ? file.content : ({ kind: 'hostFile', path: utf8(hostPath) } as const)
    return { name: utf8(path.replaceAll('/', '-')), node: { kind: 'file', ...folder, mode: 0o444, size, content } }
  })
  return { kind: 'directory', ...folder, entries }
}

/** A shim, say, starts GRUB, which stops at its prompt without a menu. */
export function withoutMenu({ efi }: Programs): string[] {
  if (efi === undefined || efi.isComplete) return []
  const program = efi.files.find(({ path }) => path.toUpperCase() === `EFI/BOOT/${efi.architecture.bootFile}`)
  return [
    `${program?.hostPath}: is neither systemd-boot nor GRUB nor a unified kernel image, so no menu is written for it; ` +
      'unless it knows what to start, UEFI starts nothing. A folder may bring the menu that it reads, such as EFI/debian/grub.cfg behind a shim',
  ]
}

/** By the names that messages have for them. */
export function startersOf({ efi, syslinux }: Programs): Starter[] {
  const starters: Starter[] = []
  if (efi?.menu === 'own') starters.push({ name: 'the UEFI boot program with its own menu', deviceTree: false })
  else if (efi !== undefined) starters.push({ name: efi.menu, deviceTree: true })
  if (syslinux !== undefined) starters.push({ name: 'isolinux', deviceTree: false })
  return starters
}

/** `seed` decides the GUID of the disk. Throws USAGE, and NOT_FOUND for boot code that is missing. */
export async function hybridOptions(
  kind: 'gpt' | 'nixpkgs' | 'none',
  syslinux: Syslinux | undefined,
  seed: string,
): Promise<HybridOptions> {
  if (kind === 'none') return { kind }
  if (kind !== 'gpt' && kind !== 'nixpkgs') throw new ImageError('USAGE', `hybrid is '${kind}'; gpt, nixpkgs and none are known`)
  const diskGuid = deriveGuid(seed, 'iso disk')
  const bootCode = syslinux && (await hybridBootCode(syslinux))
  if (kind === 'gpt') return { kind, diskGuid, ...(bootCode && { bootCode }) }
  if (bootCode === undefined)
    throw new ImageError('USAGE', (option) => `${option('hybrid')} nixpkgs: needs isohdpfx.bin of syslinux; give ${option('syslinux')}`)
  return { kind, diskGuid, bootCode }
}

async function hybridBootCode({ hybridBootCode: file, isolinux }: Syslinux): Promise<Uint8Array> {
  if (file === undefined) {
    throw new ImageError(
      'NOT_FOUND',
      (option) =>
        `isohdpfx.bin: is not beside ${isolinux.hostPath}, and a USB stick needs it for BIOS; use ${option('hybrid')} none for optical media only`,
    )
  }
  return smallHostFile(file.hostPath, BOOT_CODE_LIMIT, 'the boot code')
}
