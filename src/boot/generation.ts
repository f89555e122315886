/**
 * The boot entries of an installed system: its one generation and the specialisations in it, as the installers of boot
 * loaders in nixpkgs list them.
 *
 * Not supported: further generations, profiles beside `system`.
 */
import { ImageError } from '../errors.ts'
import { bootExtensions } from './extensions.ts'
import { type MenuBootspec, menuEntries } from './menu.ts'

/** What an entry needs of `boot.json`. */
export type DiskBootspec = MenuBootspec

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
  /** Store paths of the files to load, but for `furtherInitrds`. */
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

/** Throws what `menuEntries` throws. */
export function generationOf(bootspec: DiskBootspec, options: GenerationOptions = {}): Generation {
  const { timeoutSeconds = GENERATION_DEFAULTS.timeoutSeconds, kernelParams = [] } = options
  const menu = menuEntries(bootspec, { kernelParams, timeoutSeconds, labelPrefix: '', labelSuffix: '' })
  const entries = menu.entries.map((entry): GenerationEntry => {
    const own = entry.specialisation.reduce<DiskBootspec | undefined>((spec, name) => spec?.specialisations.get(name), bootspec)
    if (own === undefined) throw new RangeError(`no specialisation ${entry.specialisation.join(' ')}`)
    return {
      specialisation: entry.specialisation.length === 0 ? undefined : entry.specialisation.join(' '),
      label: own.label,
      kernel: entry.kernel,
      initrds: entry.initrds,
      deviceTree: entry.deviceTree,
      parameters: entry.parameters,
      sortKey: bootExtensions(own.extensions).sortKey,
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
