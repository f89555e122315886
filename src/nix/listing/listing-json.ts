/**
 * The JSON listings: `nix path-info -r --json` in its array layout (Nix 2.4 to 2.18), map layout (2.19 on,
 * `--json-format 1`) and versioned layouts (`--json-format 2` and 3), and the `.attrs.json` of a derivation
 * with structured attributes and exportReferencesGraph.
 */

import { quote } from '../../bytes/text.ts'
import { badInput, ImageError } from '../../errors.ts'
import type { Turns } from '../../io/turns.ts'
import { isObject, type JsonObject } from '../../json/parse.ts'
import { respelledHash } from '../store/hash.ts'
import { checkBaseName, parseStorePath, STORE_DIRECTORY, storePath } from '../store/store-path.ts'
import { checkNarHash, checkNarSize, isDeriver, isUnregistered, type ListedPath, type Listing, NameTable } from './listing.ts'

const KNOWN_LAYOUTS =
  'known are the output of nix path-info -r --json (an array of objects with "path", an object keyed by store path, {"version": 2 or 3, "info": ...}) and .attrs.json with a graph of {"path", "narHash", "narSize", "references"}'

/** Recognise the layout of a parsed JSON value. `name` names the file in messages. Throws BAD_INPUT, NOT_FOUND, UNSUPPORTED, ABORTED. */
export async function parseJsonListing(value: unknown, name: string, turns: Turns): Promise<Listing> {
  const table = new NameTable()
  const { names } = table
  if (Array.isArray(value)) {
    const paths = await eachInTurns(value, (entry, index) => parseArrayEntry(entry, `${name}: [${index}]`, table), turns)
    return { kind: 'path-info', names, paths }
  }
  if (!isObject(value)) throw badInput(name, `a JSON ${value === null ? 'null' : typeof value} is no closure listing; ${KNOWN_LAYOUTS}`)
  if (isObject(value.info)) {
    checkVersion(value, name)
    const read = (key: string, entry: unknown): ListedPath => parseInfo(parseName(key, name), entry, `${name}: ${quote(key)}`, table)
    const paths = await eachMember(value.info, read, turns)
    return { kind: 'path-info', names, paths }
  }
  const keys = Object.keys(value)
  if (keys.length === 0) return { kind: 'path-info', names, paths: [] }
  if (keys.some((key) => key.startsWith('/'))) {
    const read = (key: string, entry: unknown): ListedPath => parseInfo(parseStorePath(key, name), entry, `${name}: ${quote(key)}`, table)
    const paths = await eachMember(value, read, turns, keys)
    return { kind: 'path-info', names, paths }
  }
  const graphs = findGraphs(value)
  if (graphs.length > 0) return { kind: 'structured-attributes', names, paths: await parseGraphs(graphs, name, { table, turns }) }
  throw badInput(name, `the JSON has an unknown layout (keys ${keys.slice(0, 5).map(quote).join(', ')}); ${KNOWN_LAYOUTS}`)
}

/** Steps of a turn that reading one entry counts as. */
const ENTRY_STEPS = 64

async function eachInTurns<T>(items: readonly unknown[], read: (item: unknown, index: number) => T, turns: Turns): Promise<T[]> {
  const out: T[] = []
  for (const [index, item] of items.entries()) {
    out.push(read(item, index))
    if (turns.isOver(ENTRY_STEPS)) await turns.next()
  }
  return out
}

function eachMember<T>(
  map: JsonObject,
  read: (key: string, value: unknown) => T,
  turns: Turns,
  keys: readonly string[] = Object.keys(map),
): Promise<T[]> {
  return eachInTurns(keys, (_, index) => read(keys[index] as string, map[keys[index] as string]), turns)
}

function parseArrayEntry(entry: unknown, where: string, table: NameTable): ListedPath {
  if (!isObject(entry) || typeof entry.path !== 'string') throw badInput(where, `an object with "path" is needed; ${KNOWN_LAYOUTS}`)
  return parseInfo(parseName(entry.path, where), entry, where, table)
}

function checkVersion(value: JsonObject, name: string): void {
  const version = value.version
  if (version !== 2 && version !== 3) throw badInput(name, `the path-info JSON has version ${JSON.stringify(version)}; known are 2 and 3`)
  checkStoreDirectory(value, name)
}

/** The graphs of structured attributes: each attribute that is an array of path objects, also one level down in `closures`. */
function findGraphs(attributes: JsonObject): [string, readonly unknown[]][] {
  const nested = attributes.closures
  const candidates = [...Object.entries(attributes), ...(isObject(nested) ? Object.entries(nested) : [])]
  return candidates.filter((entry): entry is [string, unknown[]] => {
    const [, graph] = entry
    return Array.isArray(graph) && graph.length > 0 && graph.every((member) => isObject(member) && 'path' in member && 'narHash' in member)
  })
}

