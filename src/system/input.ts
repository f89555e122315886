/** What a closure is opened from. */
import type { ProgressListener } from '../io/progress.ts'
import type { Replacement } from '../nix/rewrite/replace.ts'
import type { ContentAddressChoice } from '../nix/store/address-scheme.ts'

export interface StoreInput {
  /** A closure listing: a folder or file as `readClosure` takes it, or `-` for `stdin`. */
  readonly closure: string
  /** Files are read from `<root>/nix/store`; default `/`. */
  readonly root?: string
  /** Compare the NAR hash of every path with the listing while its bytes pass; default true. */
  readonly verify?: boolean
  /** The store was written by Nix on macOS: undo its case hack. */
  readonly caseHack?: boolean
  /** A file with the spec of a toplevel, which is assembled from the closure and takes its place with all that it refers to. */
  readonly toplevelSpec?: string
  /** Listed paths that take the place of others, see `replaceDependencies`. */
  readonly replacements?: readonly Replacement[]
  /**
   * What is said of replacements that change nothing and of names that are left over, of what boot.json asks for in vain, and of
   * images that nothing starts, is an error. Default false.
   */
  readonly strict?: boolean
  /** Full paths that are left as they are. Default: the initrds of the systems in the closure, whose content is compressed. */
  readonly cutoffs?: readonly string[]
  /**
   * How store paths that are made here and refer to themselves are hashed; default `auto`: as the newest Nix does that is in the
   * closure they are for, else `positions`. Only with `toplevelSpec` or `replacements`.
   */
  readonly contentAddressScheme?: ContentAddressChoice
  /**
   * Keep the derivers and content addresses of the listing, which has to be that of `nix path-info --json`. Default: they are
   * left out, so that every kind of listing gives the same image; what is made on the way has its content address all the same.
   */
  readonly provenance?: boolean
  /** Threads that look through a large store, 1 to 256; default one a core. */
  readonly jobs?: number
  readonly stdin?: AsyncIterable<Uint8Array>
  readonly signal?: AbortSignal
  readonly onProgress?: ProgressListener
}
