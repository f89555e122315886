/**
 * The closure of store paths from the Nix of this machine: its daemon is asked, else its database is read. Nothing is written and
 * nothing is locked, and no program of Nix is run.
 *
 * Not supported: stores other than /nix/store, and stores of other machines.
 */
import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { printableText } from '../../bytes/text.ts'
import { ImageError, type Wording } from '../../errors.ts'
import { Turns } from '../../io/turns.ts'
import type { Closure } from '../listing/closure.ts'
import {
  checkNarHash,
  checkNarSize,
  isDeriver,
  isUnregistered,
  type ListedPath,
  type Listing,
  type ListingKind,
  NameTable,
} from '../listing/listing.ts'
import { listedClosure } from '../listing/read.ts'
import { hostStorePath } from '../store/listed-tree.ts'
import { baseNameOf, parseStorePath, storePath } from '../store/store-path.ts'
import { withDaemon } from './daemon.ts'
import { DATABASE_FILE, withDatabase } from './database.ts'
import { followToStore } from './follow.ts'
import { type NixEnvironment, type NixWay, nixWays } from './place.ts'
import { NoWayError, PATHS_LIMIT, type PathQuery, type RegisteredPath } from './source.ts'

export interface LocalClosureOptions {
  /**
   * Which Nix: a folder that holds `nix/store` and `nix/var/nix` (a chroot store), or `auto`, `daemon`, `local`, `unix://SOCKET`,
   * `local?root=DIR` as `--store` of Nix takes them. Default: what `environment` says, else `auto`.
   */
  readonly store?: string | undefined
  /** Where files lie that are not below the root of the store: the folder that holds `nix/store`. */
  readonly root?: string | undefined
  /** Variables that Nix heeds, such as those of the process. Default none. */
  readonly environment?: NixEnvironment | undefined
  /** How long the daemon may say nothing; default 60 seconds. */
  readonly timeoutMilliseconds?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** What the user should know, such as a daemon that does not answer. */
  readonly onNote?: ((message: string) => void) | undefined
}

export const LOCAL_DEFAULTS = { timeoutMilliseconds: 60_000 } as const

export interface LocalClosure {
  /** As Nix has it registered; paths whose hash it does not know have none, and are hashed from their files. */
  readonly closure: Closure
  /** The folder in which `nix/store` with their files lies. */
  readonly root: string
  /** Full store paths that were asked for, in the order given, each once. */
  readonly roots: readonly string[]
  /** Files of the host that were read: the database; nothing where the daemon was asked. */
  readonly inputs: readonly string[]
}

/**
 * The closure of `paths`: store paths, or links to one such as `./result` or `/run/current-system`.
 *
 * Throws NOT_FOUND (no Nix, a path that is not valid in its store, links that lead nowhere, files that are gone), BAD_INPUT (no store
 * path; what Nix has of a path contradicts itself), UNREADABLE (a daemon or database that does not work), UNSUPPORTED, LIMIT, USAGE,
 * ABORTED.
 */
export async function localClosure(paths: readonly string[], options: LocalClosureOptions = {}): Promise<LocalClosure> {
  if (paths.length === 0) throw new ImageError('USAGE', 'no store path was given')
  const ways = nixWays(options.store, options.environment ?? {})
  const failures: (readonly [NixWay, NoWayError])[] = []
  for (const way of ways) {
    try {
      const found = await closureBy(way, paths, options)
      noteFailures(failures, way, options)
      return found
    } catch (error) {
      if (!(error instanceof NoWayError)) throw error
      failures.push([way, error])
    }
  }
  throw noNix(failures)
}

async function closureBy(way: NixWay, paths: readonly string[], options: LocalClosureOptions): Promise<LocalClosure> {
  const { timeoutMilliseconds = LOCAL_DEFAULTS.timeoutMilliseconds, signal } = options
  const turns = new Turns(signal, 'cancelled while Nix was asked for the closure')
  const root = options.root ?? way.root
  const roots = (): string[] => [...new Set(paths.map((path) => followToStore(path, root)))]
  const name = nameOf(way)
  const listed = (kind: ListingKind, query: PathQuery): Promise<{ readonly listing: Listing; readonly roots: string[] }> =>
    listClosure(roots(), query, { kind, name, turns })
  const { listing, roots: found } = await (way.kind === 'daemon'
    ? withDaemon(way.path, (query) => listed('nix-daemon', query), { timeoutMilliseconds, signal })
    : withDatabase(way.path, turns, (query) => listed('nix-database', query)))
  const closure = await listedClosure(listing, name, { signal })
  await checkFiles(closure, root, turns)
  return { closure, root, roots: found, inputs: way.kind === 'database' ? [join(way.path, DATABASE_FILE)] : [] }
}

function nameOf({ kind, path }: NixWay): string {
  return kind === 'daemon' ? `the Nix daemon at ${printableText(path)}` : `the Nix database ${printableText(join(path, DATABASE_FILE))}`
}

