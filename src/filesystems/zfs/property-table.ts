/** The properties of file systems and their values (OpenZFS `module/zcommon/zfs_prop.c`). */

type Choices = Readonly<Record<string, number>>

const ON_OFF: Choices = { off: 0, on: 1 }
const CACHE: Choices = { none: 0, metadata: 1, all: 2 }

/** Properties with a few values, each a number on disk. */
export const CHOICES: Readonly<Record<string, Choices>> = {
  aclinherit: { discard: 0, noallow: 1, passthrough: 3, restricted: 4, secure: 4, 'passthrough-x': 5 },
  aclmode: { discard: 0, groupmask: 2, passthrough: 3, restricted: 4 },
  acltype: { off: 0, noacl: 0, disabled: 0, posix: 1, posixacl: 1, nfsv4: 2 },
  atime: ON_OFF,
  canmount: { off: 0, on: 1, noauto: 2 },
  checksum: { on: 1, off: 2, fletcher4: 7, sha256: 8 },
  copies: { 1: 1, 2: 2, 3: 3 },
  dedup: { off: 2 },
  devices: ON_OFF,
  direct: { disabled: 0, standard: 1, always: 2 },
  dnodesize: { legacy: 0, auto: 1, '1k': 1024, '2k': 2048, '4k': 4096, '8k': 8192, '16k': 16384 },
  exec: ON_OFF,
  logbias: { latency: 0, throughput: 1 },
  longname: { off: 0 },
  nbmand: ON_OFF,
  overlay: ON_OFF,
  prefetch: CACHE,
  primarycache: CACHE,
  readonly: ON_OFF,
  redundant_metadata: { all: 0, most: 1, some: 2, none: 3 },
  relatime: ON_OFF,
  secondarycache: CACHE,
  setuid: ON_OFF,
  snapdir: { hidden: 0, visible: 1, disabled: 2 },
  sync: { standard: 0, always: 1, disabled: 2 },
  vscan: ON_OFF,
  // `on` is what OpenZFS 2.3 and later make of it; 2.1 and 2.2 meant `dir`.
  xattr: { off: 0, dir: 1, sa: 2, on: 2 },
  zoned: ON_OFF,
}

/** Bytes, or `none`; a dataset does not inherit them. */
export const SIZES = ['quota', 'refquota', 'reservation', 'refreservation'] as const
export type SizeProperty = (typeof SIZES)[number]

/** How many datasets and snapshots there may be in and below a dataset, or `none`; not inherited. */
export const LIMITS = ['filesystem_limit', 'snapshot_limit'] as const

export const TEXTS: readonly string[] = ['mountpoint', 'sharenfs', 'sharesmb']

/** Chosen when a file system is made, and kept in its master node and not among its properties: value by text. */
export const AT_CREATION: Readonly<Record<string, Choices>> = {
  utf8only: ON_OFF,
  // The flags of `include/sys/u8_textprep.h`.
  normalization: { none: 0, formD: 0x10, formKD: 0x20, formC: 0x50, formKC: 0x60 },
  casesensitivity: { sensitive: 0, insensitive: 1, mixed: 2 },
  version: { 5: 5, current: 5 },
  encryption: { off: 0 },
  keyformat: { none: 0 },
  keylocation: { none: 0 },
}

/** The other names that the commands take: the titles of columns. */
export const ALIASES: Readonly<Record<string, string>> = {
  compress: 'compression',
  recsize: 'recordsize',
  rdonly: 'readonly',
  reserv: 'reservation',
  refreserv: 'refreservation',
  dnsize: 'dnodesize',
  redund_md: 'redundant_metadata',
  case: 'casesensitivity',
  fslimit: 'filesystem_limit',
  sslimit: 'snapshot_limit',
}

const ENCRYPTION = 'this writer does not encrypt; put the pool on LUKS, or send the datasets into an encrypted one on the installed system'
const VOLUMES = 'it is for volumes, which this writer does not make'
const LATER = 'this writer does not have it; set it on the installed system'

/** Properties that exist but cannot be set here, and why. */
export const UNSUPPORTED: Readonly<Record<string, string>> = {
  encryption: ENCRYPTION,
  keyformat: ENCRYPTION,
  keylocation: ENCRYPTION,
  pbkdf2iters: ENCRYPTION,
  volsize: VOLUMES,
  volblocksize: VOLUMES,
  volmode: VOLUMES,
  volthreading: VOLUMES,
  snapdev: VOLUMES,
  dedup: 'this writer does not deduplicate; set it on the installed system, for what is written there',
  longname: 'this writer has names of up to 255 bytes',
  version: 'this writer makes file systems of version 5',
  ...Object.fromEntries(
    [
      'mlslabel context fscontext defcontext rootcontext zoned_uid jailed defaultuserquota defaultgroupquota defaultprojectquota',
      'defaultuserobjquota defaultgroupobjquota defaultprojectobjquota',
    ]
      .flatMap((names) => names.split(' '))
      .map((name) => [name, LATER]),
  ),
}

/**
 * Values that OpenZFS has and this writer does not (`module/zcommon/zfs_prop.c`), with the feature that a pool needs for
 * them, by its short name, where there is one.
 */
export const OTHER_VALUES: Readonly<Record<string, Readonly<Record<string, string | undefined>>>> = {
  checksum: { fletcher2: undefined, noparity: undefined, sha512: 'sha512', skein: 'skein', edonr: 'edonr', blake3: 'blake3' },
  compression: {
    lzjb: undefined,
    ...Object.fromEntries(
      ['', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 500, 1000].map((level) => [
        `zstd-fast${level === '' ? '' : `-${level}`}`,
        'zstd_compress',
      ]),
    ),
  },
}

/** `userquota@alice` and its like. */
export const OWNER_QUOTA = /^(user|group|project)(obj)?quota@/

/** Properties that ZFS works out. */
export const COMPUTED: readonly string[] = [
  'available clones compressratio createtxg creation defer_destroy encryptionroot filesystem_count guid keystatus logicalreferenced',
  'logicalused mounted name objsetid origin receive_resume_token redact_snaps refcompressratio referenced snapshot_count',
  'snapshots_changed type used usedbychildren usedbydataset usedbyrefreservation usedbysnapshots userrefs written',
].flatMap((names) => names.split(' '))
