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

/** The file of each of `BootMenu.files`, and of what further entries start, whose mode it keeps. */
export type KernelFiles = ReadonlyMap<string, FileNode>

export interface BootTreeOptions {
  /** Of every file and folder that is made here. */
  readonly mtimeSeconds: number
  readonly isolinux?: IsolinuxOptions
  readonly grub?: GrubOptions
  /** Paths in the ISO, without a leading slash, at which the caller has a file of his own for the GRUB of another medium. */
  readonly leaveOut?: ReadonlySet<string>
}

export interface IsoBootParts {
  readonly menu: BootMenu
  readonly kernels: KernelFiles
  readonly syslinux?: Syslinux | undefined
  readonly efi?: EfiBoot | undefined
  /** What `espTree` gives, all of which lies in the ISO's own tree as well: a copy of the files on a FAT stick starts by UEFI. */
  readonly esp?: DirectoryNode
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

/** A tree, and which of its files are the very nodes of kernels in the EFI system partition. */
export interface IsoBootTree {
  readonly tree: DirectoryNode
  readonly shared: ReadonlySet<FileNode>
  /** Why there is no menu for a GRUB of another medium. */
  readonly withoutGrub: ImageError | undefined
}

/**
 * What an ISO holds for booting, beside the store: kernels and initrds below /boot/nix/store,
 * /version.txt, isolinux and its menu, for UEFI what lies in the EFI system partition, and the menu that a GRUB from elsewhere
 * reads: /boot/grub/grub.cfg and loopback.cfg (https://www.supergrubdisk.org/wiki/Loopback.cfg). Kernels that lie in the
 * partition are the same nodes at both paths.
 */
export function isoBootTree(parts: IsoBootParts, options: BootTreeOptions): IsoBootTree {
  const files = new Map<string, FileNode>()
  const shared = new Set<FileNode>()
  const inEsp = parts.efi?.menu === 'systemd-boot' ? systemdBootConfig(parts.menu).kernels : new Map<string, string>()
  const espFiles = parts.esp === undefined ? new Map<string, FileNode>() : filesOf(parts.esp)
  for (const storeFile of [...parts.menu.files, ...furtherFiles(parts.menu)]) {
    const own = espFiles.get(inEsp.get(storeFile) ?? '')
    // An empty file has no bytes to share.
    if (own !== undefined && own.size > 0) shared.add(own)
    files.set(isoPathOf(storeFile).slice(1), own ?? kernelFile(parts.kernels, storeFile, options))
  }
  if (parts.version !== undefined) files.set('version.txt', textFile(parts.version, options))
  if (parts.syslinux) {
    const { isolinux, modules, menuModule } = parts.syslinux
    for (const [path, node] of hostFiles([isolinux, ...modules], options)) files.set(path, node)
    files.set('isolinux/isolinux.cfg', textFile(isolinuxConfig(parts.menu, { ...options.isolinux, menuModule }), options))
  }
  for (const [path, node] of espFiles) files.set(path, node)
  const menu = grubMenu(parts.menu, options)
  if (typeof menu === 'string') {
    for (const [path, text] of [
      ['boot/grub/grub.cfg', menu],
      ['boot/grub/loopback.cfg', 'source /boot/grub/grub.cfg\n'],
    ] as const) {
      if (options.leaveOut?.has(path) !== true) files.set(path, textFile(text, options))
    }
  }
  files.set(GRUB_MARKER_PATH.slice(1), textFile('', options))
  if (options.grub?.marker !== undefined) files.set(options.grub.marker.slice(1), textFile('', options))
  return { tree: directoryOf(files, options), shared, withoutGrub: typeof menu === 'string' ? undefined : menu }
}

/** What further entries start, each once. */
function furtherFiles({ further }: BootMenu): Set<string> {
  const paths = further.flatMap(({ start }) => (start.kind === 'program' ? [start.efi, start.linux] : []))
  return new Set(paths.filter((path) => path !== undefined))
}

/** Where GRUB would change a parameter, an image that another program starts does without. */
function grubMenu(menu: BootMenu, { grub }: BootTreeOptions): string | ImageError {
  try {
    return grubConfig(menu, grub)
  } catch (error) {
    if (error instanceof ImageError && ['LIMIT', 'UNSUPPORTED'].includes(error.code)) return error
    throw error
  }
}

/** By path, without a leading slash. */
function filesOf(tree: DirectoryNode, prefix = ''): Map<string, FileNode> {
  const files = new Map<string, FileNode>()
  for (const { name, node } of tree.entries) {
    const path = `${prefix}${Buffer.from(name).toString()}`
    if (node.kind === 'directory') for (const [below, file] of filesOf(node, `${path}/`)) files.set(below, file)
    else if (node.kind === 'file') files.set(path, node)
  }
  return files
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
  return { ...found, ...attributes(found.mode, options) }
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