interface Listed {
  readonly kind: ListingKind
  readonly name: string
  readonly turns: Turns
}

/** Breadth first, all paths of a distance at once. */
async function listClosure(
  roots: string[],
  query: PathQuery,
  { kind, name, turns }: Listed,
): Promise<{ readonly listing: Listing; readonly roots: string[] }> {
  const table = new NameTable()
  const paths: ListedPath[] = []
  const seen = new Set(roots)
  const referrers = new Map<string, string>()
  for (let level = roots; level.length > 0; ) {
    const next: string[] = []
    const answers = await query(level)
    for (const [index, path] of level.entries()) {
      const info = answers[index]
      if (info === undefined) throw notValid(path, referrers.get(path), name)
      paths.push(listedPath(info, table, name))
      for (const reference of info.references) {
        if (seen.has(reference)) continue
        seen.add(reference)
        referrers.set(reference, path)
        next.push(reference)
      }
      if (seen.size > PATHS_LIMIT) throw new NoWayError(`the closure has more than ${PATHS_LIMIT} paths, which cannot be`)
      if (turns.isOver(100 + info.references.length)) await turns.next()
    }
    level = next
  }
  return { listing: { kind, names: table.names, paths }, roots }
}

function listedPath(info: RegisteredPath, table: NameTable, name: string): ListedPath {
  const where = `${name} (${printableText(info.path)})`
  const index = (path: string): number => table.indexOf(baseNameOf(path) ?? parseStorePath(path, where))
  const known = isDeriver(info.deriver ?? '') ? info.deriver : undefined
  const record = {
    name: index(info.path),
    where,
    references: info.references.map(index),
    ...(known !== undefined && { deriver: storePath(baseNameOf(known) ?? parseStorePath(known, where)) }),
    ...(info.ca !== undefined && { ca: info.ca }),
  }
  if (info.narHash === '') return record
  const narHash = checkNarHash(info.narHash, where)
  // A hash of zeros alone, and a size of 0 alone, are of paths that were registered by a program that knew no more.
  const isUnknown = info.narSize === 0 || isUnregistered(narHash, 0)
  return isUnknown ? record : { ...record, narHash, narSize: checkNarSize(info.narSize, where) }
}

function notValid(path: string, referrer: string | undefined, name: string): ImageError {
  const who = referrer === undefined ? '' : `, to which ${referrer} refers,`
  const where = name.replace(/^the Nix (daemon|database)/, 'the store of the Nix $1')
  return new ImageError(
    'NOT_FOUND',
    (option) =>
      `${printableText(path)}${who} is not valid in ${where}: build or fetch it (nix-store --realise ${printableText(path)}), or name the store that has it as ${option('store')}`,
    { path },
  )
}

/** Missing files that a message names; the others are counted. */
const NAMED_MISSING = 10

/** Steps of a turn that a look at the host counts as. */
const LOOK_STEPS = 100

/** Throws NOT_FOUND for valid paths whose files are gone. */
async function checkFiles(closure: Closure, root: string, turns: Turns): Promise<void> {
  const missing: string[] = []
  for (const { path } of closure.paths) {
    if (lstatSync(hostStorePath(root, path), { throwIfNoEntry: false }) === undefined) missing.push(path)
    if (turns.isOver(LOOK_STEPS)) await turns.next()
  }
  const [first] = missing
  if (first === undefined) return
  const more = missing.length > NAMED_MISSING ? `\n  and ${missing.length - NAMED_MISSING} more` : ''
  throw new ImageError(
    'NOT_FOUND',
    (option) =>
      `${missing.length} of ${closure.paths.length} paths are valid for Nix, but their files are not below ${root}; repair the store (nix-store --verify --check-contents --repair), or give the folder that holds nix/store as ${option('root')}:\n  ${missing.slice(0, NAMED_MISSING).join('\n  ')}${more}`,
    { path: first },
  )
}

/** Only of what is there and does not work: a machine without a daemon is as good as one with it. */
function noteFailures(failures: readonly (readonly [NixWay, NoWayError])[], used: NixWay, { onNote }: LocalClosureOptions): void {
  for (const [way, error] of failures)
    if (!error.isAbsent) onNote?.(`${nameOf(way)} could not be asked (${error.message}); ${nameOf(used)} was read`)
}

function noNix(failures: readonly (readonly [NixWay, NoWayError])[]): ImageError {
  const tried = failures.map(([way, error]) => `${nameOf(way)} (${error.message})`).join(', ')
  const isAbsent = failures.every(([, error]) => error.isAbsent)
  const wording: Wording = (option) =>
    isAbsent
      ? `no Nix here: tried ${tried}; name a store with ${option('store')}, or give a listing of the closure with ${option('closure')}`
      : `the Nix of this machine cannot be asked: tried ${tried}; mend what is named, or give a listing of the closure with ${option('closure')}`
  const [, last] = failures.at(-1) ?? []
  return new ImageError(isAbsent ? 'NOT_FOUND' : 'UNREADABLE', wording, { cause: last })
}
