/** The boot files of an ISO, and of the EFI system partition in it, as trees. */
import { utf8 } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import type { DirectoryNode, Entry, FileNode } from '../tree/tree.ts'
import type { BootFile, EfiBoot } from './efi.ts'
import { GRUB_MARKER_PATH, type GrubOptions, grubConfig } from './grub.ts'
import { type IsolinuxOptions, isolinuxConfig } from './isolinux.ts'
import { type BootMenu, isoPathOf } from './menu.ts'
import type { Syslinux } from './syslinux.ts'
import { systemdBootConfig } from './systemd-boot.ts'

/** Store path of a kernel or initrd to its file, for all of `BootMenu.files`. */
export type KernelFiles = ReadonlyMap<string, FileNode>

export interface BootTreeOptions {
  /** Of every file and folder that is made here. */
  readonly mtimeSeconds: number
  readonly isolinux?: IsolinuxOptions
  readonly grub?: GrubOptions
}

export interface IsoBootParts {
  readonly menu: BootMenu
  readonly kernels: KernelFiles
  readonly syslinux?: Syslinux | undefined
  readonly efi?: EfiBoot | undefined
  /** Text of /version.txt: what `nixos-version` says. */
  readonly version?: string | undefined
}

/**
 * The content of the EFI system partition: the programs, and the menu they read. With systemd-boot also
 * the kernels, because it reads nothing but its own partition; GRUB finds them in the ISO.
 */
export function espTree(efi: EfiBoot, menu: BootMenu, kernels: KernelFiles, options: BootTreeOptions): DirectoryNode {
  const files = hostFiles(efi.files, options)
  if (efi.menu === 'grub') for (const path of efi.grubMenus) files.set(path, textFile(grubConfig(menu, options.grub), options))
  if (efi.menu === 'systemd-boot') {
    const config = systemdBootConfig(menu)
    for (const [path, text] of config.texts) files.set(path, textFile(text, options))
    for (const [storeFile, path] of config.kernels) files.set(path, kernelFile(kernels, storeFile, options))
  }
  return directoryOf(files, options)
}

/**
 * What an ISO holds for booting, beside the store: kernels and initrds below /boot/nix/store,
 * /version.txt, isolinux and its menu, and for UEFI a copy of the programs with GRUB's menu and marker.
 */
export function isoBootTree(parts: IsoBootParts, options: BootTreeOptions): DirectoryNode {
  const files = new Map<string, FileNode>()
  for (const storeFile of parts.menu.files) files.set(isoPathOf(storeFile).slice(1), kernelFile(parts.kernels, storeFile, options))
  if (parts.version !== undefined) files.set('version.txt', textFile(parts.version, options))
  if (parts.syslinux) {
    const { isolinux, modules, menuModule } = parts.syslinux
    for (const [path, node] of hostFiles([isolinux, ...modules], options)) files.set(path, node)
    files.set('isolinux/isolinux.cfg', textFile(isolinuxConfig(parts.menu, { ...options.isolinux, menuModule }), options))
  }
  if (parts.efi) {
    for (const [path, node] of hostFiles(parts.efi.files, options)) files.set(path, node)
    if (parts.efi.menu === 'grub')
      for (const path of parts.efi.grubMenus) files.set(path, textFile(grubConfig(parts.menu, options.grub), options))
    files.set(GRUB_MARKER_PATH.slice(1), textFile('', options))
  }
  return directoryOf(files, options)
}

export function attributes(mode: number, options: BootTreeOptions) {
  return { mode, uid: 0, gid: 0, mtimeSeconds: options.mtimeSeconds }
}

export function textFile(text: string, options: BootTreeOptions): FileNode {
  const bytes = utf8(text)
  return { kind: 'file', ...attributes(0o444, options), size: bytes.length, content: { kind: 'bytes', bytes } }
}

function hostFiles(files: readonly BootFile[], options: BootTreeOptions): Map<string, FileNode> {
  const node = (file: BootFile): FileNode => ({
    kind: 'file',
    ...attributes(0o444, options),
    size: file.size,
    content: file.content ?? { kind: 'hostFile', path: utf8(file.hostPath) },
  })
  return new Map(files.map((file) => [file.path, node(file)]))
}

export function kernelFile(kernels: KernelFiles, storeFile: string, options: BootTreeOptions): FileNode {
  const found = kernels.get(storeFile)
  if (!found) throw new ImageError('NOT_FOUND', `boot.json: ${storeFile} is not in the closure`, { path: storeFile })
  return { ...found, ...attributes(0o444, options) }
}

type Branch = Map<string, Branch | FileNode>

export function directoryOf(files: ReadonlyMap<string, FileNode>, options: BootTreeOptions): DirectoryNode {
  const root: Branch = new Map()
  for (const [path, node] of files) {
    const names = path.split('/')
    const last = names.pop() ?? ''
    let branch = root
    for (const name of names) {
      const next = branch.get(name) ?? new Map()
      if (!(next instanceof Map)) throw new ImageError('BAD_INPUT', `boot files: /${path} lies below a file`, { path })
      branch.set(name, next)
      branch = next
    }
    branch.set(last, node)
  }
  return directoryNode(root, options)
}

function directoryNode(branch: Branch, options: BootTreeOptions): DirectoryNode {
  const entries = [...branch].map(
    ([name, node]): Entry => ({ name: utf8(name), node: node instanceof Map ? directoryNode(node, options) : node }),
  )
  return { kind: 'directory', ...attributes(0o555, options), entries }
}
