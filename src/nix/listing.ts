/** What the parsers of the listing formats share: a record as it was found, and the checks of its fields. */
import { ImageError } from '../errors.ts'
import { parseSha256 } from './hash.ts'
import { quote } from './store-path.ts'

/** The recognised kinds of closure listing. */
export type ListingKind =
  /** A folder as `pkgs.closureInfo` builds it. */
  | 'closure-info'
  /** Records with hashes as `nix-store --load-db` reads them, hashes with `sha256:`. */
  | 'registration'
  /** The same records from `nix-store --dump-db`: hashes in bare base 16. */
  | 'dump-db'
  /** A derivation's exportReferencesGraph file: references, no hashes. */
  | 'references-graph'
  /** One path a line, as `nix-store -qR` prints them. */
  | 'path-list'
  /** `nix path-info -r --json`, any layout. */
  | 'path-info'
  /** `.attrs.json` of a derivation with structured attributes and exportReferencesGraph. */
  | 'structured-attributes'

/** A record as found; `where` is its place in the input, for messages. */
export interface ListedPath {
  readonly baseName: string
  readonly where: string
  readonly narHash?: Uint8Array
  readonly narSize?: number
  /** Base names, in the order found; undefined where the format has none. */
  readonly references?: readonly string[]
  /** Full path of the derivation. */
  readonly deriver?: string
  /** Content address as Nix registers it, such as `text:sha256:<nix32>` or `fixed:r:sha256:<nix32>`; undefined where the format has none. */
  readonly ca?: string
}

export interface Listing {
  readonly kind: ListingKind
  readonly paths: readonly ListedPath[]
}

export function badInput(where: string, what: string): ImageError {
  return new ImageError('BAD_INPUT', `${where}: ${what}`, { path: where })
}

/** Bytes of the smallest NAR: an empty directory. */
const SMALLEST_NAR = 96

export function checkNarHash(text: string, where: string): Uint8Array {
  const parsed = parseSha256(text)
  if ('reason' in parsed) throw badInput(where, parsed.reason)
  return parsed.digest
}

export function checkNarSize(size: number, where: string): number {
  if (!Number.isSafeInteger(size) || size < SMALLEST_NAR || size % 8 !== 0) {
    throw badInput(where, `${size} cannot be the size of a NAR; it is a multiple of 8, at least ${SMALLEST_NAR}, and below 2^53`)
  }
  return size
}

/** A whole number in decimal digits without sign, blanks or leading zeros. */
export function parseDecimal(text: string, what: string, where: string): number {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text)) throw badInput(where, `${what} is ${quote(text)}, not a whole number below 2^53 in decimal`)
  return Number(text)
}
