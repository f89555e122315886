/**
 * systemd-boot on a disk, as `bootctl install` and nixpkgs' systemd-boot-builder (26.11) leave it: the program twice,
 * loader.conf, kernels and initrds named after their store paths, and entries named by their content (UAPI.1 Boot
 * Loader Specification, type 1; loader.conf(5)).
 *
 * With a second boot partition (XBOOTLDR, UAPI.1) everything but the program and loader.conf is there.
 *
 * Not supported: boot counting, a machine id, Memtest86+, netboot.xyz and the EFI shell, a random seed (it would be the
 * same on every copy of the image: `bootctl random-seed` makes one).
 */
import { createHash } from 'node:crypto'
import { mergeTrees, treeAt } from '../tree/merge.ts'
import type { DirectoryNode, FileNode } from '../tree/tree.ts'
import { requireCommandLineFits, requirePlainText } from './command-line.ts'
import type { EfiArchitecture } from './efi.ts'
import {
  type DiskBootspec,
  dateText,
  GENERATION_DEFAULTS,
  type Generation,
  type GenerationEntry,
  type GenerationOptions,
  generationFiles,
  generationOf,
} from './generation.ts'
import { kernelPaths } from './systemd-boot.ts'
import { attributes, directoryOf, type KernelFiles, kernelFile, textFile } from './trees.ts'

export interface DiskMenuOptions extends GenerationOptions {
  /** The title of every entry. Default `NixOS`. */
  readonly distroName?: string
  /** `keep`, `max`, `auto` or a number of a text mode (loader.conf(5)). Default `keep`. */
  readonly consoleMode?: string
  /** Whether the kernel command line can be edited in the menu. Default true. */
  readonly editor?: boolean
  /** The day in the version of every entry, in seconds since 1970. */
  readonly mtimeSeconds: number
}

export interface SystemdBootDiskOptions extends DiskMenuOptions {
  /** Put kernels and entries on a second partition. Default false. */
  readonly extendedBootPartition?: boolean
}

export interface SystemdBootDiskParts {
  readonly bootspec: DiskBootspec
  readonly architecture: EfiArchitecture
  /** `systemd-boot<architecture>.efi`. */
  readonly program: FileNode
  /** The files of `diskBootFiles`. */
  readonly kernels: KernelFiles
}

export interface SystemdBootDisk {
  /** Root of the EFI system partition. */
  readonly esp: DirectoryNode
  /** Root of the extended boot loader partition, where one is asked for. */
  readonly extendedBoot: DirectoryNode | undefined
}

export interface DiskMenu {
  readonly loaderConf: string
  /** Name of each entry's file to its text, the default first. */
  readonly entries: ReadonlyMap<string, string>
  /** Store path of a kernel, initrd or device tree to its path in the partition, without a leading slash. */
  readonly kernels: ReadonlyMap<string, string>
}

/** Store paths of kernels, initrds and device trees that the entries need. Throws what `generationOf` throws. */
export function diskBootFiles(bootspec: DiskBootspec): string[] {
  return generationFiles(generationOf(bootspec))
}

/** The trees of the boot partitions. Throws what `diskMenu` throws, and NOT_FOUND for a file that is missing. */
export function systemdBootDisk(parts: SystemdBootDiskParts, options: SystemdBootDiskOptions): SystemdBootDisk {
  const { architecture, program } = parts
  const menu = diskMenu(parts.bootspec, options)
  const esp = new Map<string, FileNode>([
    [`EFI/systemd/systemd-boot${architecture.name}.efi`, { ...program, ...attributes(0o444, options) }],
    [`EFI/BOOT/${architecture.bootFile}`, { ...program, ...attributes(0o444, options) }],
    ['loader/loader.conf', textFile(menu.loaderConf, options)],
  ])
  // Says that entries are of type 1 (bootctl(1)).
  const boot = new Map<string, FileNode>([['loader/entries.srel', textFile('type1\n', options)]])
  for (const [storeFile, path] of menu.kernels) boot.set(path, kernelFile(parts.kernels, storeFile, options))
  for (const [name, text] of menu.entries) boot.set(`loader/entries/${name}`, textFile(text, options))
  const folder = attributes(0o555, options)
  // Where unified kernel images belong; bootctl makes it whether or not there are any.
  const unified = treeAt('EFI/Linux', { kind: 'directory', ...folder, entries: [] }, folder)
  const bootTree = mergeTrees(directoryOf(boot, options), unified)
  const espTree = directoryOf(esp, options)
  if (options.extendedBootPartition === true) return { esp: espTree, extendedBoot: bootTree }
  return { esp: mergeTrees(espTree, bootTree), extendedBoot: undefined }
}

/**
 * The text files. Throws LIMIT for a command line the kernel would cut or a name that FAT cannot hold, BAD_INPUT for what
 * cannot stand in a line, USAGE for a time that is none, and what `generationOf` throws.
 */
export function diskMenu(bootspec: DiskBootspec, options: DiskMenuOptions): DiskMenu {
  const generation = generationOf(bootspec, options)
  const kernels = kernelPaths(generationFiles(generation), storeName)
  const entries = generation.entries.map((entry): [string, string] => {
    const text = entryText(entry, kernels, options)
    return [`nixos-${createHash('sha256').update(text).digest('hex')}.conf`, text]
  })
  const [first] = entries
  return { loaderConf: loaderConf(generation, first?.[0] ?? '', options), entries: new Map(entries), kernels }
}

/** `menu-force` shows the menu until a key is pressed; 0 boots without showing it. */
function loaderConf({ timeoutSeconds }: Generation, defaultFile: string, options: DiskMenuOptions): string {
  const { consoleMode = 'keep', editor = true } = options
  requirePlainText(consoleMode, 'console mode')
  return [
    `timeout ${timeoutSeconds ?? 'menu-force'}`,
    `default ${defaultFile}`,
    ...(editor ? [] : ['editor 0']),
    `console-mode ${consoleMode}`,
    '',
  ].join('\n')
}

/** Lines in the order of nixpkgs and, as there, without a line break at the end: the name of the file depends on it. */
function entryText(entry: GenerationEntry, kernels: ReadonlyMap<string, string>, options: DiskMenuOptions): string {
  const { distroName = GENERATION_DEFAULTS.distroName, mtimeSeconds } = options
  const title = entry.specialisation === undefined ? distroName : `${distroName} (${entry.specialisation})`
  requirePlainText(title, 'title')
  const initrds = entry.initrds.map((path) => `/${kernels.get(path)}`)
  // systemd-boot up to 253 puts the initrds before the options, with backslashes.
  requireCommandLineFits([...initrds.map((path) => `initrd=${path}`), entry.parameters].join(' '), 'systemd-boot', title)
  return [
    `title ${title}`,
    `version Generation ${GENERATION_DEFAULTS.number} ${entry.label}, built on ${dateText(mtimeSeconds)}`,
    `linux /${kernels.get(entry.kernel)}`,
    ...initrds.map((path) => `initrd ${path}`),
    `options ${entry.parameters}`,
    ...(entry.deviceTree === undefined ? [] : [`devicetree /${kernels.get(entry.deviceTree)}`]),
    `sort-key ${entry.sortKey}`,
  ].join('\n')
}

/** The store path and the file in it, without the folders between. */
function storeName(belowStore: string): string {
  const parts = belowStore.split('/')
  const [base = ''] = parts
  return parts.length === 1 ? base : `${base}/${parts.at(-1)}`
}
