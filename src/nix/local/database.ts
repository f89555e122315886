/**
 * The Nix database, read where it lies (`libstore/schema.sql`, `local-store.cc`): schema 5 to 10, of which the later ones added the
 * columns `ultimate`, `sigs` and `ca`. Nothing is locked or written.
 */
import { join } from 'node:path'
import { systemErrorCode } from '../../errors.ts'
import { readSmallFile } from '../../io/small-file.ts'
import type { Turns } from '../../io/turns.ts'
import { NoWayError, type PathQuery, REFERENCES_LIMIT, type RegisteredPath } from './source.ts'
import { type Pages, readDatabase } from './sqlite-snapshot.ts'
import { indexRange, rowOf, rowsOf, type Value } from './sqlite-tree.ts'

export const DATABASE_FILE = 'db.sqlite'

/** The newest schema that is known (`nixSchemaVersion`). */
const NEWEST_SCHEMA = 10

/** What it says is a number. */
const SCHEMA_FILE_LIMIT = 64

/**
 * Calls `use` with what asks the database in `folder`, such as `/nix/var/nix/db`; again where it was written to meanwhile. Throws
 * NoWayError, ABORTED, and what `use` throws.
 */
export function withDatabase<T>(folder: string, turns: Turns, use: (query: PathQuery) => Promise<T>): Promise<T> {
  return readDatabase(join(folder, DATABASE_FILE), turns, async (pages) => {
    checkSchema(folder)
    return use(pathQuery(pages, turns))
  })
}

function checkSchema(folder: string): void {
  let text: string
  try {
    text = Buffer.from(readSmallFile(join(folder, 'schema'), SCHEMA_FILE_LIMIT, 'a schema'))
      .toString('latin1')
      .trim()
  } catch (error) {
    if (systemErrorCode(error) !== undefined) return
    throw error
  }
  if (/^[0-9]+$/.test(text) && Number(text) <= NEWEST_SCHEMA) return
  throw new NoWayError(`its schema is ${JSON.stringify(text)}; ${NEWEST_SCHEMA} is the newest one that is known`)
}

interface Tables {
  readonly paths: number
  readonly byPath: number
  readonly references: number
  /** Place of each column of ValidPaths. */
  readonly columns: ReadonlyMap<string, number>
}

function tablesOf(pages: Pages): Tables {
  const roots = new Map<Value, number>()
  let columns: string[] = []
  // type, name, tbl_name, rootpage, sql (SQLite, "Database File Format", 2.6)
  for (const [, name, , root, sql] of rowsOf(pages, 1)) {
    if (typeof root === 'number') roots.set(name ?? null, root)
    if (name === 'ValidPaths' && typeof sql === 'string') columns = columnsOf(sql)
  }
  const root = (name: string): number => {
    const found = roots.get(name)
    if (found === undefined) throw new NoWayError(`it is no database of Nix: it has no ${name}`)
    return found
  }
  const found = {
    paths: root('ValidPaths'),
    // Made for `path text unique` and for the primary key (referrer, reference).
    byPath: root('sqlite_autoindex_ValidPaths_1'),
    references: root('sqlite_autoindex_Refs_1'),
    columns: new Map(columns.map((name, index) => [name, index])),
  }
  const missing = ['id', 'path', 'hash', 'deriver', 'narSize'].find((name) => !found.columns.has(name))
  if (missing !== undefined) throw new NoWayError(`it is no database of Nix: ValidPaths has no ${missing}`)
  return found
}

/** The columns that `create table` names; columns that were added are in it as well. */
function columnsOf(sql: string): string[] {
  const body = sql.replace(/--[^\n]*/g, '').replace(/^[^(]*\(/, '')
  const parts: string[] = ['']
  let depth = 0
  for (const character of body) {
    if (character === '(') depth++
    if (character === ')' && depth-- === 0) break
    if (character === ',' && depth === 0) parts.push('')
    else parts[parts.length - 1] += character
  }
  const names = parts.map((part) => /^\s*["'`[]?([A-Za-z_]+)/.exec(part)?.[1] ?? '')
  return names.filter((name) => !/^(primary|foreign|unique|check|constraint)$/i.test(name))
}

function pathQuery(pages: Pages, turns: Turns): PathQuery {
  const tables = tablesOf(pages)
  /** Paths by id: many refer to the same. */
  const names = new Map<number, string>()
  const column = (row: readonly Value[], name: string): Value => row[tables.columns.get(name) ?? row.length] ?? null
  const nameOf = (id: number): string => {
    const known = names.get(id)
    if (known !== undefined) return known
    const row = rowOf(pages, tables.paths, id)
    const path = row && column(row, 'path')
    if (typeof path !== 'string') throw new NoWayError(`it is damaged: there is a reference to ${id}, which is no path`)
    names.set(id, path)
    return path
  }
  const find = (path: string): RegisteredPath | undefined => {
    const bytes = Buffer.from(path)
    const [, id] = [...indexRange(pages, tables.byPath, ([entry]) => Buffer.compare(bytesOf(entry), bytes))][0] ?? []
    if (typeof id !== 'number') return undefined
    const row = rowOf(pages, tables.paths, id)
    if (row === undefined || column(row, 'path') !== path) throw new NoWayError(`it is damaged: ${path} has no row`)
    const references: string[] = []
    for (const [, reference] of indexRange(pages, tables.references, ([referrer]) => Number(referrer) - id)) {
      if (references.length === REFERENCES_LIMIT) throw new NoWayError(`it is damaged: ${path} has too many references`)
      references.push(nameOf(Number(reference)))
    }
    return {
      path,
      narHash: textOf(column(row, 'hash')) ?? '',
      narSize: Number(column(row, 'narSize') ?? 0),
      references,
      deriver: textOf(column(row, 'deriver')),
      ca: textOf(column(row, 'ca')),
    }
  }
  return async (paths) => {
    const found: (RegisteredPath | undefined)[] = []
    for (const path of paths) {
      const info = find(path)
      found.push(info)
      if (turns.isOver(1000 + 1000 * (info?.references.length ?? 0))) await turns.next()
    }
    return found
  }
}

function bytesOf(value: Value | undefined): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value) : value instanceof Uint8Array ? value : Buffer.alloc(0)
}

function textOf(value: Value): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
