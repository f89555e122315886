/**
 * The one table of options. Parsing, help, the JSON Schema of config files and docs/cli.md are made from
 * it and therefore agree.
 */
import { MENU_DEFAULTS } from '../boot/menu.ts'
import { addition, choice, compression, flag, integer, path, size, text, time, timeout, type ValueType } from './values.ts'

export type CommandName = 'iso' | 'squashfs'

export const GROUPS = ['Input', 'Output', 'Store', 'Boot', 'Image', 'General'] as const

export interface Option {
  // biome-ignore lint/suspicious/noExplicitAny: a table of value types of all kinds
  readonly type: ValueType<any>
  readonly group: (typeof GROUPS)[number]
  readonly commands: readonly CommandName[]
  /** One sentence or two, without a full stop at the end. */
  readonly about: string
  /** For a flag that is on by itself: what `--no-...` does. */
  readonly aboutNegated?: string
  readonly short?: string
  /** Used when the option is given nowhere. */
  readonly default?: unknown
  /** Says what happens when the option is given nowhere, where that is no fixed value. */
  readonly defaultText?: string
  readonly required?: true
  /** May be given several times; the value is a list. */
  readonly repeatable?: true
  /** False: command line only. */
  readonly configurable?: false
}

const BOTH = ['iso', 'squashfs'] as const
const ISO = ['iso'] as const