/** Two graphs of one derivation may share paths; they then say the same of them. */
async function parseGraphs(
  graphs: readonly [string, readonly unknown[]][],
  name: string,
  { table, turns }: { readonly table: NameTable; readonly turns: Turns },
): Promise<ListedPath[]> {
  const byName = new Map<number, ListedPath>()
  const paths: ListedPath[] = []
  for (const [key, graph] of graphs) {
    const own = new Set<number>()
    for (const [index, entry] of graph.entries()) {
      if (turns.isOver(ENTRY_STEPS)) await turns.next()
      const listed = parseArrayEntry(entry, `${name}: ${key}[${index}]`, table)
      const earlier = byName.get(listed.name)
      if (earlier !== undefined && !own.has(listed.name)) {
        if (!sameRecord(earlier, listed))
          throw badInput(String(listed.where), `contradicts ${earlier.where} on ${storePath(table.names[listed.name] ?? '')}`)
        own.add(listed.name)
        continue
      }
      own.add(listed.name)
      byName.set(listed.name, listed)
      paths.push(listed)
    }
  }
  return paths
}

function sameRecord(a: ListedPath, b: ListedPath): boolean {
  return (
    a.narSize === b.narSize &&
    Buffer.compare(a.narHash ?? Buffer.alloc(0), b.narHash ?? Buffer.alloc(0)) === 0 &&
    sameNumbers(a.references ?? [], b.references ?? [])
  )
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  const [first, second] = [a, b].map((list) => Uint32Array.from(list).sort())
  return first?.join() === second?.join()
}

function parseInfo(baseName: string, entry: unknown, where: string, table: NameTable): ListedPath {
  if (isInvalid(entry)) {
    throw new ImageError('NOT_FOUND', `${where}: Nix says that ${storePath(baseName)} is not valid: the store it listed does not have it`, {
      path: storePath(baseName),
    })
  }
  if (!isObject(entry)) throw badInput(where, 'an object is needed')
  checkStoreDirectory(entry, where)
  const { narSize, references, deriver, ca } = entry
  const narHash = hashText(entry.narHash)
  if (narHash === undefined) throw badInput(where, '"narHash" is missing or no hash')
  if (typeof narSize !== 'number') throw badInput(where, '"narSize" is missing or no number')
  if (!isTextArray(references)) throw badInput(where, '"references" is missing or no array of text')
  if (deriver !== undefined && deriver !== null && typeof deriver !== 'string') throw badInput(where, '"deriver" is no text')
  const digest = checkNarHash(narHash, where)
  return {
    name: table.indexOf(baseName),
    where,
    ...(!isUnregistered(digest, narSize) && { narHash: digest, narSize: checkNarSize(narSize, where) }),
    references: references.map((reference) => table.indexOf(parseName(reference, where))),
    ...(typeof deriver === 'string' && isDeriver(deriver) ? { deriver: storePath(parseName(deriver, where)) } : {}),
    ...(ca === undefined || ca === null || ca === '' ? {} : { ca: contentAddress(ca) }),
  }
}

/** Text, or an object as Nix has it for hashes in JSON: `algorithm`, `format` and `hash`. Undefined for anything else. */
function hashText(hash: unknown): string | undefined {
  if (typeof hash === 'string') return hash
  if (!isObject(hash) || typeof hash.algorithm !== 'string' || typeof hash.hash !== 'string') return undefined
  return `${hash.algorithm}${hash.format === 'base64' ? '-' : ':'}${hash.hash}`
}

/** Text up to format 1; `method` and `hash` since. What cannot be read stays as it is; who hands it on refuses it (`requireProvenance`). */
function contentAddress(ca: unknown): string {
  if (typeof ca === 'string') return ca
  if (!isObject(ca) || typeof ca.method !== 'string') return JSON.stringify(ca)
  const prefix = new Map([
    ['text', 'text'],
    ['flat', 'fixed'],
    ['nar', 'fixed:r'],
    ['git', 'fixed:git'],
  ]).get(ca.method)
  const text = hashText(ca.hash)
  const hash = text === undefined ? undefined : respelledHash(text)
  return prefix === undefined || hash === undefined ? JSON.stringify(ca) : `${prefix}:${hash}`
}

/** An unknown path is `null` in the map layouts, `"valid": false` in the array layout. */
function isInvalid(entry: unknown): boolean {
  return entry === null || (isObject(entry) && (entry.valid === false || entry.path === null))
}

function checkStoreDirectory(object: JsonObject, where: string): void {
  const directory = object.storeDir
  if (directory !== undefined && directory !== STORE_DIRECTORY) {
    throw new ImageError(
      'UNSUPPORTED',
      `${where}: the store directory is ${JSON.stringify(directory)}; only ${STORE_DIRECTORY} is supported`,
      { path: where },
    )
  }
}

/** A full path (format 1 and older) or a base name (format 2 and later). */
function parseName(text: string, where: string): string {
  return text.includes('/') ? parseStorePath(text, where) : checkBaseName(text, where)
}

function isTextArray(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((member) => typeof member === 'string')
}
