/**
 * The Nix database of an installed system, `/nix/var/nix/db/db.sqlite`: schema 10 as Nix 2.35 and later create it
 * (`libstore/schema.sql`), written by the SQLite in Node.
 *
 * The rows are those of `nix-store --load-db`: path, hash in base 16, size, references; derivers and content addresses where
 * the closure has them, which recipes keep only when they are asked to (`provenance.ts`). Not supported: signatures and
 * `ultimate`, which registrations do not carry; the tables of the experimental feature ca-derivations, which Nix adds when it is switched on.
 */
import { struct } from '../../bytes/struct.ts'
import { ImageError } from '../../errors.ts'
import type { Closure, ClosurePath } from '../listing/closure.ts'
import { type VacuumedDatabase, vacuumedBytes } from './database-bytes.ts'
import type { DerivationOutputs } from './derivation.ts'
import { formatHex } from './hash.ts'

export interface DatabaseOptions {
  /** When every path was registered, in seconds since 1970. Default 1, the time of all store files. */
  readonly registrationTime?: number
  /** Outputs of the listed derivations; those of others are left out of the database. Default none. */
  readonly derivationOutputs?: DerivationOutputs
}

/** What `/nix/var/nix/db/schema` says of it; Nix refuses the file with a line break. */
export const DATABASE_SCHEMA = '10'

export const DATABASE_DEFAULTS = { registrationTime: 1 } as const

const PAGE_SIZE = 4096

/**
 * Whatever the layout of a file depends on and a build of SQLite may set otherwise. Vacuuming needs a second database;
 * `temp_store` keeps it in memory.
 */
const PRAGMAS = `
  pragma page_size = ${PAGE_SIZE};
  pragma encoding = 'UTF-8';
  pragma auto_vacuum = none;
  pragma secure_delete = off;
  pragma temp_store = memory;
`

const SCHEMA = `
create table ValidPaths (
    id               integer primary key autoincrement not null,
    path             text unique not null,
    hash             text not null,
    registrationTime integer not null,
    deriver          text,
    narSize          integer,
    ultimate         integer,
    sigs             text,
    ca               text
);
create table Refs (
    referrer  integer not null,
    reference integer not null,
    primary key (referrer, reference),
    foreign key (referrer) references ValidPaths(id) on delete cascade,
    foreign key (reference) references ValidPaths(id) on delete restrict
);
create index IndexReference on Refs(reference);
create trigger DeleteSelfRefs before delete on ValidPaths
  begin
    delete from Refs where referrer = old.id and reference = old.id;
  end;
create table DerivationOutputs (
    drv  integer not null,
    id   text not null,
    path text not null,
    primary key (drv, id),
    foreign key (drv) references ValidPaths(id) on delete cascade
);
create index IndexDerivationOutputs on DerivationOutputs(path);
create table SchemaMigrations (migration text primary key not null);
`

/** What a current Nix would otherwise do to the database when it first opens it (`LocalStore::upgradeDBSchema`). */
const MIGRATIONS = ['20260309-drop-redundant-indexreferrer']

/** The fields of the database header that are not left to SQLite (SQLite, "Database File Format", 1.3). */
export const SQLITE_HEADER = struct('SQLite header', 100, {
  writeVersion: [18, 'u8'],
  readVersion: [19, 'u8'],
  changeCounter: [24, 'u32be'],
  versionValidFor: [92, 'u32be'],
  sqliteVersion: [96, 'u32be'],
})

const HEADER_VALUES = {
  // Write-ahead log: Nix switches a database with a rollback journal over, and so would change it at a query.
  writeVersion: 2,
  readVersion: 2,
  // Both alike say that the page count in the header holds. A database in memory has zeros here, which no file has.
  changeCounter: 1,
  versionValidFor: 1,
  // Which SQLite has written last: informative, and not to tell which one Node was built with.
  sqliteVersion: 3_046_000,
} as const

