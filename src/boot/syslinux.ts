/**
 * The files of syslinux that make an ISO start on BIOS, wherever a distribution keeps them.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ImageError, systemErrorCode } from '../errors.ts'
import type { BootFile } from './efi.ts'
import type { MenuStyle } from './menu-look.ts'

export interface Syslinux {
  /** Goes to /isolinux/isolinux.bin; the boot sector that the El Torito entry names. */
  readonly isolinux: BootFile
  /** What isolinux.bin loads: ldlinux.c32 and what the menu needs. */
  readonly modules: readonly BootFile[]
  /** The module that draws the menu, if it and what it needs are there. */
  readonly menuModule: 'vesamenu.c32' | 'menu.c32' | undefined
  /** Host path of the boot code for the first sector of a USB stick, if there is one. */
  readonly hybridBootCode: { readonly hostPath: string; readonly size: number } | undefined
}

/** Path of the boot program in the ISO. */
export const ISOLINUX_PATH = 'isolinux/isolinux.bin'

/** Where isolinux.bin and the modules are, below the folder that is given. */
const LAYOUTS: readonly { readonly binaries: string; readonly modules: string }[] = [
  // All in one folder.
  { binaries: '.', modules: '.' },
  // nixpkgs' package; also /usr of Fedora.
  { binaries: 'share/syslinux', modules: 'share/syslinux' },
  // Debian, from /usr/lib, /usr and /.
  { binaries: 'ISOLINUX', modules: 'syslinux/modules/bios' },
  { binaries: 'lib/ISOLINUX', modules: 'lib/syslinux/modules/bios' },
  { binaries: 'usr/lib/ISOLINUX', modules: 'usr/lib/syslinux/modules/bios' },
  // Arch, from /usr/lib/syslinux, /usr and /.
  { binaries: 'bios', modules: 'bios' },
  { binaries: 'lib/syslinux/bios', modules: 'lib/syslinux/bios' },
  { binaries: 'usr/lib/syslinux/bios', modules: 'usr/lib/syslinux/bios' },
  { binaries: 'usr/share/syslinux', modules: 'usr/share/syslinux' },
]

/** A menu module and the libraries it is linked with (syslinux 6). */
const MENUS = [
  { module: 'vesamenu.c32', needs: ['libcom32.c32', 'libutil.c32'] },
  { module: 'menu.c32', needs: ['libutil.c32'] },
] as const

/**
 * Find syslinux 5 or later below `folder`. Throws NOT_FOUND with all places that were looked at, or
 * with the file that is missing beside isolinux.bin. With `text` the menu is none that needs a graphical screen.
 */
export async function findSyslinux(folder: string, style: MenuStyle = 'graphical'): Promise<Syslinux> {
  for (const layout of LAYOUTS) {
    const isolinux = await fileAt(join(folder, layout.binaries, 'isolinux.bin'), ISOLINUX_PATH)
    if (!isolinux) continue
    const module = (name: string) => fileAt(join(folder, layout.modules, name), `isolinux/${name}`)
    const loader = await module('ldlinux.c32')
    if (!loader) {
      const path = join(folder, layout.modules, 'ldlinux.c32')
      throw new ImageError('NOT_FOUND', `syslinux: ${isolinux.hostPath} is there, but not ${path}, without which it cannot start`, { path })
    }
    const hybrid = await fileAt(join(folder, layout.binaries, 'isohdpfx.bin'), '')
    const menu = await findMenu(module, style)
    return {
      isolinux,
      modules: [loader, ...menu.modules],
      menuModule: menu.menuModule,
      hybridBootCode: hybrid && { hostPath: hybrid.hostPath, size: hybrid.size },
    }
  }
  const places = LAYOUTS.map((layout) => join(folder, layout.binaries, 'isolinux.bin')).join(', ')
  throw new ImageError('NOT_FOUND', `syslinux: no isolinux.bin; looked for ${places}`, { path: folder })
}

async function findMenu(
  module: (name: string) => Promise<BootFile | undefined>,
  style: MenuStyle,
): Promise<Pick<Syslinux, 'menuModule' | 'modules'>> {
  for (const menu of MENUS) {
    if (style === 'text' && menu.module === 'vesamenu.c32') continue
    const files = await Promise.all([menu.module, ...menu.needs].map(module))
    const present = files.filter((file) => file !== undefined)
    if (present.length === files.length) return { menuModule: menu.module, modules: present }
  }
  return { menuModule: undefined, modules: [] }
}

async function fileAt(hostPath: string, path: string): Promise<BootFile | undefined> {
  try {
    const found = await stat(hostPath)
    return found.isFile() ? { path, hostPath, size: found.size } : undefined
  } catch (cause) {
    const code = systemErrorCode(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new ImageError('UNREADABLE', `syslinux: ${hostPath} cannot be read: ${code ?? String(cause)}`, { path: hostPath, cause })
  }
}
