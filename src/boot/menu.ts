/**
 * From a bootspec to the entries of a boot menu, in the order in which nixpkgs' live images list them:
 * the system, its specialisations by name, and all of them again once per option variant.
 *
 * `initrdSecrets` is a program of the target system, which nothing here runs: what it would append is given as one of
 * `furtherInitrds`.
 */
import { compareBytes } from '../bytes/order.ts'
import { utf8 } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import { commandLineWords, decodedLabelBytes, encodedLabel, requirePlainText } from './command-line.ts'
import { bootExtensions, type Extensions } from './extensions.ts'
import type { FurtherEntry } from './further.ts'
import { chosenEntries, type MenuChoice } from './menu-choice.ts'

/** What a menu needs of `boot.json` (bootspec v1, RFC 125). */
export interface MenuBootspec {
  readonly label: string
  /** Store paths of files. */
  readonly kernel: string
  readonly initrd?: string | undefined
  readonly init: string
  readonly kernelParams: readonly string[]
  readonly specialisations: ReadonlyMap<string, MenuBootspec>
  readonly extensions?: Extensions
  /**
   * What is loaded behind the initrds of the system and is not in the store: `/NAME`, which lies in `/boot` of an ISO and in
   * `EFI/nixos` of an EFI system partition. Left out where the system has no initrd.
   */
  readonly furtherInitrds?: readonly string[]
}

export interface MenuOptions extends MenuChoice {
  /** Appended to every entry's own parameters. */
  readonly kernelParams?: readonly string[]
  /** Volume id of the ISO, for `root=LABEL=`. */
  readonly volumeId?: string
  /** Before and after every label. */
  readonly labelPrefix?: string
  readonly labelSuffix?: string
  /** Seconds until the default entry boots; null waits for ever, 0 does not wait. */
  readonly timeoutSeconds?: number | null
}

/** nixpkgs' defaults for a live ISO (iso-image.nix). */
export const MENU_DEFAULTS = { kernelParams: [], labelPrefix: '', labelSuffix: ' Installer', timeoutSeconds: 10 } as const

export interface MenuEntry {
  /** Unique in the menu. */
  readonly title: string
  /** Names from the system down; empty for the system itself. */
  readonly specialisation: readonly string[]
  /** Store paths of the files to load, but for `furtherInitrds`. */
  readonly kernel: string
  /** In the order of loading. */
  readonly initrds: readonly string[]
  readonly deviceTree: string | undefined
  /** The kernel command line with `init=`, words separated by single blanks. */
  readonly parameters: string
}

/** One way to boot any entry: further parameters behind the entry's own. */
export interface MenuVariant {
  readonly title: string
  /** Icon class of GRUB themes; also part of labels and file names. */
  readonly className: string
  readonly parameters: string
}

export interface BootMenu {
  readonly timeoutSeconds: number | null
  /** The default first. */
  readonly entries: readonly MenuEntry[]
  readonly variants: readonly MenuVariant[]
  /** All kernels, initrds and device trees, each once, sorted. */
  readonly files: readonly string[]
  /** What is no system, in the order in which it is listed behind all else. */
  readonly further: readonly FurtherEntry[]
}

/** The "Options" of nixpkgs' live images: titles, classes and parameters of iso-image.nix (26.11). */
export const MENU_VARIANTS: readonly MenuVariant[] = [
  { title: 'Copy ISO Files to RAM', className: 'copytoram', parameters: 'copytoram' },
  { title: 'No modesetting', className: 'nomodeset', parameters: 'nomodeset' },
  { title: 'Debug Console Output', className: 'debug', parameters: 'debug' },
  {
    title: 'Disable display-manager',
    className: 'quirk-disable-displaymanager',
    parameters: 'systemd.mask=display-manager.service plymouth.enable=0',
  },
  { title: 'Rotate framebuffer Clockwise', className: 'rotate-90cw', parameters: 'fbcon=rotate:1' },
  { title: 'Rotate framebuffer Upside-Down', className: 'rotate-180', parameters: 'fbcon=rotate:2' },
  { title: 'Rotate framebuffer Counter-Clockwise', className: 'rotate-90ccw', parameters: 'fbcon=rotate:3' },
  { title: 'Serial console=ttyS0,115200n8', className: 'serial', parameters: 'console=ttyS0,115200n8' },
]

/**
 * The menu of a live image. Throws BAD_INPUT for a label or parameter that no menu can hold, or a
 * kernel or initrd outside the store, or extensions that are not as nixpkgs writes them; USAGE for a timeout that is no whole number of seconds;
 * what `chosenEntries` throws.
 */
