/** Where closures are fetched from, and who is trusted. */
import { row } from './row.ts'
import { flag, path, size, text } from './values.ts'

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
