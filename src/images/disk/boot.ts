/**
 * What starts an installed system: boot files on the partitions of a layout, and what goes into the root.
 *
 * - `systemd-boot`: on the EFI system partition, with an entry for the system and each specialisation
 * - `uki`: the same, with unified kernel images instead of entries
 * - `extlinux`: extlinux/extlinux.conf on the boot partition or in /boot of the root, which U-Boot reads
 * - `none`
 */
import { createHash } from 'node:crypto'
import {
  diskBootFiles,
  diskMenu,
  disobeyedExtensions,
  type EfiArchitecture,
  efiArchitecture,
  extlinuxTree,
  generationOf,
  joinedInitrd,
  type MenuEntry,
  menuEntries,
  systemdBootDisk,
  systemdBootPath,
} from '../../boot/index.ts'
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import type { ProgressListener } from '../../io/progress.ts'
import type { LoadedClosure } from '../../system/store.ts'
import { directoryInStore, fileInStore, imageInStore } from '../../system/store-files.ts'
import { type System, systemText } from '../../system/system.ts'
import { warn } from '../../system/warnings.ts'
import { mergeTrees, treeAt } from '../../tree/merge.ts'
import type { Attributes, DirectoryNode, FileNode } from '../../tree/tree.ts'
import { joinedInitrds } from '../initrd-parts.ts'
import { type BootFileSource, bootFileSource, type InitrdSecretsOptions, initrdSecrets, withSecrets } from '../initrd-secrets.ts'
import { efiStub, unifiedSystem } from '../unified.ts'
import type { BootLoader, DiskLayout } from './names.ts'

export interface DiskBootOptions extends InitrdSecretsOptions {
  readonly loader: BootLoader
  readonly layout: DiskLayout
  readonly mtimeSeconds: number
  readonly kernelParams?: readonly string[]
  readonly timeoutSeconds?: number | null
  readonly strict?: boolean
  readonly onProgress?: ProgressListener
}

export interface DiskBoot {
  /** Trees of the partitions of the layout; an EFI system partition may be empty. */
  readonly esp: DirectoryNode | undefined
  readonly extendedBoot: DirectoryNode | undefined
  readonly boot: DirectoryNode | undefined
  /** What lies below /boot of the root. */
  readonly rootBoot: DirectoryNode | undefined
  /** Those of the initrds, as the archive that is behind them. */
  readonly secrets: Image | undefined
  /** Titles or file names of what can be chosen. */
  readonly entries: readonly string[]
}

/** A system with secrets behind its initrds, and where its boot files come from. */
interface BootedSystem extends System<LoadedClosure> {
  readonly files: BootFileSource
}

/**
 * Throws NOT_FOUND for boot files that the closure does not have, USAGE for a loader that the layout has no partition
 * for, and what the loader's functions throw.
 */
export async function diskBoot(given: System<LoadedClosure>, options: DiskBootOptions): Promise<DiskBoot> {
  const { store } = given
  const { loader, layout, mtimeSeconds } = options
  if (loader !== 'none') warn(disobeyedExtensions(given.bootspec, [{ name: loader, deviceTree: true }]), options)
  const secrets = loader === 'none' ? undefined : await initrdSecrets(given.bootspec, store, options)
  const bootspec = withSecrets(given.bootspec, secrets)
  const system: BootedSystem = { ...given, bootspec, files: bootFileSource(store, secrets) }
  const hasEsp = layout === 'efi' || layout === 'efixbootldr' || layout === 'hybrid'
  const folder: Attributes = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds }
  const empty: DirectoryNode = { kind: 'directory', ...folder, entries: [] }
  const none: DiskBoot = {
    esp: hasEsp ? empty : undefined,
    extendedBoot: layout === 'efixbootldr' ? empty : undefined,
    boot: layout === 'legacy+boot' ? empty : undefined,
    rootBoot: undefined,
    secrets,
    entries: [],
  }
  switch (loader) {
    case 'none':
      if (options.initrdSecrets !== undefined) {
        throw new ImageError(
          'USAGE',
          (option) => `${option('initrdSecrets')}: with ${option('bootLoader')} none nothing is written that loads them`,
        )
      }
      return none
    case 'extlinux': {
      const version = (await systemText(system, 'nixos-version')) ?? bootspec.label
      const trees = await directoryInStore(`${bootspec.toplevel}/dtbs`, store)
      const tree = extlinuxTree(
        { bootspec, kernels: await extlinuxFiles(system), ...(trees && { deviceTrees: trees.node }) },
        { ...menuOptions(options), version, ...(trees && { deviceTrees: trees.path }) },
      )
      const place = layout === 'legacy+boot' ? { boot: tree } : { rootBoot: tree }
      return { ...none, ...place, entries: ['nixos-default'] }
    }
    case 'systemd-boot':
    case 'uki':
      if (!hasEsp) {
        throw new ImageError(
          'USAGE',
          (option) =>
            `the layout ${layout} has no EFI system partition, which ${loader} needs; ` +
            `use ${option('layout')} efi, or ${option('bootLoader')} extlinux or none`,
        )
      }
      return { ...none, ...(await efiTrees(system, options)) }
  }
}

/** What will not start though somebody may expect it: nobody asked for no boot loader. */
export function notStarted(layout: DiskLayout, asked: BootLoader | undefined): string[] {
  if (layout === 'hybrid' && asked !== 'none') return ['the layout hybrid starts by UEFI only: no boot program for BIOS is written']
  if (asked !== undefined || layout === 'efi' || layout === 'efixbootldr') return []
  return [
    `the layout ${layout} has no EFI system partition, and no boot program for BIOS is written: nothing starts this disk but what loads its kernel ` +
      'from elsewhere; with extlinux U-Boot starts it, with the layout efi UEFI does',
  ]
}