export function menuEntries(bootspec: MenuBootspec, options: MenuOptions = {}): BootMenu {
  const timeoutSeconds = options.timeoutSeconds === undefined ? MENU_DEFAULTS.timeoutSeconds : options.timeoutSeconds
  if (timeoutSeconds !== null && (!Number.isSafeInteger(timeoutSeconds) || timeoutSeconds < 0)) {
    throw new ImageError('USAGE', `menu timeout ${timeoutSeconds} is not a whole number of seconds from 0 on`)
  }
  const all: MenuEntry[] = []
  addEntries(all, bootspec, [], options)
  const entries = chosenEntries(all, options)
  const files = new Set(
    entries.flatMap(({ kernel, initrds, deviceTree }) => [kernel, ...initrds, ...(deviceTree === undefined ? [] : [deviceTree])]),
  )
  const sorted = [...files].sort((a, b) => compareBytes(utf8(a), utf8(b)))
  return { timeoutSeconds, entries, variants: MENU_VARIANTS, files: sorted, further: [] }
}

/** Where a kernel or initrd lies in the ISO: nixpkgs puts the store path below `/boot`. */
export function isoPathOf(file: string): string {
  return `/boot${file}`
}

/**
 * The label that the system itself expects its medium to have (`root=LABEL=` among its parameters), or
 * undefined where it does not say.
 */
export function expectedVolumeId(bootspec: MenuBootspec): string | undefined {
  const root = commandLineWords(bootspec.kernelParams.join(' ')).findLast((word) => word.startsWith('root='))
  if (!root?.startsWith('root=LABEL=')) return undefined
  const bytes = decodedLabelBytes(root.slice('root=LABEL='.length))
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

function addEntries(entries: MenuEntry[], bootspec: MenuBootspec, specialisation: readonly string[], options: MenuOptions): void {
  entries.push(menuEntry(bootspec, specialisation, options))
  const names = [...bootspec.specialisations.keys()].sort((a, b) => compareBytes(utf8(a), utf8(b)))
  for (const name of names) {
    const child = bootspec.specialisations.get(name)
    if (child) addEntries(entries, child, [...specialisation, name], options)
  }
}

function menuEntry(bootspec: MenuBootspec, specialisation: readonly string[], options: MenuOptions): MenuEntry {
  const prefix = options.labelPrefix ?? MENU_DEFAULTS.labelPrefix
  const suffix = options.labelSuffix ?? MENU_DEFAULTS.labelSuffix
  // Specialisations often carry the label of their parent, and loaders want unique titles.
  const named = specialisation.length === 0 ? '' : ` (${specialisation.join(', ')})`
  const title = `${prefix}${bootspec.label}${suffix}${named}`.trim()
  requirePlainText(title, 'menu label')
  if (title === '') throw new ImageError('BAD_INPUT', 'boot.json: the label is empty; give a menu prefix or suffix')
  const { initrd, furtherInitrds = [] } = bootspec
  const { deviceTree, extraInitrds } = bootExtensions(bootspec.extensions)
  return {
    title,
    specialisation,
    kernel: requireStoreFile(bootspec.kernel, 'kernel'),
    initrds: initrd === undefined ? extraInitrds : [requireStoreFile(initrd, 'initrd'), ...extraInitrds, ...furtherInitrds],
    deviceTree,
    parameters: parametersOf(bootspec, options),
  }
}

/**
 * `root=LABEL=<volume id>` goes to every system that names no root itself. NixOS' scripted stage 1
 * finds the medium by it. The systemd stage 1 mounts by the fstab in its initrd and says `root=fstab`;
 * there a second `root=` would win and make it mount the ISO as the root file system.
 */
function parametersOf(bootspec: MenuBootspec, options: MenuOptions): string {
  const own = [...bootspec.kernelParams, ...(options.kernelParams ?? MENU_DEFAULTS.kernelParams)]
  for (const parameter of own) requirePlainText(parameter, 'kernel parameter')
  requirePlainText(bootspec.init, 'init')
  const hasRoot = commandLineWords(own.join(' ')).some((word) => word.startsWith('root='))
  const root = hasRoot || options.volumeId === undefined ? [] : [`root=LABEL=${encodedLabel(options.volumeId)}`]
  return [`init=${bootspec.init}`, ...own, ...root].filter((word) => word !== '').join(' ')
}

function requireStoreFile(path: string, what: string): string {
  requirePlainText(path, what)
  const parts = path.split('/').slice(1)
  const canonical = parts.every((part) => part !== '' && part !== '.' && part !== '..')
  if (!path.startsWith('/nix/store/') || parts.length < 3 || !canonical) {
    throw new ImageError('BAD_INPUT', `boot.json: ${what} '${path}' is no path below /nix/store`, { path })
  }
  return path
}
