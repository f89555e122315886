/**
 * The pages of an SQLite database as they were at one moment, read without a lock, without write rights and without a trace: SQLite
 * itself needs the right to write beside a database with a write-ahead log, or leaves the log out (`immutable`). Whoever reads asks at
 * the end whether all was of one moment, and reads again where it was not.
 */
import { closeSync, fstatSync, openSync, statSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { decode } from '../../bytes/decode.ts'
import { ImageError, systemErrorCode } from '../../errors.ts'
import type { Turns } from '../../io/turns.ts'
import { NoWayError } from './source.ts'
import { DATABASE_HEADER, DATABASE_MAGIC } from './sqlite-disk.ts'
import { isPageSize, readAt, WriteAheadLog } from './sqlite-log.ts'

/** Pages that are kept: 64 MiB of the usual size. */
const CACHE_PAGES = 1 << 14

/** Longer than the step in which file systems tell time. */
const CLOCK_STEP_MILLISECONDS = 15

const ATTEMPTS = 40

/** What reading needs. */
export interface Pages {
  /** Bytes of a page that are used. */
  readonly usableSize: number
  /** By number, from 1 on. Throws NoWayError. */
  page(number: number): Buffer
}

/**
 * Calls `read`, again where the database was written to meanwhile. Throws NoWayError for a file that is no database, cannot be read,
 * or never is at rest; what `read` throws of a database that did not change.
 */
export async function readDatabase<T>(path: string, turns: Turns, read: (pages: Pages) => Promise<T>): Promise<T> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const result = await attemptToRead(path, turns, read, attempt)
    if (result !== undefined) return result.value
    await setTimeout(CLOCK_STEP_MILLISECONDS * Math.min(attempt, 10))
    await turns.next()
  }
  throw new NoWayError('it is written to all the time, or a writer was stopped in the middle (db.sqlite-journal)')
}

async function attemptToRead<T>(
  path: string,
  turns: Turns,
  read: (pages: Pages) => Promise<T>,
  attempt: number,
): Promise<{ readonly value: T } | undefined> {
  let snapshot: Snapshot | undefined
  try {
    snapshot = await Snapshot.open(path, turns, attempt > 1)
    if (snapshot === undefined) return undefined
    const value = await read(snapshot)
    return (await snapshot.isOfOneMoment()) ? { value } : undefined
  } catch (error) {
    const code = error instanceof ImageError ? undefined : systemErrorCode(error)
    if (code !== undefined) {
      const isAbsent = code === 'ENOENT' || code === 'ENOTDIR'
      throw new NoWayError(isAbsent ? 'no such file' : code === 'EACCES' ? 'this user may not read it' : code, { isAbsent, cause: error })
    }
    // Pages of two moments look like damage, or like paths that are not valid.
    if (snapshot !== undefined && !(await snapshot.isOfOneMoment())) return undefined
    throw error
  } finally {
    snapshot?.close()
  }
}

class Snapshot implements Pages {
  readonly #path: string
  readonly #file: number
  readonly #log: WriteAheadLog | undefined
  readonly #turns: Turns
  readonly #state: string
  readonly #cache = new Map<number, Buffer>()
  readonly #isSettled: boolean
  #pageSize = 0
  #pageCount = 0
  usableSize = 0

  private constructor(path: string, file: number, log: WriteAheadLog | undefined, turns: Turns, state: string, isSettled: boolean) {
    this.#path = path
    this.#file = file
    this.#log = log
    this.#turns = turns
    this.#state = state
    this.#isSettled = isSettled
  }

  /** Undefined where a transaction without a log is under way. With `settles` the file's time tells whether it is written to. */
  static async open(path: string, turns: Turns, settles: boolean): Promise<Snapshot | undefined> {
    const file = openSync(path, 'r')
    let log: WriteAheadLog | undefined
    try {
      const state = stateOf(file)
      if (settles) await setTimeout(CLOCK_STEP_MILLISECONDS)
      if (!hasJournal(path)) {
        log = await WriteAheadLog.open(`${path}-wal`, turns)
        const snapshot = new Snapshot(path, file, log, turns, state, settles)
        snapshot.#readHeader()
        return snapshot
      }
    } catch (error) {
      log?.close()
      closeSync(file)
      throw error
    }
    closeSync(file)
    return undefined
  }

