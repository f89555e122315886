/**
 * The one table of options. Parsing, help, the JSON Schema of config files and docs/cli.md are made from
 * it and therefore agree.
 */
import { GENERATION_DEFAULTS } from '../boot/generation.ts'
import { MENU_DEFAULTS } from '../boot/menu.ts'
import type { Option } from './option.ts'
import { CONVERT_INPUT, DISK_BOOT, DISK_OPTIONS } from './option-table-disk.ts'
import { INSPECT_INPUT, INSPECT_OPTIONS } from './option-table-inspect.ts'
import { REPLACE_OPTIONS } from './option-table-replace.ts'
import { TOPLEVEL_INPUT, TOPLEVEL_SPEC } from './option-table-toplevel.ts'
import { ZFS_OPTIONS } from './option-table-zfs.ts'
import { addition, address, choice, compression, flag, hostName, integer, linkage, path, size, text, time, timeout } from './values.ts'

const BUILDS = ['iso', 'squashfs', 'initrd', 'netboot', 'serve', 'disk', 'zfs', 'convert'] as const
const CLOSURES = ['iso', 'squashfs', 'initrd', 'netboot', 'serve', 'disk', 'zfs'] as const
const FILES = ['iso', 'squashfs', 'initrd', 'disk', 'convert'] as const
const WRITERS = [...FILES, 'netboot', 'zfs'] as const
const NETBOOT = ['netboot', 'serve'] as const
const SYSTEMS = ['iso', 'disk', 'zfs', ...NETBOOT] as const
const ISO = ['iso'] as const
const NARS = ['nar dump', 'nar hash', 'nar restore'] as const
const LISTED = ['closure show', 'closure why', 'closure check'] as const
/** Write a store into a folder. */
const STORES = ['toplevel', 'replace'] as const
const INSPECTIONS = [...NARS, 'nar ls', ...LISTED, 'closure diff'] as const

const PRINTS_JSON = { about: 'Print JSON, for programs' }

const CONTAINER_COMPRESSION = 'Codec and level of compressed containers: gzip[:1-9], for qcow2-compressed also zstd[:1-22]'

const FOLDER = { type: path('DIR'), about: 'Folder to write, which appears whole or not at all' }
const INSTALLED_ADDITION = {
  type: addition({ withOwner: true }),
  about: 'Put the file or folder SOURCE into the root file system as TARGET, with an octal mode and a numeric owner and group',
}
const REPLACE_FOLDER = { about: 'Replace DIR if it exists and holds nothing but what this command writes' }

