/**
 * Derivers and content addresses, which some kinds of listing have and others have not. Images of one closure are to be the
 * same whatever it was listed by, so they are left out unless they are asked for.
 */
import { ImageError } from '../../errors.ts'
import type { Closure } from './closure.ts'

/** The closure with what every kind of listing has: paths, hashes, sizes and references. */
export function withoutProvenance(closure: Closure): Closure {
  const paths = closure.paths.map(({ deriver: _deriver, ca: _ca, ...path }) => path)
  return { ...closure, paths }
}

/** Throws USAGE for a listing of a kind that has not both; `name` is the listing. */
export function requireProvenance({ kind }: Closure, name: string): void {
  if (kind === 'path-info') return
  throw new ImageError(
    'USAGE',
    (option) =>
      `${name}: derivers and content addresses are to be kept, and this listing (${kind}) has not both; give that of nix path-info --json, ` +
      `or leave ${option('provenance')} out`,
    { path: name },
  )
}
