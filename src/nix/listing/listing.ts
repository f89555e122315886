/** What the parsers of the listing formats share: a record as it was found, and the checks of its fields. */

import { quote } from '../../bytes/text.ts'
import { badInput } from '../../errors.ts'
import { parseSha256 } from '../store/hash.ts'

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
  /** No listing: what the Nix daemon of this machine answered. */
  | 'nix-daemon'
  /** No listing: what the database of the Nix of this machine has. */
  | 'nix-database'
  /** No listing: what binary caches answered. */
  | 'binary-cache'
  /** A stream of `nix-store --export`, with the files. */
  | 'export'

/** A record as found. Paths in it are indexes of `Listing.names`. */
export interface ListedPath {
  readonly name: number
  /** Its place in the input, for messages: a line, or a place in words. */
  readonly where: number | string
  readonly narHash?: Uint8Array
  readonly narSize?: number
  /** In the order found; undefined where the format has none. */
  readonly references?: readonly number[]
  /** Full path of the derivation. */
  readonly deriver?: string
  /** Content address as Nix registers it, such as `text:sha256:<nix32>` or `fixed:r:sha256:<nix32>`; undefined where the format has none. */
  readonly ca?: string
}

export interface Listing {
  readonly kind: ListingKind
  /** Base names of all paths that are listed or referred to, each once. */
  readonly names: readonly string[]
  readonly paths: readonly ListedPath[]
}

/** Names as numbers: each is kept once, however often a listing has it. */
export class NameTable {
  readonly #indexes = new Map<string, number>()
  readonly names: string[] = []

  indexOf(baseName: string): number {
    const known = this.#indexes.get(baseName)
    if (known !== undefined) return known
    this.#indexes.set(baseName, this.names.length)
    return this.names.push(baseName) - 1
  }
}

/** Bytes of the smallest NAR: an empty directory. */
const SMALLEST_NAR = 96

/** A place for messages, or how to say it: listings are long, and few of their places are ever named. */
export type Where = string | (() => string)

export function checkNarHash(text: string, where: Where): Uint8Array {
  const parsed = parseSha256(text)
  if ('reason' in parsed) throw badInput(placeOf(where), parsed.reason)
  return parsed.digest
}

/** What Nix prints of a path that was registered without hash and size: a hash of zeros, and size 0. */
export function isUnregistered(narHash: Uint8Array, narSize: number): boolean {
  return narSize === 0 && narHash.every((byte) => byte === 0)
}

/** What binary caches, and tools that read them, have in place of a deriver that is not known (`libstore/nar-info.cc`). */
const UNKNOWN_DERIVER = 'unknown-deriver'

export function isDeriver(text: string): boolean {
  return text !== '' && text !== UNKNOWN_DERIVER
}

export function checkNarSize(size: number, where: Where): number {
  if (!Number.isSafeInteger(size) || size < SMALLEST_NAR || size % 8 !== 0) {
    throw badInput(placeOf(where), `${size} cannot be the size of a NAR; it is a multiple of 8, at least ${SMALLEST_NAR}, and below 2^53`)
  }
  return size
}

/** A whole number in decimal digits without sign, blanks or leading zeros. */
export function parseDecimal(text: string, what: string, where: Where): number {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text))
    throw badInput(placeOf(where), `${what} is ${quote(text)}, not a whole number below 2^53 in decimal`)
  return Number(text)
}

function placeOf(where: Where): string {
  return typeof where === 'string' ? where : where()
}
