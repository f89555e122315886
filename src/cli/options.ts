/**
 * The one table of options. Parsing, help, the JSON Schema of config files and docs/cli.md are made from
 * it and therefore agree.
 */
import { MENU_DEFAULTS } from '../boot/menu.ts'
import {
  addition,
  address,
  choice,
  compression,
  flag,
  integer,
  linkage,
  path,
  size,
  text,
  time,
  timeout,
  type ValueType,
} from './values.ts'

export type CommandName = 'iso' | 'squashfs' | 'initrd' | 'netboot' | 'serve'

export const GROUPS = ['Input', 'Output', 'Store', 'Boot', 'Image', 'Server', 'General'] as const

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
  /** Commands that do not work without it. */
  readonly required?: readonly CommandName[]
  /** May be given several times; the value is a list. */
  readonly repeatable?: true
  /** False: command line only. */
  readonly configurable?: false
  /** What is another thing for some command. */
  readonly variants?: Readonly<Partial<Record<CommandName, Variant>>>
}

export type Variant = Partial<Pick<Option, 'type' | 'about' | 'defaultText'>>

const ALL = ['iso', 'squashfs', 'initrd', 'netboot', 'serve'] as const
const FILES = ['iso', 'squashfs', 'initrd'] as const
const WRITERS = [...FILES, 'netboot'] as const
const NETBOOT = ['netboot', 'serve'] as const
const SYSTEMS = ['iso', ...NETBOOT] as const
const ISO = ['iso'] as const

