/**
 * Long names and their 8.3 aliases (fatgen103, "FAT Long Directory Entries", "Name Limits and Character
 * Sets", "The Basis-Name Generation Algorithm", "The Numeric-Tail Generation Algorithm").
 *
 * A name that is an upper-case 8.3 name has a short entry only. Every other name has long entries, also
 * where the lower-case flags of Windows NT would do: mtools, Linux and edk2 read those flags, but older
 * firmware and boot loaders do not, and all of them read long entries.
 */
import { printable } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { LONG_ENTRY_UNITS } from './disk.ts'

/** A name as its directory entries hold it. */
export interface FatName {
  readonly long: string
  /** 11 ASCII characters: 8 of the name, 3 of the extension, blank padded. */
  readonly short: string
  /** Long entries before the short one; 0 when the short name says it all. */
  readonly longEntryCount: number
}

const LONG_NAME_UNITS_LIMIT = 255

const FORBIDDEN = '"*/:<>?\\|'
/** fatgen103, "Short Directory Entries": 8 characters, a dot, 3 characters. */
const SHORT_NAME = /^([\w$%'@~`!(){}^#&-]{1,8})(?:\.([\w$%'@~`!(){}^#&-]{1,3}))?$/
const NO_SHORT_CHARACTER = /[^\w$%'@~`!(){}^#&-]/gu

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The UTF-16 text of a name. Throws UNSUPPORTED for names that no FAT driver would open again and LIMIT
 * for those that are too long; `directory` is the path of the directory, for the message.
 */
export function decodeName(name: Uint8Array, directory: string): string {
  const where = `fat: ${directory === '/' ? '' : directory}/${printable(name)}`
  const unsupported = (what: string) =>
    new ImageError('UNSUPPORTED', `${where}: ${what}; rename it or put it on another file system`, { path: where.slice(5) })
  let text: string
  try {
    text = decoder.decode(name)
  } catch {
    throw unsupported('the name is not UTF-8, FAT holds UTF-16 names')
  }
  if (text === '' || text === '.' || text === '..') throw unsupported('this is no name of a file')
  for (const character of text) {
    if (character < ' ') throw unsupported('the name holds a control character, FAT allows none')
    if (FORBIDDEN.includes(character)) throw unsupported(`the name holds '${character}', FAT allows none of ${FORBIDDEN}`)
  }
  if (text.endsWith('.') || text.endsWith(' ')) throw unsupported('the name ends with a dot or a blank, which FAT drivers cut off')
  if (text.length > LONG_NAME_UNITS_LIMIT) {
    throw new ImageError('LIMIT', `${where}: the name has ${text.length} UTF-16 units, FAT allows ${LONG_NAME_UNITS_LIMIT}; shorten it`, {
      path: where.slice(5),
    })
  }
  return text
}

/** Two names of a directory with the same key are one name to FAT, which ignores case. */
export function caseKey(text: string): string {
  let key = ''
  for (const character of text) {
    const upper = character.toUpperCase()
    // Drivers map one unit to one unit: sharp s stays itself and does not become SS.
    key += upper.length === character.length ? upper : character
  }
  return key
}

/**
 * The directory's names with their aliases, in the order given. The alias of a name that is 8.3 but for
 * its case is that very name; the others get ~1, ~2 ... in order. No alias equals another name or alias.
 */
export function assignShortNames(names: readonly string[]): FatName[] {
  const taken = new Set<string>()
  const short = names.map((name) => {
    const exact = exactShortName(name)
    if (exact !== undefined) taken.add(exact)
    return exact
  })
  const tails = new TailCounter(taken)
  return names.map((long, i) => {
    const alias = short[i] ?? tails.next(long)
    const isShort = joinShortName(alias) === long
    return { long, short: alias, longEntryCount: isShort ? 0 : Math.ceil(long.length / LONG_ENTRY_UNITS) }
  })
}

/** `ChkSum()` of fatgen103: it ties long entries to their short one. */
export function shortNameChecksum(short: string): number {
  let sum = 0
  for (let i = 0; i < short.length; i++) sum = (((sum & 1) << 7) + (sum >> 1) + short.charCodeAt(i)) & 0xff
  return sum
}

/** `FOO     TXT` as `FOO.TXT`. */
function joinShortName(short: string): string {
  const base = short.slice(0, 8).trimEnd()
  const extension = short.slice(8).trimEnd()
  return extension === '' ? base : `${base}.${extension}`
}

/** The 11 characters when the name, in upper case, is an 8.3 name; undefined otherwise. */
function exactShortName(name: string): string | undefined {
  const match = SHORT_NAME.exec(name)
  return match === null ? undefined : asciiUpper(match[1] ?? '').padEnd(8) + asciiUpper(match[2] ?? '').padEnd(3)
}

/** Only ASCII: the alias of a name must not hang on the Unicode tables of the runtime. */
function asciiUpper(text: string): string {
  return text.replace(/[a-z]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) - 32))
}

/** The part of a name that an alias can hold: no blanks, one dot at most, `_` for what is not allowed. */
function basisName(name: string): { base: string; extension: string } {
  const text = name.replaceAll(' ', '').replace(/^\.+/, '')
  const dot = text.lastIndexOf('.')
  const clean = (part: string) => asciiUpper(part.replaceAll('.', '')).replace(NO_SHORT_CHARACTER, '_')
  if (dot < 0) return { base: clean(text), extension: '' }
  return { base: clean(text.slice(0, dot)), extension: clean(text.slice(dot + 1)).slice(0, 3) }
}

/**
 * Numeric tails, lowest first. Remembers where it was, so that 65,000 like names take linear time. Six
 * digits are the most that fatgen103 allows, and a directory cannot hold as many names.
 */
class TailCounter {
  readonly #taken: Set<string>
  readonly #next = new Map<string, number>()

  constructor(taken: Set<string>) {
    this.#taken = taken
  }

  next(long: string): string {
    const { base, extension } = basisName(long)
    for (let digits = 1, low = 1; ; digits++, low *= 10) {
      const prefix = base.slice(0, 7 - digits)
      const counter = `${prefix}~${digits}.${extension}`
      let number = this.#next.get(counter) ?? low
      while (number < low * 10) {
        const alias = `${prefix}~${number}`.padEnd(8) + extension.padEnd(3)
        number++
        if (this.#taken.has(alias)) continue
        this.#taken.add(alias)
        this.#next.set(counter, number)
        return alias
      }
      this.#next.set(counter, number)
    }
  }
}
