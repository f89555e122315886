/** A closure: store paths with what is known of each. */
import { compareNames } from '../store/store-path.ts'
import type { ListingKind } from './listing.ts'

export interface ClosurePath {
  /** `/nix/store/<base name>` */
  readonly path: string
  readonly baseName: string
  /** SHA-256 of the NAR, 32 bytes. */
  readonly narHash?: Uint8Array
  /** Bytes of the NAR. */
  readonly narSize?: number
  /** Full paths, sorted, with the path itself where it refers to itself; empty where references are not known. */
  readonly references: readonly string[]
  /** Full path of the derivation. */
  readonly deriver?: string
  /** Content address as Nix registers it, such as `text:sha256:<nix32>` or `fixed:r:sha256:<nix32>`; undefined where the listing has none. */
  readonly ca?: string
}

export interface Closure {
  readonly kind: ListingKind
  /** Sorted by base name. */
  readonly paths: readonly ClosurePath[]
  /** Every path has `narHash` and `narSize`. */
  readonly hashesKnown: boolean
  readonly referencesKnown: boolean
}

/** The path of that base name, or undefined if it is not listed. */
export function listedPath(closure: Closure, baseName: string): ClosurePath | undefined {
  const index = listedIndex(closure, baseName)
  return index === undefined ? undefined : closure.paths[index]
}

/** The index of that base name in `closure.paths`, or undefined if it is not listed. */
export function listedIndex(closure: Closure, baseName: string): number | undefined {
  let low = 0
  let high = closure.paths.length
  while (low < high) {
    const middle = (low + high) >> 1
    const entry = closure.paths[middle]
    if (entry === undefined) return undefined
    if (entry.baseName === baseName) return middle
    if (compareNames(entry.baseName, baseName) < 0) low = middle + 1
    else high = middle
  }
  return undefined
}
