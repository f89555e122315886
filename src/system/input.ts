/** What a closure is opened from. */
import type { ProgressListener } from '../io/progress.ts'
import type { CacheHttp } from '../nix/cache/http.ts'
import type { Closure } from '../nix/listing/closure.ts'
import type { NixEnvironment } from '../nix/local/place.ts'
import type { Replacement } from '../nix/rewrite/replace.ts'
import type { ContentAddressChoice } from '../nix/store/address-scheme.ts'
import type { NarFile } from '../nix/store/nar-file.ts'

/** A closure, and where its files are: what `openSource` makes of whatever was given. */
export interface OpenedSource {
  /** As `readClosure` gives it: sorted, without cycles, complete. */
  readonly closure: Closure
  /** Files of paths that are in no NAR are read from `<root>/nix/store`. */
  readonly root: string
  /** By base name. */
  readonly nars: ReadonlyMap<string, NarFile>
  /** Full store paths that were asked for, in the order given; empty for a listing. The first is the system. */
  readonly roots: readonly string[]
  /** Files of the host that are read beside those of the store: listings, and what holds NARs. */
  readonly inputs: readonly string[]
  /** To be called when nothing of it is read any more: nothing temporary is left. */
  close(): Promise<void>
}

/** Where closures are opened by whoever closes them. */
export interface SourceScope {
  open(input: StoreInput, options?: { readonly allowMissing?: boolean }): Promise<OpenedSource>
}

export interface StoreInput {
  /** A closure listing: a folder or file as `readClosure` takes it, or `-` for `stdin`. This or `paths` is needed. */
  readonly closure?: string
  /** Store paths whose closure is meant, or links to some. The first is the system; what the others need is in the store as well. */
  readonly paths?: readonly string[]
  /**
   * Which Nix of this machine knows `paths`: a folder that holds `nix/store` and `nix/var/nix`, or `auto`, `daemon`, `local`,
   * `unix://SOCKET`. Default: what `environment` says, else its daemon, else its database.
   */
  readonly store?: string
  /** Variables that Nix heeds, such as those of the process; default none. */
  readonly environment?: NixEnvironment
  /** URLs of binary caches (`http:`, `https:`, `file:`), from which the closure of `paths` is fetched. */
  readonly from?: readonly string[]
  /** Keys whose signatures are trusted, as `name:base64`; default that of cache.nixos.org. Only with `from`. */
  readonly trustedPublicKeys?: readonly string[]
  /** Default true; false only where all caches are of `file:`. Only with `from`. */
  readonly checkSignatures?: boolean
  /** Names of hosts to which the caches may redirect; default those of the caches alone. Only with `from`. */
  readonly redirectHosts?: readonly string[]
  /** Where NARs are kept that were fetched; needed with `from`, and only with it. */
  readonly narCache?: string
  /** Bytes that are left there at most, of what was not used within a day; default 16 GiB. Only with `from`. */
  readonly narCacheSize?: number
  /** Proxies, passwords, and how often and long is tried. Only with `from`. */
  readonly http?: CacheHttp
  /** Files are read from `<root>/nix/store`; default `/`, or the folder of `store`. */
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
  /** Opens the closure, and closes it later. Default: it is closed with what is made of it. */
  readonly sources?: SourceScope
  readonly stdin?: AsyncIterable<Uint8Array>
  readonly signal?: AbortSignal
  readonly onProgress?: ProgressListener
}