export const OPTIONS = {
  ...CONVERT_INPUT,
  ...INSPECT_INPUT,
  ...TOPLEVEL_INPUT,
  closure: {
    type: path('CLOSURE'),
    group: 'Input',
    commands: [...CLOSURES, ...STORES, ...LISTED],
    required: ['iso', 'squashfs', 'netboot', 'serve', 'disk', 'zfs', ...STORES, ...LISTED],
    about:
      'The listing of store paths: a closureInfo folder, a registration file, nix path-info -r --json, an exportReferencesGraph file, nix-store --dump-db, .attrs.json, or a list of paths; the kind is recognised, - reads it from standard input',
    variants: {
      initrd: { defaultText: 'no store paths' },
      'closure show': { positional: true },
      'closure why': { positional: true },
      'closure check': { positional: true },
    },
  },
  ...INSPECT_OPTIONS,
  root: {
    type: path('DIR'),
    group: 'Input',
    commands: [...CLOSURES, ...STORES, ...LISTED, 'closure diff'],
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
  ...TOPLEVEL_SPEC,
  ...REPLACE_OPTIONS,
  verify: {
    type: flag(),
    group: 'Input',
    commands: [...CLOSURES, ...STORES],
    default: true,
    about: 'Compare the NAR hash of every store path with the listing while its bytes pass',
    aboutNegated: 'Do not compare the NAR hash of every store path with the listing',
  },
  caseHack: {
    type: flag(),
    group: 'Input',
    commands: [...CLOSURES, ...STORES, ...LISTED, ...NARS, 'closure diff'],
    default: false,
    about: 'The store was written by Nix on macOS: cut the endings ~nix~case~hack~ off file names',
    variants: {
      'nar restore': {
        about:
          'Write for a file system that ignores case, as Nix does on macOS: names that differ in case only get endings ~nix~case~hack~N',
      },
    },
  },
  provenance: {
    type: flag(),
    group: 'Input',
    commands: ['disk', 'zfs', ...STORES],
    default: false,
    about:
      'Keep the derivers and content addresses of the listing, which has to be that of nix path-info --json (default: they are left out, so that every kind of listing gives the same bytes)',
  },
  output: {
    type: path('FILE'),
    group: 'Output',
    commands: [...WRITERS, ...STORES],
    short: 'o',
    required: [...WRITERS, ...STORES],
    about: 'File to write, which appears whole or not at all; - streams to standard output',
    variants: { netboot: FOLDER, zfs: FOLDER, toplevel: FOLDER, replace: FOLDER },
  },
  force: {
    type: flag(),
    group: 'Output',
    commands: [...WRITERS, ...STORES, 'nar restore'],
    default: false,
    about: 'Replace FILE if it exists',
    variants: {
      netboot: REPLACE_FOLDER,
      zfs: REPLACE_FOLDER,
      'nar restore': { about: 'Replace DIR if it exists, whatever it holds' },
      toplevel: { about: 'Replace DIR if it exists, whatever it holds' },
      replace: { about: 'Replace DIR if it exists, whatever it holds' },
    },
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
    commands: [...WRITERS, ...STORES],
    configurable: false,
    default: false,
    about: 'Print the plan and write nothing',
  },
  json: {
    type: flag(),
    group: 'Output',
    commands: [...WRITERS, ...STORES, 'nar ls', ...LISTED, 'closure diff'],
    configurable: false,
    default: false,
    about: 'With --dry-run: the plan as JSON',
    variants: {
      'nar ls': PRINTS_JSON,
      'closure show': PRINTS_JSON,
      'closure why': PRINTS_JSON,
      'closure diff': PRINTS_JSON,
      'closure check': PRINTS_JSON,
    },
  },
  compression: {
    type: compression(),
    group: 'Store',
    commands: BUILDS,
    defaultText: 'zstd:19',
    about: 'Codec and level of the store: zstd[:1-22], gzip[:1-9], xz[:0-9], lz4, lz4:hc or none',
    variants: {
      initrd: { defaultText: 'zstd:10', about: 'Codec and level of the archive: zstd[:1-22], gzip[:1-9], xz[:0-9], lz4, lz4:hc or none' },
      netboot: { defaultText: 'zstd:19; for per-path zstd:10' },
      serve: { defaultText: 'zstd:19; for per-path zstd:10' },
      disk: { defaultText: 'gzip:6', about: CONTAINER_COMPRESSION },
      zfs: { defaultText: 'gzip:6', about: CONTAINER_COMPRESSION },
      convert: { defaultText: 'gzip:6', about: CONTAINER_COMPRESSION },
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
    about:
      'Folder of finished pieces: store paths that have not changed are taken from there; nobody else may write to it; several runs may share it, and it may be deleted',
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
    commands: [...BUILDS, 'closure check'],
    defaultText: 'one a CPU',
    about: 'Worker threads; the image does not depend on it',
    variants: { 'closure check': { about: 'Worker threads' } },
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
    commands: ['iso', 'disk', 'zfs'],
    defaultText: String(MENU_DEFAULTS.timeoutSeconds),
    variants: {
      disk: { defaultText: String(GENERATION_DEFAULTS.timeoutSeconds) },
      zfs: { defaultText: String(GENERATION_DEFAULTS.timeoutSeconds) },
    },
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
  ...DISK_BOOT,
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
  ...DISK_OPTIONS,
  ...ZFS_OPTIONS,
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
    commands: ['iso', 'initrd', 'disk', 'zfs'],
    repeatable: true,
    default: [],
    about: 'Put the file or folder SOURCE into the image as TARGET',
    variants: {
      disk: INSTALLED_ADDITION,
      zfs: INSTALLED_ADDITION,
    },
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
    commands: [...FILES, 'zfs'],
    defaultText: 'SOURCE_DATE_EPOCH, else 1980-01-01 (squashfs: 1970-01-01)',
    about: 'Time of the image and of all files that are not from the store: seconds since 1970, or a date in UTC',
    variants: {
      initrd: { defaultText: 'SOURCE_DATE_EPOCH, else 1, as files of the store have it' },
      disk: { defaultText: 'SOURCE_DATE_EPOCH, else 1980-01-01' },
      zfs: {
        defaultText: 'SOURCE_DATE_EPOCH, else 1980-01-01',
        about: 'Time of the pool and of all files that are not from the store: seconds since 1970, or a date in UTC',
      },
      convert: { about: 'Time in containers that have one', defaultText: 'SOURCE_DATE_EPOCH, else the first that the format has' },
    },
  },
  listen: {
    type: address(),
    group: 'Server',
    commands: ['serve'],
    default: '127.0.0.1:8080',
    about: 'Address and port to listen on; port 0 takes a free one, 0.0.0.0 or [::] lets other machines in',
  },
  host: {
    type: hostName(),
    group: 'Server',
    commands: ['serve'],
    repeatable: true,
    default: [],
    about: 'A name by which machines reach the server, as in http://NAME:8080/; addresses and localhost need none, all else is refused',
  },
  config: {
    type: path('FILE'),
    group: 'General',
    commands: BUILDS,
    configurable: false,
    about: 'Read options from a JSON file, named as here in camelCase; the command line wins',
  },
  progress: {
    type: choice(['auto', 'bar', 'plain', 'none']),
    group: 'General',
    commands: [...BUILDS, ...STORES, 'closure check'],
    default: 'auto',
    about: 'How to show progress; auto is a bar on a terminal, lines elsewhere',
  },
  quiet: {
    type: flag(),
    group: 'General',
    commands: [...BUILDS, ...STORES, 'closure check'],
    default: false,
    about: 'Print errors and the path of the image only',
    variants: { 'closure check': { about: 'Print no progress' } },
  },
  help: {
    type: flag(),
    group: 'General',
    commands: [...BUILDS, ...STORES, ...INSPECTIONS],
    short: 'h',
    configurable: false,
    default: false,
    about: 'Print this help',
  },
} as const satisfies Record<string, Option>
