/**
 * From a database in memory to the bytes of its file. Rows were added in an order that leaves index pages half full, so it
 * is vacuumed: the bytes then depend on what the database holds alone.
 */
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { ImageError, systemErrorCode } from '../../errors.ts'
import { PrivateFolder } from '../../io/private-folder.ts'

/** What is used of `node:sqlite`, typed here because Node before 24.16 has not all of it. */
export interface VacuumedDatabase {
  exec(sql: string): void
  serialize?(): Uint8Array
}

/**
 * The bytes, by either way the same but for the counters in the header. No transaction may be open. Where this Node cannot
 * give them from memory they go through a file in a folder of this process alone, and WRITE_FAILED is thrown where that
 * cannot be written.
 */
export function vacuumedBytes(database: VacuumedDatabase): Uint8Array {
  if (database.serialize === undefined) return throughFile(database)
  database.exec('vacuum')
  return database.serialize()
}

function throughFile(database: VacuumedDatabase): Uint8Array {
  let partial: PrivateFolder | undefined
  try {
    partial = PrivateFolder.create(tmpdir())
    const path = partial.folder.at('db.sqlite')
    database.exec(`vacuum into '${path.replaceAll("'", "''")}'`)
    // As from memory: a slice of a Buffer is no copy.
    return new Uint8Array(readFileSync(path))
  } catch (error) {
    const why = systemErrorCode(error) === 'ERR_SQLITE_ERROR' ? (error as Error).message : (systemErrorCode(error) ?? String(error))
    const remedy = 'free space there, set TMPDIR to another folder, or use Node 24.16 or later, which needs none'
    throw new ImageError('WRITE_FAILED', `Nix database: cannot be written to a temporary folder in ${tmpdir()} (${why}); ${remedy}`, {
      path: tmpdir(),
      cause: error,
    })
  } finally {
    partial?.remove()
  }
}
