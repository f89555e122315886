/**
 * Derivers and content addresses, which some kinds of listing have and others have not. Images of one closure are to be the
 * same whatever it was listed by, so they are left out unless they are asked for.
 */
import { quote } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { isContentAddress } from '../store/hash.ts'
import type { Closure } from './closure.ts'
import type { ListingKind } from './listing.ts'

/** The closure with what every kind of listing has: paths, hashes, sizes and references. */
export function withoutProvenance(closure: Closure): Closure {
  const paths = closure.paths.map(({ deriver: _deriver, ca: _ca, ...path }) => path)
  return { ...closure, paths }
}

/** The kinds that have both. */
const WITH_PROVENANCE: readonly ListingKind[] = ['path-info', 'nix-daemon', 'nix-database', 'binary-cache']

/**
 * Throws USAGE for a listing of a kind that has not both, and UNSUPPORTED for a content address that Nix would not read where it
 * is registered; `name` is the listing.
 */
export function requireProvenance({ kind, paths }: Closure, name: string): void {
  if (WITH_PROVENANCE.includes(kind)) {
    for (const { path, ca } of paths) if (ca !== undefined && !isContentAddress(ca)) throw unknownAddress(path, ca, name)
    return
  }
  throw new ImageError(
    'USAGE',
    (option) =>
      `${name}: derivers and content addresses are to be kept, and this listing (${kind}) has not both; give that of nix path-info --json, ` +
      `or leave ${option('provenance')} out`,
    { path: name },
  )
}

function unknownAddress(path: string, ca: string, name: string): ImageError {
  return new ImageError(
    'UNSUPPORTED',
    (option) =>
      `${name}: the content address of ${path} is ${quote(ca)}, of a kind that is not known (text:, fixed:, fixed:r: and fixed:git: are, with ` +
      `md5, sha1, sha256, sha512 and blake3), and a Nix database with it cannot be read; leave ${option('provenance')} out`,
    { path },
  )
}
