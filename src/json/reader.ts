/** A JSON parser that is fed (RFC 8259). It does not recurse, and holds no more of the text than one token. */
import { printable, quote } from '../bytes/text.ts'
import { badInput, ImageError } from '../errors.ts'

/**
 * Levels of arrays and objects. jq reads no deeper (`src/jv_parse.c`, MAX_PARSING_DEPTH of jq 1.6), and what nixpkgs makes goes
 * through it; listings of Nix have four.
 */
export const JSON_DEPTH_LIMIT = 256

/** Bytes of one text or number: scripts stand in such, and are smaller by far. */
export const JSON_TEXT_LIMIT = 64 * 1024 ** 2

/** An open array, or an open object with the name whose value comes next. */
type Open =
  | { readonly kind: 'array'; readonly items: unknown[] }
  | { readonly kind: 'object'; readonly members: Record<string, unknown>; key: string }

/** What may come next. */
type Expected = 'value' | 'itemOrEnd' | 'nameOrEnd' | 'name' | 'colon' | 'commaOrEnd' | 'nothing'

/** For messages. */
const EXPECTED: Readonly<Record<Expected, string>> = {
  value: 'a value',
  itemOrEnd: "a value or ']'",
  nameOrEnd: "a name in quotes or '}'",
  name: 'a name in quotes',
  colon: "':'",
  commaOrEnd: "',' or the end of the array or object",
  nothing: 'the end of the file',
}

const [QUOTE, BACKSLASH, COMMA, COLON, LF] = [0x22, 0x5c, 0x2c, 0x3a, 0x0a] as const
const [ARRAY, ARRAY_END, OBJECT, OBJECT_END] = [0x5b, 0x5d, 0x7b, 0x7d] as const

/** Bytes of numbers and of `true`, `false` and `null`. */
const IN_WORD = new Uint8Array(256)
for (const byte of Buffer.from('+-.0123456789Eabcdefghijklmnopqrstuvwxyz')) IN_WORD[byte] = 1

const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/
const LITERALS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
])

const BYTE_ORDER_MARK = Uint8Array.of(0xef, 0xbb, 0xbf)

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Takes JSON in pieces. Throws BAD_INPUT and LIMIT as soon as a piece shows it; `name` names the file. */
export class JsonReader {
  readonly #name: string
  readonly #open: Open[] = []
  #expected: Expected = 'value'
  #root: unknown
  /** What is left of earlier pieces: the beginning of a token. */
  #parts: Uint8Array[] = []
  #partsSize = 0
  /** Bytes that have to be there before parsing goes on: twice as many each time, so that a long token is not looked at again and again. */
  #wantedSize = BYTE_ORDER_MARK.length
  /** In the file, of the first byte that is not parsed. */
  #offset = 0
  #line = 1

  constructor(name: string) {
    this.#name = name
  }

  add(piece: Uint8Array): void {
    this.#parts.push(piece)
    this.#partsSize += piece.length
    if (this.#partsSize >= this.#wantedSize) this.#advance(false)
  }

  /** The value. */
  finish(): unknown {
    this.#advance(true)
    if (this.#expected !== 'nothing') throw this.#fault(`it ends where ${EXPECTED[this.#expected]} should be`, 0)
    return this.#root
  }

  #advance(isLast: boolean): void {
    const [first] = this.#parts
    const bytes =
      this.#parts.length === 1 && first !== undefined
        ? Buffer.from(first.buffer, first.byteOffset, first.byteLength)
        : Buffer.concat(this.#parts)
    const start = this.#offset === 0 && BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte) ? BYTE_ORDER_MARK.length : 0
    const taken = this.#parse(bytes, start, isLast)
    this.#offset += taken
    // A copy: the piece is the caller's, and large.
    const rest = Buffer.from(bytes.subarray(taken))
    this.#parts = rest.length === 0 ? [] : [rest]
    this.#partsSize = rest.length
    this.#wantedSize = Math.max(1, 2 * rest.length)
    if (rest.length > JSON_TEXT_LIMIT) throw this.#tooLong()
  }

  /** Parses whole tokens; returns where the first begins that is not whole. */
  #parse(bytes: Buffer, start: number, isLast: boolean): number {
    let at = start
    while (at < bytes.length) {
      const byte = bytes[at] as number
      if (byte === 0x20 || byte === LF || byte === 0x0d || byte === 0x09) {
        if (byte === LF) this.#line++
        at++
      } else if (byte === QUOTE) {
        const end = this.#endOfText(bytes, at, isLast)
        if (end === undefined) return at
        this.#takeText(bytes, at, end)
        at = end
      } else if (IN_WORD[byte] === 1) {
        let end = at + 1
        while (end < bytes.length && IN_WORD[bytes[end] as number] === 1) end++
        if (end === bytes.length && !isLast) return at
        this.#takeWord(bytes, at, end)
        at = end
      } else {
        this.#takeSign(byte, at, bytes)
        at++
      }
    }
    return at
  }

  /** After the closing quote; undefined where it is not there yet. */
  #endOfText(bytes: Buffer, start: number, isLast: boolean): number | undefined {
    for (let at = start + 1; at < bytes.length; at++) {
      const byte = bytes[at] as number
      if (byte === QUOTE) return at + 1
      if (byte === BACKSLASH) at++
      else if (byte < 0x20) throw this.#fault(`the control character 0x${byte.toString(16).padStart(2, '0')} stands in a text`, at)
    }
    if (isLast) throw this.#fault('the text that begins here does not end', start)
    return undefined
  }

