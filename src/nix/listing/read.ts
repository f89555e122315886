/**
 * A closure: the store paths of an image, as a listing gives them. The kind of listing is recognised, not
 * asked. Everything a listing can get wrong is an error here, before any output.
 *
 * Not supported: stores other than /nix/store, derivations whose NAR hash is not SHA-256.
 */

import { createReadStream } from 'node:fs'
import { lstat, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { badInput, ImageError, systemErrorCode } from '../../errors.ts'
import { sortedInTurns, Turns } from '../../io/turns.ts'
import { readJson, tooLarge } from '../../json/parse.ts'
import { compareNames, hashPartKey, STORE_DIRECTORY, sortNames, storePath } from '../store/store-path.ts'
import type { Closure, ClosurePath } from './closure.ts'
import { checkAcyclic } from './cycles.ts'
import { EdgeList, type Edges, NO_PATH, rememberEdges } from './graph.ts'
import { LINE_LIMIT, readLines } from './lines.ts'
import { type ListedPath, type Listing, parseDecimal } from './listing.ts'
import { parseJsonListing } from './listing-json.ts'
import { TextListingReader } from './listing-text.ts'

export interface ReadClosureOptions {
  /** Keep references to paths that are not listed, for a check that names all of them; default false, and the first is NOT_FOUND. */
  readonly allowMissing?: boolean
  /** What `-` stands for. */
  readonly stdin?: AsyncIterable<Uint8Array>
  readonly signal?: AbortSignal | undefined
}

/**
 * No listing is larger, in bytes: 1 GiB is a million paths and more, with references and signatures as JSON has them. A store has
 * some ten thousand, and the largest closures some thousand.
 */
export const LISTING_LIMIT = 1024 ** 3

/** The file with the sum of sizes holds one number; bytes. */
const TOTAL_LIMIT = 1024

/**
 * Read a closure listing: a closureInfo folder, a registration, `nix-store --dump-db` output, an
 * exportReferencesGraph file, `nix path-info -r --json` of any Nix, `.attrs.json`, or a plain list of paths;
 * `-` reads one of the file forms from `options.stdin`.
 *
 * Throws BAD_INPUT (cannot be parsed, contradicts itself, lists a path twice, has a cycle), NOT_FOUND (the
 * file, or a reference that is not listed), LIMIT, UNREADABLE, UNSUPPORTED (another store directory), ABORTED. Lets
 * the event loop run while it reads and checks.
 */
export async function readClosure(path: string, options: ReadClosureOptions = {}): Promise<Closure> {
  const reading: Reading = { ...options, turns: new Turns(options.signal, 'cancelled while the listing was read') }
  if (path === '-') {
    if (options.stdin === undefined) throw new ImageError('USAGE', `closure '-' means standard input, and none was given`)
    return closureOf(await parseListing(options.stdin, '<stdin>', reading), '<stdin>', reading)
  }
  if (await isFolder(path)) return readClosureInfo(path, reading)
  return closureOf(await readListing(path, reading), path, reading)
}

/**
 * The closure of records that are read already; `name` names what they were read from. Throws what `readClosure` throws of
 * records that contradict each other.
 */
export function listedClosure(listing: Listing, name: string, options: Omit<ReadClosureOptions, 'stdin'> = {}): Promise<Closure> {
  return closureOf(listing, name, { ...options, turns: new Turns(options.signal, 'cancelled while the listing was read') })
}

interface Reading extends ReadClosureOptions {
  readonly turns: Turns
}

/** The files of a folder as `pkgs.closureInfo` builds it. */
export const CLOSURE_INFO_FILES = { paths: 'store-paths', registration: 'registration', size: 'total-nar-size' } as const

/** A folder as `pkgs.closureInfo` builds it; its three files have to agree. */
async function readClosureInfo(folder: string, reading: Reading): Promise<Closure> {
  const pathsFile = join(folder, CLOSURE_INFO_FILES.paths)
  const registrationFile = join(folder, CLOSURE_INFO_FILES.registration)
  await checkFolder(folder)
  const sizeFile = join(folder, CLOSURE_INFO_FILES.size)
  const list = await readListing(pathsFile, reading)
  const registration = await readListing(registrationFile, reading)
  const closure = await closureOf({ ...registration, kind: 'closure-info' }, registrationFile, reading)
  if (registration.kind === 'path-list' || registration.kind === 'references-graph')
    throw badInput(registrationFile, `this is a ${registration.kind}, not the registration of a closureInfo folder`)
  const listed = new Set(list.paths.map((entry) => list.names[entry.name] as string))
  if (list.kind !== 'path-list' || listed.size !== list.paths.length) throw badInput(pathsFile, 'this is not a list of distinct paths')
  const extra = closure.paths.find((entry) => !listed.delete(entry.baseName))
  if (extra !== undefined) throw badInput(pathsFile, `${extra.path} is in ${registrationFile}, but not here`)
  for (const baseName of listed) throw badInput(pathsFile, `${storePath(baseName)} is listed here, but not in ${registrationFile}`)
  const total = closure.paths.reduce((sum, entry) => sum + (entry.narSize ?? 0), 0)
  const stated = await readTotal(sizeFile, reading)
  if (stated !== total) throw badInput(sizeFile, `says ${stated} bytes, but the NAR sizes in ${registrationFile} add up to ${total}`)
  return closure
}

/** Folders that are given for a closureInfo folder: by what they hold, and what to give instead. */
const OTHER_FOLDERS: readonly (readonly [member: string, advice: (folder: string) => string])[] = [
  [join('closure-info', CLOSURE_INFO_FILES.paths), (folder) => `its listing is ${join(folder, 'closure-info')}`],
  [
    'nix-cache-info',
    (folder) => `it is a binary cache; list the closure of a path in it (nix path-info -r --json --store file://${folder} PATH)`,
  ],
  [
    'init',
    (folder) => `it is a system; list its closure (nix path-info -r --json ${folder} > closure.json), or give that of its closureInfo`,
  ],
  ['nix/store', () => 'it is the root of a store, which is named beside the listing of a closure in it'],
]

/** Throws NOT_FOUND for a folder without a list of paths of which can be seen what it is. */
async function checkFolder(folder: string): Promise<void> {
  if (await isThere(join(folder, CLOSURE_INFO_FILES.paths))) return
  const found: string[] = []
  for (const [member, advice] of OTHER_FOLDERS) if (await isThere(join(folder, member))) found.push(advice(folder))
  const isStorePath = resolve(folder).startsWith(`${STORE_DIRECTORY}/`)
  if (isStorePath) found.push(`it is a store path; list its closure (nix path-info -r --json ${folder} > closure.json)`)
  if (found[0] !== undefined)
    throw new ImageError('NOT_FOUND', `${folder}: this folder is no listing of a closure: ${found[0]}`, { path: folder })
}

async function isThere(path: string): Promise<boolean> {
  try {
    // A link of a system may lead into a store that is not here.
    await lstat(path)
    return true
  } catch {
    return false
  }
}

async function readTotal(file: string, { turns }: Reading): Promise<number> {
  const texts: string[] = []
  await readLines(bounded(fileChunks(file), TOTAL_LIMIT, 'a sum of sizes', file), file, (text) => texts.push(text), turns)
  return parseDecimal(texts.join('\n').trimEnd(), 'the total NAR size', file)
}

async function readListing(file: string, reading: Reading): Promise<Listing> {
  return parseListing(fileChunks(file), file, reading)
}

async function parseListing(chunks: AsyncIterable<Uint8Array>, name: string, { turns }: Reading): Promise<Listing> {
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
  if (first === 0x7b || first === 0x5b) return parseJsonListing(await readJson(all, name, () => turns.next()), name, turns)
  const reader = new TextListingReader(name)
  await readLines(all, name, (line) => reader.add(line), turns)
  return reader.finish()
}

/** Check the records against each other and put them in order; `name` is where they come from. Throws as `readClosure` does. */
async function closureOf(listing: Listing, name: string, reading: Reading): Promise<Closure> {
  if (listing.paths.length === 0) throw badInput(name, 'the listing is empty: it names no store path')
  await checkDistinct(listing, name, reading)
  const records = await inOrder(listing, reading.turns)
  const { paths, edges } = await linkedPaths(records, listing, name, reading)
  await checkAcyclic(paths, name, reading.turns, edges)
  rememberEdges(paths, edges)
  const every = (known: (entry: ListedPath) => boolean): boolean => records.every(known)
  return {
    kind: listing.kind,
    paths,
    hashesKnown: every((entry) => entry.narHash !== undefined),
    referencesKnown: every((entry) => entry.references !== undefined),
  }
}

async function checkDistinct({ names, paths }: Listing, file: string, { turns }: Reading): Promise<void> {
  const seen = new Uint8Array(names.length)
  for (const listed of paths) {
    if (seen[listed.name] === 1) {
      const earlier = paths.find((one) => one.name === listed.name) ?? listed
      throw badInput(placeOf(listed, file), `${storePath(nameOf(listed, names))} is listed twice, first at ${placeOf(earlier, file)}`)
    }
    seen[listed.name] = 1
    if (turns.isOver()) await turns.next()
  }
}

/** Records by base name. */
async function inOrder({ names, paths }: Listing, turns: Turns): Promise<ListedPath[]> {
  // Numbers are compared many times as fast as texts that lie all over the memory.
  const keys = new Float64Array(names.length)
  for (const { name } of paths) {
    keys[name] = hashPartKey(names[name] as string)
    if (turns.isOver()) await turns.next()
  }
  const compare = (a: ListedPath, b: ListedPath): number =>
    (keys[a.name] as number) - (keys[b.name] as number) || compareNames(nameOf(a, names), nameOf(b, names))
  return sortedInTurns(paths, compare, turns)
}

/** The records as paths whose references are those of paths that are listed, and the graph of them. */
async function linkedPaths(
  records: readonly ListedPath[],
  { names }: Listing,
  file: string,
  { allowMissing = false, turns }: Reading,
): Promise<{ readonly paths: ClosurePath[]; readonly edges: Edges }> {
  const places = new Uint32Array(names.length).fill(NO_PATH)
  const fullPaths: string[] = []
  for (const [place, { name }] of records.entries()) {
    places[name] = place
    // The same text wherever the path is referred to, so that a reference takes no memory but its place.
    fullPaths.push(storePath(names[name] as string))
    if (turns.isOver(2)) await turns.next()
  }
  const edges = new EdgeList(records.length)
  const paths: ClosurePath[] = []
  for (const [own, record] of records.entries()) {
    const { narHash, narSize, deriver, ca, references = [] } = record
    const listed: number[] = []
    const missing: number[] = []
    for (const reference of references) {
      const place = places[reference] as number
      if (place !== NO_PATH) listed.push(place)
      else if (allowMissing) missing.push(reference)
      else throw missingReference(record, names[reference] as string, names, file)
    }
    // By place is by name.
    const sorted = inNumericOrder(listed)
    const twice =
      repeated(sorted, (place) => fullPaths[place] as string) ?? repeated(inNumericOrder(missing), (name) => fullName(names, name))
    if (twice !== undefined) throw badInput(placeOf(record, file), `${fullPaths[own]} lists the reference ${twice} twice`)
    edges.add(own, sorted)
    const full = sorted.map((place) => fullPaths[place] as string)
    const path: { -readonly [K in keyof ClosurePath]: ClosurePath[K] } = {
      path: fullPaths[own] as string,
      baseName: nameOf(record, names),
      references: missing.length === 0 ? full : sortNames([...full, ...missing.map((name) => fullName(names, name))]),
    }
    if (narHash !== undefined) path.narHash = narHash
    if (narSize !== undefined) path.narSize = narSize
    if (deriver !== undefined) path.deriver = deriver
    if (ca !== undefined) path.ca = ca
    paths.push(path)
    if (turns.isOver(4 + 8 * references.length)) await turns.next()
  }
  return { paths, edges: edges.edges() }
}

/** Few of them sort faster as they are. */
const MANY_NUMBERS = 64

function inNumericOrder(numbers: number[]): number[] {
  return numbers.length < MANY_NUMBERS ? numbers.sort((a, b) => a - b) : Array.from(Uint32Array.from(numbers).sort())
}

function repeated(sorted: readonly number[], textOf: (number: number) => string): string | undefined {
  for (let index = 1; index < sorted.length; index++) if (sorted[index] === sorted[index - 1]) return textOf(sorted[index] as number)
  return undefined
}

function fullName(names: readonly string[], name: number): string {
  return storePath(names[name] as string)
}

function nameOf({ name }: ListedPath, names: readonly string[]): string {
  return names[name] as string
}

function placeOf({ where }: ListedPath, file: string): string {
  return typeof where === 'number' ? `${file}:${where}` : where
}

function missingReference(record: ListedPath, reference: string, names: readonly string[], file: string): ImageError {
  return new ImageError(
    'NOT_FOUND',
    `${placeOf(record, file)}: ${storePath(nameOf(record, names))} refers to ${storePath(reference)}, which is not in the listing; list the whole closure (nix-store -qR, nix path-info -r)`,
    { path: storePath(reference) },
  )
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
    if (total > limit) throw tooLarge(name, limit, what)
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
