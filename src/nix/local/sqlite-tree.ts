/** Tables and indexes of an SQLite database (SQLite, "Database File Format", 1.6 and 2): single rows, and ranges of an index. */
import { decode } from '../../bytes/decode.ts'
import { NoWayError, TEXT_LIMIT } from './source.ts'
import { DATABASE_HEADER, PAGE_HEADER, PAGE_KIND } from './sqlite-disk.ts'
import type { Pages } from './sqlite-snapshot.ts'

export type Value = number | string | Uint8Array | null

/** A tree with so many levels has more pages than a file can. */
const DEPTH_LIMIT = 32

/** Rows of the table of tables. */
const SCHEMA_ROWS_LIMIT = 10_000

interface Node {
  readonly number: number
  readonly bytes: Buffer
  readonly kind: number
  readonly isLeaf: boolean
  readonly cellCount: number
  readonly rightMost: number
  /** Where the places of the cells are. */
  readonly pointers: number
}

const damaged = (what: string): NoWayError => new NoWayError(`it is damaged: ${what}`)

function nodeAt(pages: Pages, number: number, depth: number, kinds: readonly number[]): Node {
  if (depth > DEPTH_LIMIT) throw damaged('a tree goes in circles')
  const bytes = pages.page(number)
  const start = number === 1 ? DATABASE_HEADER.size : 0
  const { kind, cellCount, rightMost } = decode(PAGE_HEADER, bytes, start, 'page')
  if (!kinds.includes(kind)) throw damaged(`page ${number} is of kind ${kind}, where one of ${kinds.join(' or ')} belongs`)
  const isLeaf = kind === PAGE_KIND.tableLeaf || kind === PAGE_KIND.indexLeaf
  const pointers = start + (isLeaf ? 8 : 12)
  if (pointers + 2 * cellCount > pages.usableSize) throw damaged(`page ${number} has ${cellCount} cells`)
  return { number, bytes, kind, isLeaf, cellCount, rightMost, pointers }
}

function cellStart({ number, bytes, pointers }: Node, index: number): number {
  const at = bytes.readUInt16BE(pointers + 2 * index)
  // A child, or two numbers of a byte each.
  if (at + 4 > bytes.length) throw damaged(`a cell of page ${number} lies outside of it`)
  return at
}

/** 1 to 9 bytes, the highest bits first (1.6). Beyond 2^53 it is not exact, and then refused by whoever uses it. */
function varint(bytes: Buffer, at: number): readonly [value: number, end: number] {
  let value = 0
  for (let index = 0; index < 9; index++) {
    const byte = bytes[at + index]
    if (byte === undefined) throw damaged('a number goes beyond its page')
    if (index === 8) return [value * 256 + byte, at + 9]
    value = value * 128 + (byte & 0x7f)
    if (byte < 0x80) return [value, at + index + 1]
  }
  throw damaged('a number has no end')
}

/** The payload that begins at `at`, put together where it goes on in other pages. */
function payload(pages: Pages, { kind, bytes }: Node, at: number, length: number): Buffer {
  if (length > TEXT_LIMIT) throw damaged(`a row has ${length} bytes`)
  const { usableSize: usable } = pages
  const most = kind === PAGE_KIND.tableLeaf ? usable - 35 : Math.floor(((usable - 12) * 64) / 255) - 23
  const least = Math.floor(((usable - 12) * 32) / 255) - 23
  const wanted = least + ((length - least) % (usable - 4))
  const local = length <= most ? length : wanted <= most ? wanted : least
  if (at + local + (local < length ? 4 : 0) > usable) throw damaged('a row goes beyond its page')
  if (local === length) return bytes.subarray(at, at + length)
  const parts = [bytes.subarray(at, at + local)]
  let next = bytes.readUInt32BE(at + local)
  for (let left = length - local; left > 0; ) {
    const page = pages.page(next)
    const part = page.subarray(4, 4 + Math.min(left, usable - 4))
    parts.push(part)
    left -= part.length
    next = page.readUInt32BE(0)
  }
  return Buffer.concat(parts)
}

/** Bytes of integers by their type. */
const INTEGER_BYTES = [0, 1, 2, 3, 4, 6, 8]