  #takeText(bytes: Buffer, start: number, end: number): void {
    const isName = this.#expected === 'name' || this.#expected === 'nameOrEnd'
    if (!isName) this.#expectValue(bytes, start)
    if (end - start > JSON_TEXT_LIMIT) throw this.#tooLong()
    const text = this.#textOf(bytes, start, end)
    const top = this.#open.at(-1)
    if (!isName || top?.kind !== 'object') {
      this.#addValue(text)
      return
    }
    // JSON.parse would keep the last of them, and so hide a path that is listed twice.
    if (Object.hasOwn(top.members, text)) throw badInput(`${this.#name}:${this.#line}`, `${quote(text)} stands twice in the same object`)
    top.key = text
    this.#expected = 'colon'
  }

  #textOf(bytes: Buffer, start: number, end: number): string {
    let isAscii = true
    for (let at = start + 1; at < end - 1; at++) {
      const byte = bytes[at] as number
      if (byte === BACKSLASH || byte > 0x7f) isAscii = false
    }
    if (isAscii) return bytes.toString('latin1', start + 1, end - 1)
    let text: string
    try {
      text = decoder.decode(bytes.subarray(start, end))
    } catch {
      throw badInput(this.#name, `the JSON is not valid UTF-8, in the text at position ${this.#offset + start}`)
    }
    try {
      return JSON.parse(text) as string
    } catch {
      throw this.#fault('an escape in the text that begins here is wrong', start)
    }
  }

  #takeWord(bytes: Buffer, start: number, end: number): void {
    this.#expectValue(bytes, start)
    if (end - start > JSON_TEXT_LIMIT) throw this.#tooLong()
    const word = bytes.toString('latin1', start, end)
    const literal = LITERALS.get(word)
    if (literal !== undefined) this.#addValue(literal)
    else if (NUMBER.test(word)) this.#addValue(Number(word))
    else throw this.#fault(`${quote(word)} is no value`, start)
  }

  #takeSign(byte: number, at: number, bytes: Buffer): void {
    const expected = this.#expected
    const top = this.#open.at(-1)
    if (byte === ARRAY || byte === OBJECT) {
      this.#expectValue(bytes, at)
      if (this.#open.length === JSON_DEPTH_LIMIT) throw this.#tooDeep(at)
      this.#open.push(byte === ARRAY ? { kind: 'array', items: [] } : { kind: 'object', members: {}, key: '' })
      this.#expected = byte === ARRAY ? 'itemOrEnd' : 'nameOrEnd'
    } else if (byte === COMMA && expected === 'commaOrEnd') {
      this.#expected = top?.kind === 'array' ? 'value' : 'name'
    } else if (byte === COLON && expected === 'colon') {
      this.#expected = 'value'
    } else if (byte === ARRAY_END && top?.kind === 'array' && (expected === 'commaOrEnd' || expected === 'itemOrEnd')) {
      this.#open.pop()
      this.#addValue(top.items)
    } else if (byte === OBJECT_END && top?.kind === 'object' && (expected === 'commaOrEnd' || expected === 'nameOrEnd')) {
      this.#open.pop()
      this.#addValue(top.members)
    } else {
      throw this.#unexpected(bytes, at)
    }
  }

  #expectValue(bytes: Buffer, at: number): void {
    if (this.#expected !== 'value' && this.#expected !== 'itemOrEnd') throw this.#unexpected(bytes, at)
  }

  #addValue(value: unknown): void {
    const top = this.#open.at(-1)
    this.#expected = top === undefined ? 'nothing' : 'commaOrEnd'
    if (top === undefined) this.#root = value
    else if (top.kind === 'array') top.items.push(value)
    // A name like any other, but an assignment would set the prototype.
    else if (top.key === '__proto__')
      Object.defineProperty(top.members, top.key, { value, writable: true, enumerable: true, configurable: true })
    else top.members[top.key] = value
  }

  #unexpected(bytes: Buffer, at: number): ImageError {
    return this.#fault(`'${printable(bytes.subarray(at, at + 1))}' stands where ${EXPECTED[this.#expected]} should be`, at)
  }

  #fault(what: string, at: number): ImageError {
    return badInput(this.#name, `the JSON cannot be parsed: line ${this.#line}, position ${this.#offset + at}: ${what}`)
  }

  #tooDeep(at: number): ImageError {
    return new ImageError(
      'LIMIT',
      `${this.#name}: at position ${this.#offset + at} arrays and objects nest deeper than ${JSON_DEPTH_LIMIT} levels, the limit for JSON; is this the right file?`,
      { path: this.#name },
    )
  }

  #tooLong(): ImageError {
    return new ImageError(
      'LIMIT',
      `${this.#name}: at position ${this.#offset} a text or number is longer than ${JSON_TEXT_LIMIT} bytes, the limit for JSON; is this the right file?`,
      { path: this.#name },
    )
  }
}
