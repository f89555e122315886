/** Databases as Nix has them, made with the SQLite in Node. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { formatHex } from '../../../src/nix/store/hash.ts'

export interface DatabaseForm {
  readonly journalMode?: 'wal' | 'delete' | 'truncate'
  readonly pageSize?: number
  /** 5 has no `ultimate`, `sigs` and `ca`; later ones were added to it. */
  readonly schema?: 5 | 7 | 10
  /** Bytes of signatures. */
  readonly signatureLength?: number
}

const COLUMNS = {
  5: '',
  7: ', ultimate integer, sigs text',
  10: ', ultimate integer, sigs text, ca text',
} as const

/** Opens `<root>/nix/var/nix/db/db.sqlite`, new, with the rows of the closure. */
export function nixDatabaseAt(root: string, closure: Closure, form: DatabaseForm = {}): DatabaseSync {
  const { journalMode = 'wal', pageSize = 4096, schema = 10, signatureLength = 0 } = form
  const folder = `${root}/nix/var/nix/db`
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${folder}/schema`, String(schema))
  const database = new DatabaseSync(`${folder}/db.sqlite`)
  database.exec(`pragma page_size = ${pageSize}; pragma journal_mode = ${journalMode}; pragma wal_autocheckpoint = 0`)
  database.exec(`
    create table ValidPaths (
      id integer primary key autoincrement not null, path text unique not null,
      hash text not null, -- base16 representation, (of course)
      registrationTime integer not null, deriver text, narSize integer${schema === 5 ? '' : COLUMNS[schema]}
    );
    create table Refs (
      referrer integer not null, reference integer not null, primary key (referrer, reference),
      foreign key (referrer) references ValidPaths(id) on delete cascade
    );
    create index IndexReference on Refs(reference);
  `)
  addPaths(database, closure, schema !== 5 && signatureLength > 0 ? 's'.repeat(signatureLength) : undefined)
  return database
}

export function addPaths(database: DatabaseSync, { paths }: Closure, signatures?: string): void {
  database.exec('begin')
  const insert = database.prepare(
    `insert into ValidPaths (path, hash, registrationTime, deriver, narSize${signatures === undefined ? '' : ', sigs'})
     values (?, ?, 1, ?, ?${signatures === undefined ? '' : ', ?'})`,
  )
  for (const { path, narHash, narSize, deriver } of paths) {
    const hash = `sha256:${formatHex(narHash ?? new Uint8Array(32))}`
    insert.run(path, hash, deriver ?? null, narSize ?? null, ...(signatures === undefined ? [] : [signatures]))
  }
  const refer = database.prepare(
    'insert or ignore into Refs select a.id, b.id from ValidPaths a, ValidPaths b where a.path = ? and b.path = ?',
  )
  for (const { path, references } of paths) for (const reference of references) refer.run(path, reference)
  database.exec('commit')
}
