/**
 * The text listings: a plain list of paths, and records as `nix-store --load-db` and
 * `--register-validity` read them (`libstore/store-api.cc`, decodeValidPathInfo): path, with a registration
 * also hash and NAR size, deriver or an empty line, number of references, references.
 */

import { quote } from '../../bytes/text.ts'
import { badInput } from '../../errors.ts'
import { baseNameOf, parseStorePath, storePath } from '../store/store-path.ts'
import { checkNarHash, checkNarSize, isDeriver, isUnregistered, type ListedPath, type Listing, NameTable, parseDecimal } from './listing.ts'

/** So many blank lines at the end of a listing are harmless; more are some other file. */
const LAST_BLANK_LINES = 8

/** Asks for a line with each step; undefined is the end of the file. */
type LineSteps<T> = Generator<void, T, string | undefined>

/** Takes a text listing line by line. */
export class TextListingReader {
  readonly #steps: LineSteps<Listing>
  #listing: Listing | undefined

  /** `name` names the file in messages. */
  constructor(name: string) {
    this.#steps = new LineParser(name).listing()
    this.#steps.next()
  }

  /** Throws BAD_INPUT. */
  add(line: string): void {
    this.#step(line)
  }

  /** The listing, all of whose lines were added. Throws BAD_INPUT for one that is cut short. */
  finish(): Listing {
    while (this.#listing === undefined) this.#step(undefined)
    return this.#listing
  }

  #step(line: string | undefined): void {
    const step = this.#steps.next(line)
    if (step.done) this.#listing = step.value
  }
}

class LineParser {
  readonly #name: string
  readonly #table = new NameTable()
  /** The first three lines, by which the kind is told before anything is parsed. */
  #ahead: (string | undefined)[] = []
  /** Of the line in hand. */
  #number = 0

  constructor(name: string) {
    this.#name = name
  }

  *listing(): LineSteps<Listing> {
    this.#ahead = [yield, yield, yield]
    const [, second, third] = this.#ahead
    const { names } = this.#table
    if (second === undefined || ((second === '' || second.startsWith('/')) && !/^[0-9]+$/.test(third ?? ''))) {
      return { kind: 'path-list', names, paths: yield* this.#pathList() }
    }
    if (second === '' || second.startsWith('/')) return { kind: 'references-graph', names, paths: yield* this.#records(false) }
    const kind = second.includes(':') || second.includes('-') ? 'registration' : 'dump-db'
    return { kind, names, paths: yield* this.#records(true) }
  }

  *#pathList(): LineSteps<ListedPath[]> {
    const paths: ListedPath[] = []
    for (let line = yield* this.#recordLine(); line !== undefined; line = yield* this.#recordLine()) {
      const baseName = baseNameOf(line) ?? parseStorePath(line, this.#where())
      paths.push({ name: this.#table.indexOf(baseName), where: this.#number })
    }
    return paths
  }

  *#records(withHashes: boolean): LineSteps<ListedPath[]> {
    const paths: ListedPath[] = []
    for (let line = yield* this.#recordLine(); line !== undefined; line = yield* this.#recordLine()) {
      paths.push(yield* this.#record(line, withHashes))
    }
    return paths
  }

  *#record(first: string, withHashes: boolean): LineSteps<ListedPath> {
    const where = this.#number
    const baseName = baseNameOf(first) ?? parseStorePath(first, this.#where())
    /** The place of the line in hand, which is asked for in errors only: there are millions of lines. */
    const place = (): string => `${this.#where()} (record of ${storePath(baseName)})`
    const cutShort = (what: string): Error =>
      badInput(`${this.#name}:${where}`, `the file ends within this record, before ${what}; it is cut short`)
    const record: { -readonly [K in keyof ListedPath]: ListedPath[K] } = { name: this.#table.indexOf(baseName), where }
    if (withHashes) {
      const hash = yield* this.#line()
      if (hash === undefined) throw cutShort('the hash')
      const narHash = checkNarHash(hash, place)
      const size = yield* this.#line()
      if (size === undefined) throw cutShort('the NAR size')
      const narSize = parseDecimal(size, 'the NAR size', place)
      if (!isUnregistered(narHash, narSize)) {
        record.narHash = narHash
        record.narSize = checkNarSize(narSize, place)
      }
    }
    const deriver = yield* this.#line()
    if (deriver === undefined) throw cutShort('the deriver')
    if (isDeriver(deriver)) record.deriver = storePath(baseNameOf(deriver) ?? parseStorePath(deriver, place()))
    const countLine = yield* this.#line()
    if (countLine === undefined) throw cutShort('the number of references')
    const count = parseDecimal(countLine, 'the number of references', place)
    const references: number[] = []
    for (let index = 1; index <= count; index++) {
      const line = yield* this.#line()
      if (line === undefined) throw cutShort(`reference ${index} of ${count}`)
      if (!line.startsWith('/')) throw badInput(place(), `${quote(line)} stands where reference ${index} of ${count} should be`)
      references.push(this.#table.indexOf(baseNameOf(line) ?? parseStorePath(line, place())))
    }
    record.references = references
    return record
  }

  #where(): string {
    return `${this.#name}:${this.#number}`
  }

  *#line(): LineSteps<string | undefined> {
    this.#number++
    return this.#ahead.length > 0 ? this.#ahead.shift() : yield
  }

  /** The first line of a record; blank lines are taken at the end of the file only. */
  *#recordLine(): LineSteps<string | undefined> {
    const line = yield* this.#line()
    if (line !== '') return line
    const where = this.#where()
    for (let count = 1; count <= LAST_BLANK_LINES; count++) {
      const later = yield* this.#line()
      if (later === undefined) return undefined
      if (later !== '') break
    }
    throw badInput(where, 'the line is blank where a store path should be')
  }
}
