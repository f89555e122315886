/**
 * A closure: the store paths of an image, as a listing gives them. The kind of listing is recognised, not
 * asked. Everything a listing can get wrong is an error here, before any output.
 *
 * Not supported: `nix-store --export` streams, binary caches, stores other than /nix/store, derivations
 * whose NAR hash is not SHA-256.
 */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ImageError, systemErrorCode } from '../errors.ts'
import { findCycle } from './cycles.ts'
import { parseJson } from './json.ts'
import { LINE_LIMIT, readLines } from './lines.ts'
import { badInput, type ListedPath, type Listing, type ListingKind, parseDecimal } from './listing.ts'
import { parseJsonListing } from './listing-json.ts'
import { parseText } from './listing-text.ts'
import { compareNames, sortNames, storePath } from './store-path.ts'

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

export interface ReadClosureOptions {
  /** Keep references to paths that are not listed, for a check that names all of them; default false, and the first is NOT_FOUND. */
  readonly allowMissing?: boolean
  /** What `-` stands for. */
  readonly stdin?: AsyncIterable<Uint8Array>
}

/** No listing is larger, in bytes: 1 GiB is two million paths with their references. */
export const LISTING_LIMIT = 1024 ** 3

/** JSON is held in memory, so it has a lower limit, in bytes. */
export const JSON_LIMIT = 256 * 1024 ** 2

/**
 * Read a closure listing: a closureInfo folder, a registration, `nix-store --dump-db` output, an
 * exportReferencesGraph file, `nix path-info -r --json` of any Nix, `.attrs.json`, or a plain list of paths;
 * `-` reads one of the file forms from `options.stdin`.
 *
 * Throws BAD_INPUT (cannot be parsed, contradicts itself, lists a path twice, has a cycle), NOT_FOUND (the
 * file, or a reference that is not listed), LIMIT, UNREADABLE, UNSUPPORTED (another store directory).
 */
export async function readClosure(path: string, options: ReadClosureOptions = {}): Promise<Closure> {
  if (path === '-') {
    if (options.stdin === undefined) throw new ImageError('USAGE', `closure '-' means standard input, and none was given`)
    return closureOf(await parseListing(options.stdin, '<stdin>'), '<stdin>', options)
  }
  if (await isFolder(path)) return readClosureInfo(path, options)
  return closureOf(await readListing(path), path, options)
}

/** The files of a folder as `pkgs.closureInfo` builds it. */
export const CLOSURE_INFO_FILES = { paths: 'store-paths', registration: 'registration', size: 'total-nar-size' } as const

/** A folder as `pkgs.closureInfo` builds it; its three files have to agree. */
async function readClosureInfo(folder: string, options: ReadClosureOptions): Promise<Closure> {
  const pathsFile = join(folder, CLOSURE_INFO_FILES.paths)
  const registrationFile = join(folder, CLOSURE_INFO_FILES.registration)
  const sizeFile = join(folder, CLOSURE_INFO_FILES.size)
  const list = await readListing(pathsFile)
  const registration = await readListing(registrationFile)
  const closure = closureOf({ kind: 'closure-info', paths: registration.paths }, registrationFile, options)
  if (!closure.hashesKnown) throw badInput(registrationFile, `this is a ${registration.kind}, not the registration of a closureInfo folder`)
  const listed = new Set(list.paths.map((entry) => entry.baseName))
  if (list.kind !== 'path-list' || listed.size !== list.paths.length) throw badInput(pathsFile, 'this is not a list of distinct paths')
  const extra = closure.paths.find((entry) => !listed.delete(entry.baseName))
  if (extra !== undefined) throw badInput(pathsFile, `${extra.path} is in ${registrationFile}, but not here`)
  for (const baseName of listed) throw badInput(pathsFile, `${storePath(baseName)} is listed here, but not in ${registrationFile}`)
  const total = closure.paths.reduce((sum, entry) => sum + (entry.narSize ?? 0), 0)
  const told = await readTotal(sizeFile)
  if (told !== total) throw badInput(sizeFile, `says ${told} bytes, but the NAR sizes in ${registrationFile} add up to ${total}`)
  return closure
}

async function readTotal(file: string): Promise<number> {
  const texts: string[] = []
  for await (const line of readLines(fileChunks(file), file)) texts.push(line.text)
  return parseDecimal(texts.join('\n').trimEnd(), 'the total NAR size', file)
}

async function readListing(file: string): Promise<Listing> {
  return parseListing(fileChunks(file), file)
}