/** The columns of a row (2.1). */
function values(record: Buffer): Value[] {
  const [headerSize, first] = varint(record, 0)
  if (headerSize > record.length) throw damaged('a row is shorter than its header')
  const row: Value[] = []
  let body = headerSize
  for (let at = first; at < headerSize; ) {
    const [type, end] = varint(record, at)
    at = end
    const size = type >= 12 ? Math.floor((type - 12) / 2) : type === 7 ? 8 : (INTEGER_BYTES[type] ?? 0)
    if (body + size > record.length) throw damaged('a row is shorter than its columns')
    row.push(columnValue(record, body, type, size))
    body += size
  }
  return row
}

function columnValue(record: Buffer, at: number, type: number, size: number): Value {
  if (type === 0) return null
  if (type === 8 || type === 9) return type - 8
  if (type === 7) return record.readDoubleBE(at)
  if (type === 6) return Number(record.readBigInt64BE(at))
  if (type < 7) return record.readIntBE(at, size)
  if (type < 12) throw damaged(`a column is of type ${type}`)
  const bytes = record.subarray(at, at + size)
  return type % 2 === 1 ? bytes.toString('utf8') : bytes
}

const TABLE = [PAGE_KIND.tableInterior, PAGE_KIND.tableLeaf]
const INDEX = [PAGE_KIND.indexInterior, PAGE_KIND.indexLeaf]

/** The row of a table by its rowid, undefined where there is none. Throws NoWayError, as all of these do. */
export function rowOf(pages: Pages, root: number, rowid: number): Value[] | undefined {
  let number = root
  for (let depth = 0; ; depth++) {
    const node = nodeAt(pages, number, depth, TABLE)
    const key = (index: number): number => {
      const at = cellStart(node, index)
      return varint(node.bytes, node.isLeaf ? varint(node.bytes, at)[1] : at + 4)[0]
    }
    const index = firstWhere(node.cellCount, (cell) => key(cell) >= rowid)
    if (node.isLeaf) {
      if (index === node.cellCount || key(index) !== rowid) return undefined
      return leafRow(pages, node, index).row
    }
    number = index === node.cellCount ? node.rightMost : node.bytes.readUInt32BE(cellStart(node, index))
  }
}

function leafRow(pages: Pages, node: Node, index: number): { readonly rowid: number; readonly row: Value[] } {
  const [length, second] = varint(node.bytes, cellStart(node, index))
  const [rowid, at] = varint(node.bytes, second)
  return { rowid, row: values(payload(pages, node, at, length)) }
}

/** All rows of a small table. */
export function* rowsOf(pages: Pages, root: number, depth = 0, count = { rows: 0 }): Generator<Value[]> {
  const node = nodeAt(pages, root, depth, TABLE)
  for (let index = 0; index < node.cellCount; index++) {
    if (++count.rows > SCHEMA_ROWS_LIMIT) throw damaged('it has too many tables')
    if (node.isLeaf) yield leafRow(pages, node, index).row
    else yield* rowsOf(pages, node.bytes.readUInt32BE(cellStart(node, index)), depth + 1, count)
  }
  if (!node.isLeaf) yield* rowsOf(pages, node.rightMost, depth + 1, count)
}

/** The entries of an index for which `compare` gives 0; it gives less for those before them, and more for those behind. */
export function* indexRange(pages: Pages, root: number, compare: (entry: readonly Value[]) => number, depth = 0): Generator<Value[]> {
  const node = nodeAt(pages, root, depth, INDEX)
  const entry = (index: number): Value[] => {
    const [length, at] = varint(node.bytes, cellStart(node, index) + (node.isLeaf ? 0 : 4))
    return values(payload(pages, node, at, length))
  }
  for (let index = firstWhere(node.cellCount, (cell) => compare(entry(cell)) >= 0); ; index++) {
    if (!node.isLeaf) {
      const child = index === node.cellCount ? node.rightMost : node.bytes.readUInt32BE(cellStart(node, index))
      yield* indexRange(pages, child, compare, depth + 1)
    }
    if (index === node.cellCount) return
    const found = entry(index)
    if (compare(found) !== 0) return
    yield found
  }
}

/** The first index below `count` for which `isReached` holds, as for all behind it; `count` where it holds for none. */
function firstWhere(count: number, isReached: (index: number) => boolean): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >> 1
    if (isReached(middle)) high = middle
    else low = middle + 1
  }
  return low
}
