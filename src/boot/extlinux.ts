/**
 * extlinux.conf, which U-Boot reads on most boards (U-Boot, "Generic Distro Configuration"; doc/README.pxe), as nixpkgs'
 * generic-extlinux-compatible writes it below /boot.
 *
 * U-Boot loads one initrd: several are one file. Not supported: device tree overlays, kernels that are read from the store
 * itself (`copyKernels = false`).
 */
import { createHash } from 'node:crypto'
import { ImageError } from '../errors.ts'
import { mergeTrees, treeAt } from '../tree/merge.ts'
import type { DirectoryNode, FileNode } from '../tree/tree.ts'
import { requireCommandLineFits, requirePlainText } from './command-line.ts'
import {
  type DiskBootspec,
  GENERATION_DEFAULTS,
  type Generation,
  type GenerationEntry,
  type GenerationOptions,
  generationFiles,
  generationOf,
  minuteText,
} from './generation.ts'
import { attributes, directoryOf, type KernelFiles, kernelFile, textFile } from './trees.ts'

export interface ExtlinuxOptions extends GenerationOptions {
  /** What `nixos-version` says; in the titles of the entries that name a generation. */
  readonly version: string
  /** The time in those titles, in seconds since 1970. */
  readonly mtimeSeconds: number
  /** Store path of the folder with device trees. Without it U-Boot uses its own. */
  readonly deviceTrees?: string
  /** Path of the one device tree to load, within `deviceTrees`. Default: U-Boot chooses by the board. */
  readonly deviceTreeName?: string
}

export interface ExtlinuxParts {
  readonly bootspec: DiskBootspec
  /** The files of `diskBootFiles`, and for entries with several initrds those that `joinedInitrd` names. */
  readonly kernels: KernelFiles
  /** The folder of `deviceTrees`. */
  readonly deviceTrees?: DirectoryNode
}

/** Names relative to the folder of extlinux.conf, in which U-Boot looks. */
const KERNEL_FOLDER = '../nixos'

/**
 * What goes below /boot: `extlinux/extlinux.conf` and `nixos/`. Throws what `extlinuxConfig` throws, NOT_FOUND for a file
 * that is missing, USAGE for device trees without a folder.
 */
export function extlinuxTree(parts: ExtlinuxParts, options: ExtlinuxOptions): DirectoryNode {
  const files = new Map<string, FileNode>([['extlinux/extlinux.conf', textFile(extlinuxConfig(parts.bootspec, options), options)]])
  for (const file of extlinuxFiles(parts.bootspec)) files.set(`nixos/${cleanName(file)}`, kernelFile(parts.kernels, file, options))
  const tree = directoryOf(files, options)
  if (options.deviceTrees === undefined) return tree
  if (parts.deviceTrees === undefined) {
    throw new ImageError('USAGE', `extlinux: the folder of device trees ${options.deviceTrees} is not given`, { path: options.deviceTrees })
  }
  const folder = attributes(0o555, options)
  return mergeTrees(tree, treeAt(`nixos/${cleanName(options.deviceTrees)}`, parts.deviceTrees, folder))
}

/** Of the initrds of an entry, the one that U-Boot loads: a name of its own for what is put together from several. */
export function joinedInitrd(initrds: readonly string[]): string | undefined {
  if (initrds.length < 2) return initrds[0]
  return `/${createHash('sha256').update(initrds.join('\n')).digest('hex').slice(0, 32)}-initrds`
}

/** What `kernels` has to hold. */
function extlinuxFiles(bootspec: DiskBootspec): Set<string> {
  const { entries } = generationOf(bootspec)
  const one = entries.map(({ initrds, ...entry }) => {
    const joined = joinedInitrd(initrds)
    return { ...entry, initrds: joined === undefined ? [] : [joined] }
  })
  return new Set(generationFiles({ timeoutSeconds: null, entries: one }))
}

/**
 * The text of extlinux.conf: the system as the default, then the same as its generation, then its specialisations.
 * Throws LIMIT, BAD_INPUT and USAGE as `diskMenu` does.
 */
export function extlinuxConfig(bootspec: DiskBootspec, options: ExtlinuxOptions): string {
  const generation = generationOf(bootspec, options)
  if (options.deviceTreeName !== undefined && options.deviceTrees === undefined) {
    throw new ImageError(
      'USAGE',
      `extlinux: the device tree ${options.deviceTreeName} lies in no folder; give the folder of device trees too`,
    )
  }
  const [system, ...specialisations] = generation.entries
  if (system === undefined) throw new RangeError('a generation has at least one entry')
  const number = GENERATION_DEFAULTS.number
  const tagged: [tag: string, entry: GenerationEntry][] = [
    [`${number}-default`, system],
    ...specialisations.map((entry): [string, GenerationEntry] => [`${number}-${label(entry.specialisation ?? '')}`, entry]),
  ]
  requirePlainText(options.version, 'version')
  const time = minuteText(options.mtimeSeconds)
  const title = (tag: string): string => `NixOS - Configuration ${tag} (${time} - ${options.version})`
  return [
    '# Written when the image was made; nixos-rebuild replaces it.',
    '# Another DEFAULT boots another entry.',
    'DEFAULT nixos-default',
    'MENU TITLE ------------------------------------------------------------',
    `TIMEOUT ${timeout(generation)}`,
    ...entryLines('default', 'NixOS - Default', system, options),
    ...tagged.flatMap(([tag, entry]) => entryLines(tag, title(tag), entry, options)),
    '',
  ].join('\n')
}

/** Tenths of a second; for U-Boot 0 means to wait for ever, and a negative number not to wait. */
function timeout({ timeoutSeconds }: Generation): number {
  if (timeoutSeconds === null) return 0
  return timeoutSeconds === 0 ? -10 : timeoutSeconds * 10
}

function entryLines(tag: string, title: string, entry: GenerationEntry, options: ExtlinuxOptions): string[] {
  const { deviceTrees, deviceTreeName } = options
  requireCommandLineFits(entry.parameters, 'extlinux', title)
  const file = (path: string): string => `${KERNEL_FOLDER}/${cleanName(path)}`
  const lines = ['', `LABEL nixos-${tag}`, `  MENU LABEL ${title}`, `  LINUX ${file(entry.kernel)}`]
  const initrd = joinedInitrd(entry.initrds)
  if (initrd !== undefined) lines.push(`  INITRD ${file(initrd)}`)
  lines.push(`  APPEND ${entry.parameters}`)
  if (entry.deviceTree !== undefined) {
    lines.push(`  FDT ${file(entry.deviceTree)}`)
  } else if (deviceTrees !== undefined) {
    requirePlainText(deviceTreeName ?? '', 'device tree')
    lines.push(deviceTreeName === undefined ? `  FDTDIR ${file(deviceTrees)}` : `  FDT ${file(deviceTrees)}/${deviceTreeName}`)
  }
  return lines
}

/** The path below the store, with dashes. */
function cleanName(file: string): string {
  return file.replace(/^\/nix\/store\/|^\//, '').replaceAll('/', '-')
}

/** A label is one word. */
function label(text: string): string {
  return text.replace(/[^0-9A-Za-z._-]/gu, '_')
}
