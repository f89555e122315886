/** The rows that several commands have. */
import { GENERATION_DEFAULTS } from '../boot/generation.ts'
import { DISK_CONTROLLERS, FIRMWARES, MANIFEST_DIGESTS } from '../disks/machine.ts'
import { SECTOR_SIZES } from '../disks/sectors.ts'
import { CONTENT_ADDRESS_SCHEMES } from '../nix/store/address-scheme.ts'
import { row } from './row.ts'
import { SOURCE } from './source-rows.ts'
import {
  type Addition,
  addition,
  choice,
  compression,
  flag,
  hostAddition,
  integer,
  numberChoice,
  path,
  replacement,
  size,
  text,
  time,
  timeout,
  usage,
} from './values.ts'

export { EITHER, LISTING, LOOKED_UP, PATHS, ROOT, SOURCE } from './source-rows.ts'

export const TOPLEVEL = row({
  type: text('PATH'),
  group: 'Input',
  defaultText: 'the first PATH, else the one path with boot.json that no other path refers to',
  about: 'Store path of the system to boot',
})

export const TOPLEVEL_SPEC = row({
  type: path('SPEC.json'),
  group: 'Input',
  defaultText: 'the system is in the closure',
  about: 'Assemble the system from this spec and the parts in the closure, as kilnix toplevel does, and leave out what it does not need',
})

export const CASE_HACK = row({
  type: flag(),
  group: 'Input',
  default: false,
  about: 'The store was written by Nix on macOS: cut the endings ~nix~case~hack~ off file names',
})

export const VERIFY = row({
  type: flag(),
  group: 'Input',
  default: true,
  about: 'Compare the NAR hash of every store path with the listing while its bytes pass',
  aboutNegated: 'Do not compare the NAR hash of every store path with the listing',
})

export const PROVENANCE = row({
  type: flag(),
  group: 'Input',
  default: false,
  about:
    'Keep the derivers and content addresses of the listing, which has to be that of nix path-info --json (default: they are left out, so that every kind of listing gives the same bytes)',
})

export const REPLACEMENTS = row({
  type: replacement(),
  group: 'Input',
  flag: 'replace',
  repeatable: true,
  about:
    'Put store path NEW, which is listed as well and has a name as long, in place of OLD: all that refers to OLD is rewritten, down to the system',
})

export const CUTOFFS = row({
  type: text('PATH'),
  group: 'Input',
  flag: 'cutoff',
  repeatable: true,
  defaultText: 'the initrds of the systems in the closure',
  about: 'Store path that is not rewritten, whatever it refers to, such as one whose content is compressed; none for no such path',
})

export const CONTENT_ADDRESS_SCHEME = row({
  type: choice(['auto', ...CONTENT_ADDRESS_SCHEMES]),
  group: 'Input',
  defaultText: 'auto',
  about:
    'How new store paths that refer to themselves, as every system does, are hashed: zeros for Nix 2.17 to 2.34, positions for Nix before and after, which refuse to copy those of the other; auto is as the newest Nix in the closure does it, else positions',
})

export const STRICT = row({
  type: flag(),
  group: 'Input',
  default: false,
  about:
    'Fail instead of saying so: where a replacement changes nothing or leaves a name of what it replaces behind, where boot.json asks for what is not obeyed, and where nothing would start the image',
})

export const WHOLE_STORE = row({
  type: flag(),
  group: 'Output',
  default: false,
  about: 'Write every path of the closure, not only those that are new, so that the folder can be given as --root',
})

export const FILE = row({
  type: path('FILE'),
  group: 'Output',
  short: 'o',
  required: true,
  about:
    'File to write, which appears whole or not at all; - streams to standard output, as pipes are streamed to; a block device is written, read back and compared; one more ending .gz, .zst or .xz compresses the whole',
})

export const FOLDER = row({ ...FILE, type: path('DIR'), about: 'Folder to write, which appears whole or not at all' })

export const FORCE = row({
  type: flag(),
  group: 'Output',
  default: false,
  about: 'Replace FILE if it exists; where nobody can be asked, write to a device',
})

export const FORCE_FOLDER = row({ ...FORCE, about: 'Replace DIR if it exists and holds nothing but what this command writes' })

export const FORCE_ANYTHING = row({ ...FORCE, about: 'Replace DIR if it exists, whatever it holds' })

