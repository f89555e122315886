/** The rows by which commands are given a closure. */
import { row } from './row.ts'
import { flag, path, size, text } from './values.ts'

/** Store paths whose closure is meant. */
export const PATHS = row({
  type: path('PATH'),
  group: 'Input',
  flag: 'path',
  repeatable: true,
  positional: true,
  about:
    'Store path whose closure is meant, or a link to one, such as ./result; of several the first is the system, and the closures of all are in the store',
})

/** The listing of the closure. */
export const LISTING = row({
  type: path('CLOSURE'),
  group: 'Input',
  about:
    'The listing of store paths: a closureInfo folder, a registration file, nix path-info -r --json, an exportReferencesGraph file, nix-store --dump-db, .attrs.json, or a list of paths; or a stream of nix-store --export, which holds the files as well; the kind is recognised, - reads it from standard input',
})

export const ROOT = row({ type: path('DIR'), group: 'Input', default: '/', about: 'Where the store is: files are read from DIR/nix/store' })

/** Which Nix knows the paths. */
export const STORE = row({
  type: text('STORE'),
  group: 'Input',
  defaultText: 'NIX_REMOTE, else the Nix daemon, else the Nix database of this machine',
  about: 'Where PATHs are looked up: DIR for a store in DIR/nix (a chroot store), auto, daemon, local, or unix://SOCKET',
})

/** Of binary caches. */
export const CACHES = {
  from: row({
    type: text('URL'),
    group: 'Input',
    repeatable: true,
    about:
      'Binary cache from which the closure of PATH is fetched, by http:, https: or file:; of several those with lower numbers of priority are asked first',
  }),
  trustedPublicKeys: row({
    type: text('KEY'),
    group: 'Input',
    flag: 'trusted-public-key',
    repeatable: true,
    defaultText: 'that of cache.nixos.org, and those of nix.conf',
    about: 'Key as name:base64 whose signatures are trusted',
  }),
  checkSignatures: row({
    type: flag(),
    group: 'Input',
    flag: 'check-sigs',
    default: true,
    about: 'Take only store paths that are signed by a trusted key or addressed by their content',
    aboutNegated: 'Take store paths from file: caches whoever signed them',
  }),
  redirectHosts: row({
    type: text('HOST'),
    group: 'Input',
    flag: 'redirect-host',
    repeatable: true,
    defaultText: 'the hosts of the caches alone',
    about: 'Host to which a binary cache may redirect',
  }),
  narCache: row({
    type: path('DIR'),
    group: 'Input',
    defaultText: "kilnix/nars in the user's folder of caches",
    about: 'Folder in which fetched NARs are kept, uncompressed',
  }),
  narCacheSize: row({
    type: size(0, 2 ** 50),
    group: 'Input',
    defaultText: '16G',
    about: 'Bytes that are left in that folder at most, of what was not used within a day',
  }),
} as const

/** Where a closure comes from. */
export const SOURCE = { paths: PATHS, closure: row({ ...LISTING, insteadOf: 'paths' }), store: STORE, ...CACHES, root: ROOT } as const

/** The closure of a command that makes nothing of it: a listing or a store path, given without a name. */
export const EITHER = row({
  ...LISTING,
  about: `${LISTING.about}; or a store path, or a link to one, such as ./result, whose closure is meant`,
})

/** Where store paths are looked up. */
export const PLACES = { store: STORE, ...CACHES } as const

/** Of commands that make nothing of a closure. */
export const LOOKED_UP = { ...PLACES, root: ROOT } as const
