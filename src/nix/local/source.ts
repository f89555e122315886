/** What the ways to the local Nix have in common: what is known of a store path. */

/** A store path as Nix has it registered. */
export interface RegisteredPath {
  /** Full path. */
  readonly path: string
  /** In any of Nix' spellings; all zeros or empty where Nix does not know it. */
  readonly narHash: string
  /** Bytes; 0 where Nix does not know it. */
  readonly narSize: number
  /** Full paths, in any order. */
  readonly references: readonly string[]
  /** Full path of the derivation. */
  readonly deriver: string | undefined
  readonly ca: string | undefined
}

/** Asks for full store paths, all at once; undefined for those that are not valid. */
export type PathQuery = (paths: readonly string[]) => Promise<readonly (RegisteredPath | undefined)[]>

/** Why a way to the local Nix is none, so that the next one is tried. */
export class NoWayError extends Error {
  /** There is nothing, as opposed to something that does not work. */
  readonly isAbsent: boolean

  constructor(message: string, options: { readonly isAbsent?: boolean; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause })
    this.name = 'NoWayError'
    this.isAbsent = options.isAbsent ?? false
  }
}

/** Bytes of the longest text that is believed: signatures of a path are the longest. */
export const TEXT_LIMIT = 1 << 20

/** References of one path; the largest have some thousand. */
export const REFERENCES_LIMIT = 1_000_000

/** Paths of a closure. */
export const PATHS_LIMIT = 1_000_000