export const PRINT_JSON = row({ type: flag(), group: 'Output', configurable: false, default: false, about: 'Print JSON, for programs' })

/** Of all that write something. */
export const DRY_RUN = {
  dryRun: row({ type: flag(), group: 'Output', configurable: false, default: false, about: 'Print the plan and write nothing' }),
  json: row({ ...PRINT_JSON, needs: 'dryRun', about: 'With --dry-run: the plan as JSON' }),
} as const

const CODECS = 'zstd[:1-22], gzip[:1-9], xz[:0-9], lz4, lz4:hc or none'

export const STORE_COMPRESSION = row({
  type: compression(),
  group: 'Store',
  defaultText: 'zstd:19',
  about: `Codec and level of the store: ${CODECS}`,
})

export const ARCHIVE_COMPRESSION = row({
  type: compression(),
  group: 'Store',
  defaultText: 'zstd:10',
  about: `Codec and level of the archive: ${CODECS}`,
})

export const CONTAINER_COMPRESSION = row({
  type: compression(),
  group: 'Store',
  defaultText: 'gzip:6',
  about: 'Codec and level of compressed containers: gzip[:1-9], for qcow2-compressed also zstd[:1-22]',
})

export const BLOCK_SIZE = row({
  type: size(4096, 1048576, { isPowerOfTwo: true }),
  group: 'Store',
  default: 1048576,
  about: 'Block size of the store, a power of two',
})

export const JOBS = row({
  type: integer('N', 1, 256),
  group: 'Store',
  defaultText: 'one a CPU',
  about: 'Worker threads; the image does not depend on it',
})

export const MEMORY = row({
  type: size(64 << 20, 2 ** 50),
  group: 'Store',
  defaultText: 'no limit',
  about:
    'No more worker threads than fit, at 52 MiB each beside 176 MiB, which zstd:19 and xz need; a store of very many files takes some more',
})

export const KERNEL_PARAMS = row({
  type: text('PARAMETER'),
  group: 'Boot',
  flag: 'kernel-param',
  repeatable: true,
  about: 'Further kernel parameter',
})

export const TIMEOUT = row({
  type: timeout(),
  group: 'Boot',
  flag: 'timeout',
  defaultText: String(GENERATION_DEFAULTS.timeoutSeconds),
  about: 'Seconds until the default entry boots; none waits for ever',
})

/** Of commands that start a system. */
export const INITRD_SECRETS = {
  initrdSecrets: row({
    type: path('PATH'),
    group: 'Boot',
    defaultText: 'an error, where the system needs some',
    about:
      'Secrets of the initrd: a folder with them where they belong (PATH/etc/key for /etc/key), or an archive that is ready; they can be read by whoever can read what is written',
  }),
  withoutInitrdSecrets: row({
    type: flag(),
    group: 'Boot',
    default: false,
    about: 'The system starts without the secrets that it appends to its initrd where it is installed, or has them in it already',
  }),
} as const
export const SPECIALISATION = row({
  type: text('NAME'),
  group: 'Boot',
  defaultText: 'the system itself',
  about: 'Specialisation of the system to boot',
})

export const PREPEND = row({
  type: path('FILE'),
  group: 'Boot',
  repeatable: true,
  about: 'Archive that comes first, as it is; microcode has to be uncompressed and the first of all',
})

export const SEED = row({
  type: text('TEXT'),
  group: 'Image',
  defaultText: 'all that decides the content',
  about: 'Identifiers that are not given are derived from it',
})

export const SECTOR_SIZE = row({
  type: numberChoice(SECTOR_SIZES),
  group: 'Image',
  defaultText: '512',
  about: 'Bytes of a sector of the disk, in which its partition table counts; a disk of 4096 starts only where it is attached as one',
})