export const OPTIONS = {
  closure: {
    type: path('CLOSURE'),
    group: 'Input',
    commands: BOTH,
    required: true,
    about:
      'The listing of store paths: a closureInfo folder, a registration file, nix path-info -r --json, an exportReferencesGraph file, nix-store --dump-db, .attrs.json, or a list of paths; the kind is recognised, - reads it from standard input',
  },
  root: {
    type: path('DIR'),
    group: 'Input',
    commands: BOTH,
    default: '/',
    about: 'Where the store is: files are read from DIR/nix/store',
  },
  toplevel: {
    type: text('PATH'),
    group: 'Input',
    commands: ISO,
    defaultText: 'the one path with boot.json that no other path refers to',
    about: 'Store path of the system to boot',
  },
  verify: {
    type: flag(),
    group: 'Input',
    commands: BOTH,
    default: true,
    about: 'Compare the NAR hash of every store path with the listing while its bytes pass',
    aboutNegated: 'Do not compare the NAR hash of every store path with the listing',
  },
  caseHack: {
    type: flag(),
    group: 'Input',
    commands: BOTH,
    default: false,
    about: 'The store was written by Nix on macOS: cut the endings ~nix~case~hack~ off file names',
  },
  output: {
    type: path('FILE'),
    group: 'Output',
    commands: BOTH,
    short: 'o',
    required: true,
    about: 'File to write, which appears whole or not at all; - streams to standard output',
  },
  force: { type: flag(), group: 'Output', commands: BOTH, default: false, about: 'Replace FILE if it exists' },
  compressImage: {
    type: flag(),
    group: 'Output',
    commands: ISO,
    default: false,
    about: 'Compress the whole image with zstd at level 3; name it .iso.zst',
  },
  dryRun: { type: flag(), group: 'Output', commands: BOTH, configurable: false, default: false, about: 'Print the plan and write nothing' },
  json: { type: flag(), group: 'Output', commands: BOTH, configurable: false, default: false, about: 'With --dry-run: the plan as JSON' },
  compression: {
    type: compression(),
    group: 'Store',
    commands: BOTH,
    default: 'zstd:19',
    about: 'Codec and level of the store: zstd[:1-22], gzip[:1-9], xz[:0-9], lz4, lz4:hc or none',
  },
  blockSize: {
    type: size(4096, 1048576),
    group: 'Store',
    commands: BOTH,
    default: 1048576,
    about: 'Block size of the store, a power of two',
  },
  jobs: {
    type: integer('N', 1, 256),
    group: 'Store',
    commands: BOTH,
    defaultText: 'one a CPU',
    about: 'Worker threads; the image does not depend on it',
  },
  syslinux: {
    type: path('DIR'),
    group: 'Boot',
    commands: ISO,
    defaultText: 'no BIOS boot',
    about: "Where syslinux is, for BIOS: nixpkgs' package, or /usr/lib on Debian",
  },
  efiBoot: {
    type: path('PATH'),
    group: 'Boot',
    commands: ISO,
    defaultText: 'systemd-boot from the closure',
    about: 'For UEFI: a folder with EFI/BOOT/BOOT*.EFI, or one EFI program',
  },
  kernelParam: {
    type: text('PARAMETER'),
    group: 'Boot',
    commands: ISO,
    repeatable: true,
    default: [],
    about: 'Kernel parameter for every entry',
  },
  timeout: {
    type: timeout(),
    group: 'Boot',
    commands: ISO,
    default: MENU_DEFAULTS.timeoutSeconds,
    about: 'Seconds until the default entry boots; none waits for ever',
  },
  menuPrefix: { type: text('TEXT'), group: 'Boot', commands: ISO, default: MENU_DEFAULTS.labelPrefix, about: 'Before every menu label' },
  menuSuffix: { type: text('TEXT'), group: 'Boot', commands: ISO, default: MENU_DEFAULTS.labelSuffix, about: 'After every menu label' },
  volumeId: {
    type: text('TEXT'),
    group: 'Image',
    commands: ISO,
    defaultText: 'what the system expects, else nixos[-EDITION]-RELEASE-CPU',
    about: 'Volume id of the ISO, 32 characters at most; the scripted stage 1 of NixOS finds the medium by it',
  },
  labelEdition: {
    type: text('TEXT'),
    group: 'Image',
    commands: ISO,
    defaultText: 'none',
    about: 'EDITION in the default volume id, such as minimal',
  },
  hybrid: {
    type: choice(['gpt', 'nixpkgs', 'none']),
    group: 'Image',
    commands: ISO,
    default: 'gpt',
    about: 'Partition tables for USB sticks: a clean GPT with a protective MBR, the overlapping entries that nixpkgs writes, or none',
  },
  add: {
    type: addition(),
    group: 'Image',
    commands: ISO,
    repeatable: true,
    default: [],
    about: 'Put the file or folder SOURCE into the ISO as TARGET',
  },
  mtime: {
    type: time(),
    group: 'Image',
    commands: BOTH,
    defaultText: 'SOURCE_DATE_EPOCH, else 1980-01-01 (squashfs: 1970-01-01)',
    about: 'Time of the image and of all files that are not from the store: seconds since 1970, or a date in UTC',
  },
  config: {
    type: path('FILE'),
    group: 'General',
    commands: BOTH,
    configurable: false,
    about: 'Read options from a JSON file, named as here in camelCase; the command line wins',
  },
  progress: {
    type: choice(['auto', 'bar', 'plain', 'none']),
    group: 'General',
    commands: BOTH,
    default: 'auto',
    about: 'How to show progress; auto is a bar on a terminal, lines elsewhere',
  },
  quiet: { type: flag(), group: 'General', commands: BOTH, default: false, about: 'Print errors and the path of the image only' },
  help: { type: flag(), group: 'General', commands: BOTH, short: 'h', configurable: false, default: false, about: 'Print this help' },
} as const satisfies Record<string, Option>

export type OptionKey = keyof typeof OPTIONS

type TypeOf<O> = O extends { readonly type: ValueType<infer T> } ? (O extends { readonly repeatable: true } ? readonly T[] : T) : never

/** Always there: options that are required or have a default. */
type Certain<O> = O extends { readonly required: true } | { readonly default: unknown } ? TypeOf<O> : TypeOf<O> | undefined

/** All settings; options of another command have their default. */
export type Settings = { readonly [K in OptionKey]: Certain<(typeof OPTIONS)[K]> }

/** The table for code that does not care which option it is. */
export function optionList(command?: CommandName): { readonly key: OptionKey; readonly name: string; readonly option: Option }[] {
  const entries = Object.entries(OPTIONS) as [OptionKey, Option][]
  return entries
    .filter(([, option]) => command === undefined || option.commands.includes(command))
    .map(([key, option]) => ({ key, name: kebabCase(key), option }))
}

/** `volumeId` to `volume-id`. */
export function kebabCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** As it is written on the command line: `--no-verify` for a flag that is on by itself. */
export function writtenName(name: string, option: Option): string {
  return option.type.placeholder === '' && option.default === true ? `--no-${name}` : `--${name}`
}