async function parseListing(chunks: AsyncIterable<Uint8Array>, name: string): Promise<Listing> {
  const iterator = bounded(chunks, LISTING_LIMIT, 'a closure listing', name)
  const head: Uint8Array[] = []
  let first: number | undefined
  // Leading blanks say nothing; more of them than a line may hold are left to the parser to refuse.
  for (let length = 0; first === undefined && length <= LINE_LIMIT; length += head.at(-1)?.length ?? 0) {
    const step = await iterator.next()
    if (step.done === true) break
    head.push(step.value)
    first = step.value.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d)
  }
  const all = chain(head, iterator)
  if (first === 0x7b || first === 0x5b) return parseJsonListing(parseJson(await collect(all, name), name), name)
  return parseText(readLines(all, name), name)
}

/** Check the records against each other and put them in order. */
function closureOf(listing: Listing, name: string, { allowMissing = false }: ReadClosureOptions): Closure {
  if (listing.paths.length === 0) throw badInput(name, 'the listing is empty: it names no store path')
  const byName = new Map<string, ListedPath>()
  for (const listed of listing.paths) {
    const earlier = byName.get(listed.baseName)
    if (earlier !== undefined) throw badInput(listed.where, `${storePath(listed.baseName)} is listed twice, first at ${earlier.where}`)
    byName.set(listed.baseName, listed)
  }
  for (const listed of listing.paths) {
    const own = new Set<string>()
    for (const reference of listed.references ?? []) {
      if (own.has(reference))
        throw badInput(listed.where, `${storePath(listed.baseName)} lists the reference ${storePath(reference)} twice`)
      own.add(reference)
      if (!allowMissing && !byName.has(reference)) {
        throw new ImageError(
          'NOT_FOUND',
          `${listed.where}: ${storePath(listed.baseName)} refers to ${storePath(reference)}, which is not in the listing; list the whole closure (nix-store -qR, nix path-info -r)`,
          { path: storePath(reference) },
        )
      }
    }
  }
  const paths = [...byName.values()]
    .sort((a, b) => compareNames(a.baseName, b.baseName))
    .map(({ baseName, narHash, narSize, references, deriver, ca }) => ({
      path: storePath(baseName),
      baseName,
      ...(narHash === undefined ? {} : { narHash }),
      ...(narSize === undefined ? {} : { narSize }),
      references: sortNames(references ?? []).map(storePath),
      ...(deriver === undefined ? {} : { deriver }),
      ...(ca === undefined ? {} : { ca }),
    }))
  checkAcyclic(paths, name)
  const every = (known: (entry: ListedPath) => boolean): boolean => listing.paths.every(known)
  return {
    kind: listing.kind,
    paths,
    hashesKnown: every((entry) => entry.narHash !== undefined),
    referencesKnown: every((entry) => entry.references !== undefined),
  }
}

/** The path of that base name, or undefined if it is not listed. */
export function listedPath(closure: Closure, baseName: string): ClosurePath | undefined {
  let low = 0
  let high = closure.paths.length
  while (low < high) {
    const middle = (low + high) >> 1
    const entry = closure.paths[middle]
    if (entry === undefined || entry.baseName === baseName) return entry
    if (compareNames(entry.baseName, baseName) < 0) low = middle + 1
    else high = middle
  }
  return undefined
}

/** Throws BAD_INPUT naming a cycle other than a path that refers to itself: Nix 2.8 and 2.26 refuse to register one. */
export function checkAcyclic(paths: readonly ClosurePath[], name: string): void {
  const cycle = findCycle(new Map(paths.map((entry) => [entry.path, entry.references])))
  if (cycle !== undefined) throw badInput(name, `the references form a cycle: ${[...cycle, cycle[0]].join(' -> ')}`)
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    throw readError(error, path)
  }
}

async function* fileChunks(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path, { highWaterMark: 256 * 1024 })
  } catch (error) {
    throw error instanceof ImageError ? error : readError(error, path)
  }
}

function readError(error: unknown, path: string): ImageError {
  const code = systemErrorCode(error)
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    const remedy = /(store-paths|registration|total-nar-size)$/.test(path)
      ? '; a closureInfo folder holds store-paths, registration and total-nar-size'
      : ''
    return new ImageError('NOT_FOUND', `${path}: no such file${remedy}`, { path, cause: error })
  }
  return new ImageError('UNREADABLE', `${path}: the listing cannot be read (${code ?? String(error)})`, { path, cause: error })
}

async function* bounded(chunks: AsyncIterable<Uint8Array>, limit: number, what: string, name: string): AsyncGenerator<Uint8Array> {
  let total = 0
  for await (const chunk of chunks) {
    total += chunk.length
    if (total > limit) throw new ImageError('LIMIT', `${name}: larger than ${limit} bytes, the limit for ${what}`, { path: name })
    yield chunk
  }
}

async function* chain(head: readonly Uint8Array[], rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* head
    yield* rest
  } finally {
    await rest.return(undefined)
  }
}

async function collect(chunks: AsyncIterable<Uint8Array>, name: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const chunk of bounded(chunks, JSON_LIMIT, 'a JSON listing', name)) parts.push(chunk)
  return Buffer.concat(parts)
}