export const OPTIONS = {
  closure: {
    type: path('CLOSURE'),
    group: 'Input',
    commands: ALL,
    required: ['iso', 'squashfs', 'netboot', 'serve'],
    about:
      'The listing of store paths: a closureInfo folder, a registration file, nix path-info -r --json, an exportReferencesGraph file, nix-store --dump-db, .attrs.json, or a list of paths; the kind is recognised, - reads it from standard input',
    variants: { initrd: { defaultText: 'no store paths' } },
  },
  root: {
    type: path('DIR'),
    group: 'Input',
    commands: ALL,
    default: '/',
    about: 'Where the store is: files are read from DIR/nix/store',
  },
  toplevel: {
    type: text('PATH'),
    group: 'Input',
    commands: SYSTEMS,
    defaultText: 'the one path with boot.json that no other path refers to',
    about: 'Store path of the system to boot',
  },
  verify: {
    type: flag(),
    group: 'Input',
    commands: ALL,
    default: true,
    about: 'Compare the NAR hash of every store path with the listing while its bytes pass',
    aboutNegated: 'Do not compare the NAR hash of every store path with the listing',
  },
  caseHack: {
    type: flag(),
    group: 'Input',
    commands: ALL,
    default: false,
    about: 'The store was written by Nix on macOS: cut the endings ~nix~case~hack~ off file names',
  },
  output: {
    type: path('FILE'),
    group: 'Output',
    commands: WRITERS,
    short: 'o',
    required: WRITERS,
    about: 'File to write, which appears whole or not at all; - streams to standard output',
    variants: { netboot: { type: path('DIR'), about: 'Folder to write, which appears whole or not at all' } },
  },
  force: {
    type: flag(),
    group: 'Output',
    commands: WRITERS,
    default: false,
    about: 'Replace FILE if it exists',
    variants: { netboot: { about: 'Replace DIR if it exists and holds nothing but what this command writes' } },
  },
  compressImage: {
    type: flag(),
    group: 'Output',
    commands: ISO,
    default: false,
    about: 'Compress the whole image with zstd at level 3; name it .iso.zst',
  },
  dryRun: {
    type: flag(),
    group: 'Output',
    commands: WRITERS,
    configurable: false,
    default: false,
    about: 'Print the plan and write nothing',
  },
  json: {
    type: flag(),
    group: 'Output',
    commands: WRITERS,
    configurable: false,
    default: false,
    about: 'With --dry-run: the plan as JSON',
  },
  compression: {
    type: compression(),
    group: 'Store',
    commands: ALL,
    defaultText: 'zstd:19',
    about: 'Codec and level of the store: zstd[:1-22], gzip[:1-9], xz[:0-9], lz4, lz4:hc or none',
    variants: {
      initrd: { defaultText: 'zstd:10', about: 'Codec and level of the archive: zstd[:1-22], gzip[:1-9], xz[:0-9], lz4, lz4:hc or none' },
      netboot: { defaultText: 'zstd:19; for per-path zstd:10' },
      serve: { defaultText: 'zstd:19; for per-path zstd:10' },
    },
  },
  blockSize: {
    type: size(4096, 1048576),
    group: 'Store',
    commands: ['iso', 'squashfs', 'netboot', 'serve'],
    default: 1048576,
    about: 'Block size of the store, a power of two',
  },
  initrdCompression: {
    type: compression(),
    group: 'Store',
    commands: NETBOOT,
    default: 'none',
    about: 'Codec and level of the archives around squashfs images, which are compressed already',
  },
  pieces: {
    type: path('FOLDER'),
    group: 'Store',
    commands: NETBOOT,
    defaultText: 'none are kept',
    about: 'Folder of finished pieces: store paths that have not changed are taken from there; it may be shared, and deleted',
  },
  piecesLimit: {
    type: size(0, 2 ** 50),
    group: 'Store',
    commands: NETBOOT,
    defaultText: 'no limit',
    about: 'Remove the pieces that were not used for longest until the folder holds no more',
  },
  jobs: {
    type: integer('N', 1, 256),
    group: 'Store',
    commands: ALL,
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
    commands: SYSTEMS,
    repeatable: true,
    default: [],
    about: 'Further kernel parameter',
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
  style: {
    type: choice(['single', 'manifest', 'per-path']),
    group: 'Boot',
    commands: NETBOOT,
    default: 'single',
    about:
      "How the store gets to the machine: one squashfs behind the system's own initrd, as nixpkgs has it; a squashfs a store path and a manifest of them; or an archive a store path, from which the system starts without a stage 1",
  },
  specialisation: {
    type: text('NAME'),
    group: 'Boot',
    commands: NETBOOT,
    defaultText: 'the system itself',
    about: 'Specialisation of the system to boot',
  },
  prepend: {
    type: path('FILE'),
    group: 'Boot',
    commands: ['initrd', ...NETBOOT],
    repeatable: true,
    default: [],
    about: 'Archive that comes first, as it is; microcode has to be uncompressed and the first of all',
  },
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
    commands: ['iso', 'initrd'],
    repeatable: true,
    default: [],
    about: 'Put the file or folder SOURCE into the image as TARGET',
  },
  link: {
    type: linkage(),
    group: 'Image',
    commands: ['initrd'],
    repeatable: true,
    default: [],
    about: 'Put a symbolic link TARGET into the archive that leads to DESTINATION',
  },
  hardLinks: {
    type: flag(),
    group: 'Image',
    commands: ['initrd'],
    default: false,
    about: 'Added paths that are one file of the host stay one file',
  },
  kexec: {
    type: flag(),
    group: 'Image',
    commands: ['netboot'],
    default: false,
    about: 'Write a folder kexec with a script kexec-boot that starts the system from a running Linux, and a tarball of it',
  },
  kexecCompression: {
    type: compression(),
    group: 'Image',
    commands: ['netboot'],
    default: 'gzip:1',
    about: 'Codec and level of that tarball; what is in it is compressed already',
  },
  mtime: {
    type: time(),
    group: 'Image',
    commands: FILES,
    defaultText: 'SOURCE_DATE_EPOCH, else 1980-01-01 (squashfs: 1970-01-01)',
    about: 'Time of the image and of all files that are not from the store: seconds since 1970, or a date in UTC',
    variants: { initrd: { defaultText: 'SOURCE_DATE_EPOCH, else 1, as files of the store have it' } },
  },
  listen: {
    type: address(),
    group: 'Server',
    commands: ['serve'],
    default: '127.0.0.1:8080',
    about: 'Address and port to listen on; port 0 takes a free one, 0.0.0.0 or [::] lets other machines in',
  },
  config: {
    type: path('FILE'),
    group: 'General',
    commands: ALL,
    configurable: false,
    about: 'Read options from a JSON file, named as here in camelCase; the command line wins',
  },
  progress: {
    type: choice(['auto', 'bar', 'plain', 'none']),
    group: 'General',
    commands: ALL,
    default: 'auto',
    about: 'How to show progress; auto is a bar on a terminal, lines elsewhere',
  },
  quiet: { type: flag(), group: 'General', commands: ALL, default: false, about: 'Print errors and the path of the image only' },
  help: { type: flag(), group: 'General', commands: ALL, short: 'h', configurable: false, default: false, about: 'Print this help' },
} as const satisfies Record<string, Option>

export type OptionKey = keyof typeof OPTIONS

type TypeOf<O> = O extends { readonly type: ValueType<infer T> } ? (O extends { readonly repeatable: true } ? readonly T[] : T) : never

/** Always there: options that have a default. */
type Certain<O> = O extends { readonly default: unknown } ? TypeOf<O> : TypeOf<O> | undefined

/** All settings; options of another command have their default. */
export type Settings = { readonly [K in OptionKey]: Certain<(typeof OPTIONS)[K]> }

export interface OptionRow {
  readonly key: OptionKey
  readonly name: string
  /** As the command has it. */
  readonly option: Option
  readonly isRequired: boolean
}

/** The table for code that does not care which option it is. */
export function optionList(command?: CommandName): OptionRow[] {
  const entries = Object.entries(OPTIONS) as [OptionKey, Option][]
  return entries
    .filter(([, option]) => command === undefined || option.commands.includes(command))
    .map(([key, option]) => ({
      key,
      name: kebabCase(key),
      option: command === undefined ? option : { ...option, ...option.variants?.[command] },
      isRequired: command !== undefined && option.required?.includes(command) === true,
    }))
}

/** `volumeId` to `volume-id`. */
export function kebabCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** As it is written on the command line: `--no-verify` for a flag that is on by itself. */
export function writtenName(name: string, option: Option): string {
  return option.type.placeholder === '' && option.default === true ? `--no-${name}` : `--${name}`
}
