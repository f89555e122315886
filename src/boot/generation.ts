/**
 * The boot entries of an installed system: its one generation and the specialisations in it, as the installers of boot
 * loaders in nixpkgs list them.
 *
 * Not supported: further generations, profiles beside `system`, `initrdSecrets` (a program of the target system, which
 * nothing here runs).
 */
import { ImageError } from '../errors.ts'
import type { Bootspec } from '../system/bootspec.ts'
import { requirePlainText } from './command-line.ts'
import { type MenuBootspec, menuEntries } from './menu.ts'

/** What an entry needs of `boot.json`, with the extensions of nixpkgs. */
export interface DiskBootspec extends MenuBootspec {
  readonly specialisations: ReadonlyMap<string, DiskBootspec>
  readonly extensions?: Bootspec['extensions']
}

export interface GenerationOptions {
  /** Appended to every entry's own parameters. */
  readonly kernelParams?: readonly string[]
  /** Seconds until the default entry boots; null waits for ever, 0 does not wait. Default 5. */
  readonly timeoutSeconds?: number | null
}

/** nixpkgs' default of `boot.loader.timeout`. */
export const GENERATION_DEFAULTS = { timeoutSeconds: 5, number: 1, distroName: 'NixOS' } as const

export interface GenerationEntry {
  /** The names from the system down, joined by blanks; undefined for the system itself. */
  readonly specialisation: string | undefined
  readonly label: string
  /** Store paths of the files to load. */
  readonly kernel: string
  /** In the order of loading. */
  readonly initrds: readonly string[]
  readonly deviceTree: string | undefined
  /** The kernel command line with `init=`. */
  readonly parameters: string
  /** By it boot loaders sort systems; `nixos` unless the system says otherwise. */
  readonly sortKey: string
}

export interface Generation {
  readonly timeoutSeconds: number | null
  /** The system first, then its specialisations by name. */
  readonly entries: readonly GenerationEntry[]
}

/**
 * Throws what `menuEntries` throws, and BAD_INPUT for extensions of boot.json (`org.nixos.systemd-boot`,
 * `org.nixos.extra-initrd.v1`) that are not as nixpkgs writes them.
 */
export function generationOf(bootspec: DiskBootspec, options: GenerationOptions = {}): Generation {
  const { timeoutSeconds = GENERATION_DEFAULTS.timeoutSeconds, kernelParams = [] } = options
  const menu = menuEntries(bootspec, { kernelParams, timeoutSeconds, labelPrefix: '', labelSuffix: '' })
  const entries = menu.entries.map((entry): GenerationEntry => {
    const own = entry.specialisation.reduce<DiskBootspec | undefined>((spec, name) => spec?.specialisations.get(name), bootspec)
    if (own === undefined) throw new RangeError(`no specialisation ${entry.specialisation.join(' ')}`)
    const { sortKey, deviceTree, extraInitrds } = extensionsOf(own)
    return {
      specialisation: entry.specialisation.length === 0 ? undefined : entry.specialisation.join(' '),
      label: own.label,
      kernel: entry.kernel,
      initrds: [...(entry.initrd === undefined ? [] : [entry.initrd]), ...extraInitrds],
      deviceTree,
      parameters: entry.parameters,
      sortKey,
    }
  })
  return { timeoutSeconds: menu.timeoutSeconds, entries }
}

/** Store paths of all files that are loaded, each once, in the order of entries. */
export function generationFiles({ entries }: Generation): string[] {
  const files = entries.flatMap(({ kernel, initrds, deviceTree }) => [
    kernel,
    ...initrds,
    ...(deviceTree === undefined ? [] : [deviceTree]),
  ])
  return [...new Set(files)]
}

/** `2026-01-31`, in UTC. */
export function dateText(seconds: number): string {
  return isoTime(seconds).slice(0, 10)
}

/** `2026-01-31 12:00`, in UTC. */
export function minuteText(seconds: number): string {
  return isoTime(seconds).slice(0, 16).replace('T', ' ')
}

function isoTime(seconds: number): string {
  const date = new Date(seconds * 1000)
  // Beyond the year 9999 the text has another form; see ECMA-262, Date Time String Format.
  if (!Number.isSafeInteger(seconds) || seconds < 0 || seconds >= 253_402_300_800) {
    throw new ImageError('USAGE', `time ${seconds} is not a whole number of seconds between 1970 and the end of 9999`)
  }
  return date.toISOString()
}

interface Extensions {
  readonly sortKey: string
  readonly deviceTree: string | undefined
  readonly extraInitrds: readonly string[]
}

function extensionsOf({ extensions = {} }: DiskBootspec): Extensions {
  const loader = extensionObject(extensions, 'org.nixos.systemd-boot')
  const initrd = extensionObject(extensions, 'org.nixos.extra-initrd.v1')
  const { sortKey = 'nixos', devicetree } = loader
  if (typeof sortKey !== 'string' || sortKey === '') throw badExtension('org.nixos.systemd-boot', '"sortKey" is no text')
  requirePlainText(sortKey, 'sort key')
  const { paths = [] } = initrd
  if (!Array.isArray(paths)) throw badExtension('org.nixos.extra-initrd.v1', '"paths" is no array')
  return {
    sortKey,
    deviceTree: devicetree === undefined || devicetree === null ? undefined : storeFile(devicetree, 'org.nixos.systemd-boot'),
    extraInitrds: paths.map((path) => storeFile(path, 'org.nixos.extra-initrd.v1')),
  }
}

function extensionObject(extensions: Bootspec['extensions'], key: string): Readonly<Record<string, unknown>> {
  const value = extensions[key] ?? {}
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badExtension(key, 'it is no object')
  return value as Readonly<Record<string, unknown>>
}

function storeFile(path: unknown, key: string): string {
  const parts = typeof path === 'string' ? path.split('/').slice(1) : []
  const canonical = parts.every((part) => part !== '' && part !== '.' && part !== '..')
  if (typeof path !== 'string' || !path.startsWith('/nix/store/') || !canonical)
    throw badExtension(key, `${JSON.stringify(path)} is no path below /nix/store`)
  requirePlainText(path, key)
  return path
}

function badExtension(key: string, what: string): ImageError {
  return new ImageError('BAD_INPUT', `boot.json: "${key}": ${what}`, { path: key })
}