  #readHeader(): void {
    const bytes = this.#log?.page(1) ?? readAt(this.#file, 0, DATABASE_HEADER.size)
    if (bytes.length < DATABASE_HEADER.size) throw new NoWayError('it is empty')
    const header = decode(DATABASE_HEADER, bytes, 0, 'database')
    if (Buffer.from(header.magic).toString('latin1') !== DATABASE_MAGIC) throw new NoWayError('it is no SQLite database')
    if (header.textEncoding > 1) throw new NoWayError('its texts are in UTF-16, as Nix has none')
    this.#pageSize = header.pageSize === 1 ? 65536 : header.pageSize
    if (!isPageSize(this.#pageSize)) throw new NoWayError(`it has pages of ${this.#pageSize} bytes, which cannot be`)
    if (this.#log?.pageCount !== undefined && this.#log.pageSize !== this.#pageSize)
      throw new NoWayError('its log has pages of another size')
    this.usableSize = this.#pageSize - header.reserved
    if (this.usableSize < 480) throw new NoWayError(`its pages have ${header.reserved} bytes that are not used, which cannot be`)
    this.#pageCount = this.#log?.pageCount ?? Math.floor(fstatSync(this.#file).size / this.#pageSize)
  }

  page(number: number): Buffer {
    const known = this.#cache.get(number)
    if (known !== undefined) return known
    if (number < 1 || number > this.#pageCount) throw new NoWayError(`it is damaged: there is no page ${number}`)
    const bytes = this.#log?.page(number) ?? readAt(this.#file, (number - 1) * this.#pageSize, this.#pageSize)
    if (bytes.length < this.#pageSize) throw new NoWayError(`it is damaged: page ${number} is cut short`)
    if (this.#cache.size >= CACHE_PAGES) this.#cache.clear()
    this.#cache.set(number, bytes)
    return bytes
  }

  /** Whether nothing that was read can have been replaced in the file while it was read. */
  async isOfOneMoment(): Promise<boolean> {
    if (hasJournal(this.#path)) return false
    const isUntouched = stateOf(this.#file) === this.#state && inodeAt(this.#path) === inodeOf(this.#file)
    if (this.#log === undefined) {
      const log = await WriteAheadLog.open(`${this.#path}-wal`, this.#turns)
      log?.close()
      return isUntouched && (log?.pageCount === undefined || this.#isSettled)
    }
    const change = await this.#log.change(`${this.#path}-wal`, this.#turns)
    // A checkpoint copies what is in the log, where we had it from already; only what was committed later would show.
    return change === 'none' || (change === 'longer' && isUntouched && this.#isSettled)
  }

  close(): void {
    this.#log?.close()
    closeSync(this.#file)
  }
}

/** The counter of transactions without a log, and the time and size of the file. */
function stateOf(file: number): string {
  const { mtimeNs, size } = fstatSync(file, { bigint: true })
  return `${mtimeNs} ${size} ${readAt(file, 24, 4).toString('hex')}`
}

function inodeOf(file: number): string {
  const { dev, ino } = fstatSync(file, { bigint: true })
  return `${dev} ${ino}`
}

function inodeAt(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found && `${found.dev} ${found.ino}`
}

/** A rollback journal with a header is that of a transaction that is under way, or of one that was cut (3.1). */
function hasJournal(path: string): boolean {
  const journal = `${path}-journal`
  if ((statSync(journal, { throwIfNoEntry: false })?.size ?? 0) === 0) return false
  try {
    const file = openSync(journal, 'r')
    try {
      return (readAt(file, 0, 1)[0] ?? 0) !== 0
    } finally {
      closeSync(file)
    }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}