/** The files of the entries; of several initrds the one that U-Boot loads. */
async function extlinuxFiles({ bootspec, files }: BootedSystem): Promise<Map<string, FileNode>> {
  const nodes = await files.nodes(diskBootFiles(bootspec))
  for (const { initrds } of generationOf(bootspec).entries) {
    const joined = joinedInitrd(initrds)
    if (joined === undefined || nodes.has(joined)) continue
    const image = await joinedInitrds(await Promise.all(initrds.map(files.image)))
    const attributes: Attributes = { mode: files.modeOf(initrds), uid: 0, gid: 0, mtimeSeconds: 1 }
    nodes.set(joined, { kind: 'file', ...attributes, size: image.size, content: { kind: 'image', image } })
  }
  return nodes
}

async function efiTrees(system: BootedSystem, options: DiskBootOptions): Promise<Partial<DiskBoot>> {
  const { store, bootspec, files } = system
  const architecture = efiArchitecture(bootspec.system)
  const program = await programInStore(systemdBootPath(bootspec.toplevel, architecture), store)
  const menu = menuOptions(options)
  if (options.loader === 'uki') return unifiedTrees(system, architecture, program, options)
  const parts = { bootspec, architecture, program, kernels: await files.nodes(diskBootFiles(bootspec)) }
  const { esp, extendedBoot } = systemdBootDisk(parts, { ...menu, extendedBootPartition: options.layout === 'efixbootldr' })
  return { esp, extendedBoot, entries: [...diskMenu(bootspec, menu).entries.keys()] }
}

/** The boot program, loader.conf, and an image for the system and each specialisation in EFI/Linux. */
async function unifiedTrees(
  { store, bootspec, files }: BootedSystem,
  architecture: EfiArchitecture,
  program: FileNode,
  { layout, mtimeSeconds, kernelParams = [], timeoutSeconds = 5 }: DiskBootOptions,
): Promise<Partial<DiskBoot>> {
  const folder: Attributes = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds }
  const file = (image: Image): FileNode => ({ kind: 'file', ...folder, mode: 0o644, size: image.size, content: { kind: 'image', image } })
  const text = (content: string): FileNode => {
    const bytes = utf8(content)
    return { kind: 'file', ...folder, mode: 0o644, size: bytes.length, content: { kind: 'bytes', bytes } }
  }
  const stub = await efiStub(bootspec, store)
  const systems = [['', bootspec] as const, ...bootspec.specialisations]
  const images = await Promise.all(
    systems.map(async ([name, system]) => {
      const kernel = await imageInStore(system.kernel, store)
      const { deviceTree, initrds } = menuEntries({ ...system, specialisations: new Map() }).entries[0] as MenuEntry
      const initrd = await joinedInitrds(await Promise.all(initrds.map(files.image)))
      const program = await unifiedSystem({
        stub,
        kernel,
        ...(deviceTree !== undefined && { deviceTree: await imageInStore(deviceTree, store) }),
        commandLine: [`init=${system.init}`, ...system.kernelParams, ...kernelParams].join(' '),
        label: system.label,
        specialisation: name,
      })
      const image = program(initrds.length > 0 ? initrd : undefined)
      return { name: `nixos-generation-1${name === '' ? '' : `-specialisation-${plainName(name)}`}.efi`, image }
    }),
  )
  const unified = mergeAll(images.map(({ name, image }) => treeAt(`EFI/Linux/${name}`, file(image), folder)))
  const loader = mergeAll([
    treeAt(`EFI/systemd/systemd-boot${architecture.name}.efi`, program, folder),
    treeAt(`EFI/BOOT/${architecture.bootFile}`, program, folder),
    treeAt(
      'loader/loader.conf',
      text(`timeout ${timeoutSeconds ?? 'menu-force'}\ndefault ${images[0]?.name}\nconsole-mode keep\n`),
      folder,
    ),
  ])
  const entries = images.map(({ name }) => name)
  if (layout === 'efixbootldr') return { esp: loader, extendedBoot: unified, entries }
  return { esp: mergeTrees(loader, unified), entries }
}

function mergeAll(trees: readonly DirectoryNode[]): DirectoryNode {
  const [first, ...others] = trees
  if (first === undefined) throw new RangeError('no trees to merge')
  return mergeTrees(first, ...others)
}

/** What FAT can hold, and a boot loader's id; a name that has to be changed is told from others by its digest. */
function plainName(name: string): string {
  const plain = name.replace(/[^0-9A-Za-z._-]/g, '_')
  return plain === name ? name : `${plain}-${createHash('sha256').update(name).digest('hex').slice(0, 8)}`
}

function menuOptions({ mtimeSeconds, kernelParams, timeoutSeconds }: DiskBootOptions) {
  return { mtimeSeconds, ...(kernelParams && { kernelParams }), ...(timeoutSeconds !== undefined && { timeoutSeconds }) }
}

async function programInStore(path: string, store: LoadedClosure): Promise<FileNode> {
  try {
    return await fileInStore(path, store)
  } catch (error) {
    if (!(error instanceof ImageError) || error.code !== 'NOT_FOUND') throw error
    throw new ImageError(
      'NOT_FOUND',
      (option) => `${path}: the closure has no systemd-boot; use ${option('bootLoader')} extlinux or none`,
      {
        path,
        cause: error,
      },
    )
  }
}