/** What is used of `node:sqlite`. */
interface Database extends VacuumedDatabase {
  prepare(sql: string): { run(...values: (string | number | null)[]): unknown }
  close(): void
}

/**
 * The bytes of db.sqlite for `closure`. The same closure gives the same bytes with the same SQLite, and the same
 * content with any.
 *
 * Throws USAGE where the closure has no hashes or references (`rebuildRegistration` finds them) or the time is no whole
 * number of seconds, UNSUPPORTED where this Node has no SQLite, and what `vacuumedBytes` throws.
 */
export function nixDatabase(closure: Closure, options: DatabaseOptions = {}): Uint8Array {
  const { registrationTime = DATABASE_DEFAULTS.registrationTime, derivationOutputs = new Map() } = options
  if (!Number.isSafeInteger(registrationTime) || registrationTime < 0) {
    throw new ImageError('USAGE', `registration time ${registrationTime} is not a whole number of seconds since 1970`)
  }
  const database = openDatabase()
  try {
    database.exec(`${PRAGMAS} ${SCHEMA} begin`)
    insertPaths(database, closure, registrationTime)
    insertReferences(database, closure)
    insertOutputs(database, closure, derivationOutputs)
    const migration = database.prepare('insert into SchemaMigrations values (?)')
    for (const name of MIGRATIONS) migration.run(name)
    database.exec('commit')
    const bytes = vacuumedBytes(database)
    SQLITE_HEADER.write(bytes, 0, HEADER_VALUES)
    return bytes
  } finally {
    database.close()
  }
}

/** The module is loaded when it is needed: a Node built without SQLite can do everything else. */
function openDatabase(): Database {
  const sqlite = process.getBuiltinModule('node:sqlite')
  // References are looked up below; SQLite need not do it again.
  if (sqlite !== undefined) return new sqlite.DatabaseSync(':memory:', { enableForeignKeyConstraints: false })
  throw new ImageError('UNSUPPORTED', `Nix database: this Node (${process.version}) was built without SQLite; use one that has node:sqlite`)
}

/** Ids count from 1 in the order of base names, as Nix gives them when it registers a closure. */
function insertPaths(database: Database, closure: Closure, registrationTime: number): void {
  const insert = database.prepare('insert into ValidPaths values (?, ?, ?, ?, ?, ?, null, null, ?)')
  for (const [index, entry] of closure.paths.entries()) {
    const { hash, size } = registered(entry, closure)
    insert.run(index + 1, entry.path, `sha256:${formatHex(hash)}`, registrationTime, entry.deriver ?? null, size, entry.ca ?? null)
  }
}

function registered({ path, narHash, narSize }: ClosurePath, closure: Closure): { hash: Uint8Array; size: number } {
  if (narHash !== undefined && narSize !== undefined && closure.referencesKnown) return { hash: narHash, size: narSize }
  throw new ImageError(
    'USAGE',
    `${path}: the listing (${closure.kind}) has no hash, size or references for it; rebuild the registration first`,
    { path },
  )
}

function insertReferences(database: Database, closure: Closure): void {
  const ids = new Map(closure.paths.map(({ path }, index) => [path, index + 1]))
  const insert = database.prepare('insert into Refs values (?, ?)')
  for (const [index, { path, references }] of closure.paths.entries()) {
    for (const reference of references) {
      const id = ids.get(reference)
      if (id === undefined)
        throw new ImageError('NOT_FOUND', `${path} refers to ${reference}, which is not in the closure`, { path: reference })
      insert.run(index + 1, id)
    }
  }
}

function insertOutputs(database: Database, closure: Closure, derivationOutputs: DerivationOutputs): void {
  const insert = database.prepare('insert into DerivationOutputs values (?, ?, ?)')
  for (const [index, { path }] of closure.paths.entries()) {
    for (const [name, output] of derivationOutputs.get(path) ?? []) insert.run(index + 1, name, output)
  }
}
