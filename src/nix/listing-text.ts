/**
 * The text listings: a plain list of paths, and records as `nix-store --load-db` and
 * `--register-validity` read them (`libstore/store-api.cc`, decodeValidPathInfo): path, with a registration
 * also hash and NAR size, deriver or an empty line, number of references, references.
 */
import type { Line } from './lines.ts'
import { badInput, checkNarHash, checkNarSize, type ListedPath, type Listing, parseDecimal } from './listing.ts'
import { parseStorePath, quote, storePath } from './store-path.ts'

/** So many blank lines at the end of a listing are harmless; more are some other file. */
const LAST_BLANK_LINES = 8

/** Recognise the kind by the first three lines and parse all. `name` names the file in messages. */
export async function parseText(lines: AsyncIterable<Line>, name: string): Promise<Listing> {
  const source = await LineSource.open(lines, name)
  try {
    return await parseSource(source)
  } finally {
    await source.close()
  }
}

async function parseSource(source: LineSource): Promise<Listing> {
  const second = source.peek(1)?.text
  const third = source.peek(2)?.text
  if (second === undefined || ((second === '' || second.startsWith('/')) && !/^[0-9]+$/.test(third ?? ''))) {
    return { kind: 'path-list', paths: await parsePathList(source) }
  }
  if (second === '' || second.startsWith('/')) return { kind: 'references-graph', paths: await parseRecords(source, false) }
  return { kind: second.includes(':') || second.includes('-') ? 'registration' : 'dump-db', paths: await parseRecords(source, true) }
}

async function parsePathList(source: LineSource): Promise<ListedPath[]> {
  const paths: ListedPath[] = []
  for (let line = await source.nextRecord(); line !== undefined; line = await source.nextRecord()) {
    const where = source.where(line)
    paths.push({ baseName: parseStorePath(line.text, where), where })
  }
  return paths
}

async function parseRecords(source: LineSource, withHashes: boolean): Promise<ListedPath[]> {
  const paths: ListedPath[] = []
  for (let line = await source.nextRecord(); line !== undefined; line = await source.nextRecord()) {
    paths.push(await parseRecord(source, line, withHashes))
  }
  return paths
}

async function parseRecord(source: LineSource, first: Line, withHashes: boolean): Promise<ListedPath> {
  const where = source.where(first)
  const baseName = parseStorePath(first.text, where)
  const next = async (what: string): Promise<{ text: string; where: string }> => {
    const line = await source.next()
    if (line === undefined) throw badInput(where, `the file ends within this record, before ${what}; it is cut short`)
    return { text: line.text, where: `${source.where(line)} (record of ${storePath(baseName)})` }
  }
  let hashes = {}
  if (withHashes) {
    const hash = await next('the hash')
    const narHash = checkNarHash(hash.text, hash.where)
    const size = await next('the NAR size')
    hashes = { narHash, narSize: checkNarSize(parseDecimal(size.text, 'the NAR size', size.where), size.where) }
  }
  const deriverLine = await next('the deriver')
  const deriver = deriverLine.text === '' ? {} : { deriver: storePath(parseStorePath(deriverLine.text, deriverLine.where)) }
  const countLine = await next('the number of references')
  const count = parseDecimal(countLine.text, 'the number of references', countLine.where)
  const references: string[] = []
  for (let index = 1; index <= count; index++) {
    const line = await next(`reference ${index} of ${count}`)
    if (!line.text.startsWith('/')) throw badInput(line.where, `${quote(line.text)} stands where reference ${index} of ${count} should be`)
    references.push(parseStorePath(line.text, line.where))
  }
  return { baseName, where, ...hashes, references, ...deriver }
}

/** Lines with a look at the first three, so that the kind of a listing can be told before it is parsed. */
class LineSource {
  readonly #lines: AsyncIterator<Line>
  readonly #ahead: Line[] = []
  readonly #name: string

  private constructor(lines: AsyncIterable<Line>, name: string) {
    this.#lines = lines[Symbol.asyncIterator]()
    this.#name = name
  }

  static async open(lines: AsyncIterable<Line>, name: string): Promise<LineSource> {
    const source = new LineSource(lines, name)
    while (source.#ahead.length < 3) {
      const step = await source.#lines.next()
      if (step.done === true) break
      source.#ahead.push(step.value)
    }
    return source
  }

  peek(index: number): Line | undefined {
    return this.#ahead[index]
  }

  where(line: Line): string {
    return `${this.#name}:${line.number}`
  }

  async next(): Promise<Line | undefined> {
    const ahead = this.#ahead.shift()
    if (ahead !== undefined) return ahead
    const step = await this.#lines.next()
    return step.done === true ? undefined : step.value
  }

  /** Let go of the file, also where parsing stopped half way. */
  async close(): Promise<void> {
    await this.#lines.return?.()
  }

  /** The first line of a record; blank lines are taken at the end of the file only. */
  async nextRecord(): Promise<Line | undefined> {
    const line = await this.next()
    if (line === undefined || line.text !== '') return line
    for (let count = 1; count <= LAST_BLANK_LINES; count++) {
      const later = await this.next()
      if (later === undefined) return undefined
      if (later.text !== '') break
    }
    throw badInput(this.where(line), 'the line is blank where a store path should be')
  }
}