/** Of containers that describe a machine. */
export const MACHINE = {
  cpuCount: row({ type: integer('N', 1, 128), group: 'Image', flag: 'cpus', defaultText: '2', about: 'Virtual CPUs of an appliance' }),
  memorySize: row({
    type: size(4 << 20, 2 ** 42),
    group: 'Image',
    flag: 'machine-memory',
    defaultText: '1536M',
    about: 'Memory of an appliance',
  }),
  hardwareVersion: row({
    type: integer('N', 4, 99),
    group: 'Image',
    defaultText: '10, of ESXi 5.5',
    about: 'Hardware version of an appliance, as VMware counts them: vmx-10 is 10',
  }),
  diskController: row({
    type: choice(DISK_CONTROLLERS),
    group: 'Image',
    defaultText: 'sata',
    about: 'What the disk of an appliance is attached to; for lsilogic the initrd needs mptspi',
  }),
  firmware: row({
    type: choice(FIRMWARES),
    group: 'Image',
    defaultText: 'efi, but for disks that are laid out for a BIOS',
    about: 'What starts an appliance',
  }),
  manifestDigest: row({
    type: choice(MANIFEST_DIGESTS),
    group: 'Image',
    defaultText: 'sha256',
    about: 'Of the sums in the manifest of an appliance; sha1 for importers from before ESXi 6.5',
  }),
} as const

export const ADD = row({
  type: hostAddition(),
  group: 'Image',
  repeatable: true,
  about: 'Put the file or folder SOURCE into the image as TARGET; /=DIR puts what is in DIR at its root',
})

/** Throws USAGE for a target that is named twice. */
export function checkTargets(...lists: readonly (readonly Pick<Addition, 'target'>[] | undefined)[]): void {
  const targets = new Set<string>()
  for (const { target } of lists.flatMap((list) => list ?? [])) {
    // Contents of several folders may lie at the root.
    if (target !== '/' && targets.has(target)) throw usage(`the target /${target} is named twice, by --add, --link or --node`)
    targets.add(target)
  }
}

/** https://reproducible-builds.org/specs/source-date-epoch/ */
export const MTIME = row({
  type: time(),
  group: 'Image',
  flag: 'mtime',
  variable: 'SOURCE_DATE_EPOCH',
  defaultText: 'SOURCE_DATE_EPOCH, else 1980-01-01',
  about: 'Time of the image and of all files that are not from the store: seconds since 1970, or a date in UTC',
})

export const CONFIG = row({
  type: path('FILE'),
  group: 'General',
  configurable: false,
  about: 'Read options from a JSON file, named as here in camelCase; the command line wins',
})

export const PROGRESS = row({
  type: choice(['auto', 'bar', 'plain', 'none']),
  group: 'General',
  default: 'auto',
  about:
    'How to show progress; auto is a bar on a terminal, lines elsewhere; with none, and with --dry-run, only what is to be noted is said',
})

export const QUIET = row({ type: flag(), group: 'General', default: false, about: 'Print errors and the path of the image only' })

/** Of all commands, which do not hear of it. */
export const HELP = row({ type: flag(), group: 'General', short: 'h', configurable: false, default: false, about: 'Print this help' })

/** Of commands that build something. */
export const BUILDING = { config: CONFIG, progress: PROGRESS, quiet: QUIET } as const

/** Into a system that is installed on a disk. */
export const ADD_OWNED = row({
  ...ADD,
  type: addition(),
  about: 'Put the file or folder SOURCE into the root file system as TARGET, with an octal mode and a numeric owner and group',
})

export const CHANNEL = row({
  type: text('PATH'),
  group: 'Image',
  defaultText: 'none',
  about: "Store path of root's channels, in the closure",
})

export const FREE_SIZE = row({
  type: size(0, 2 ** 50),
  group: 'Image',
  flag: 'free',
  default: 512 << 20,
  about: 'What stays free on the root of a disk whose size is auto',
})

/** Of commands that read the files of a closure: what takes the place of its paths, and how they are checked. */
export const STORE_FILES = {
  replacements: REPLACEMENTS,
  cutoffs: CUTOFFS,
  strict: STRICT,
  contentAddressScheme: CONTENT_ADDRESS_SCHEME,
  verify: VERIFY,
  caseHack: CASE_HACK,
} as const

/** Of commands that make something of a system. */
export const SYSTEM = { ...SOURCE, toplevel: TOPLEVEL, toplevelSpec: TOPLEVEL_SPEC, ...STORE_FILES } as const

/** Of commands that write a store. */
export const STORE_OUTPUT = {
  provenance: PROVENANCE,
  wholeStore: WHOLE_STORE,
  output: FOLDER,
  force: FORCE_ANYTHING,
  ...DRY_RUN,
  progress: PROGRESS,
  quiet: QUIET,
} as const
