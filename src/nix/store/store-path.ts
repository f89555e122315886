/** Store paths: `/nix/store/<32 nix32 digits>-<name>` (Nix manual, "Store Path"; `libstore/path.cc`). */
import { quote } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { NIX32_ALPHABET } from './hash.ts'

/** The one store directory; an image of another is not supported. */
export const STORE_DIRECTORY = '/nix/store'

/** What every store path begins with. */
const PREFIX = `${STORE_DIRECTORY}/`

/** Digits of the hash part: 160 bits. */
export const HASH_PART_LENGTH = 32

/** Longest name in bytes, so that name, hash part, `-` and `.drv.chroot` fit a file name of 255. */
export const NAME_LIMIT = 211

const HASH_PART = new RegExp(`^[${NIX32_ALPHABET}]{${HASH_PART_LENGTH}}$`)

/** Why `baseName` cannot be an entry of the store, or undefined if it can. */
export function baseNameFault(baseName: string): string | undefined {
  if (baseName.length <= HASH_PART_LENGTH || baseName[HASH_PART_LENGTH] !== '-') {
    return `a store path's name begins with ${HASH_PART_LENGTH} hash digits and '-'`
  }
  if (!HASH_PART.test(baseName.slice(0, HASH_PART_LENGTH))) {
    return `its hash part has digits that are not among ${NIX32_ALPHABET}`
  }
  const name = baseName.slice(HASH_PART_LENGTH + 1)
  if (name.length === 0) return 'its name is empty'
  const foreign = /[^0-9A-Za-z+\-._?=]/u.exec(name)
  if (foreign !== null) return `its name holds ${describeCharacter(foreign[0])}; letters, digits and + - . _ ? = are possible`
  if (name.length > NAME_LIMIT) return `its name is ${name.length} bytes long, the limit is ${NAME_LIMIT}`
  if (/^\.\.?(-|$)/.test(name)) return `its name may not be '.' or '..' or begin with '.-' or '..-'`
  return undefined
}

/**
 * The base name of a full store path. Throws BAD_INPUT; `where` (a file and line, or what names the path)
 * begins the message.
 */
export function parseStorePath(text: string, where: string): string {
  if (!text.startsWith(PREFIX)) {
    throw new ImageError('BAD_INPUT', `${where}: ${quote(text)} is not a path below ${STORE_DIRECTORY}`, { path: where })
  }
  return checkBaseName(text.slice(PREFIX.length), where)
}

/** The base name of a full store path, or undefined where `text` is none. */
export function baseNameOf(text: string): string | undefined {
  if (!text.startsWith(PREFIX)) return undefined
  const baseName = text.slice(PREFIX.length)
  return baseNameFault(baseName) === undefined ? baseName : undefined
}

/** `baseName` if it is a valid entry of the store; else throws BAD_INPUT. */
export function checkBaseName(baseName: string, where: string): string {
  const fault = baseNameFault(baseName)
  if (fault !== undefined) {
    throw new ImageError('BAD_INPUT', `${where}: ${quote(`${STORE_DIRECTORY}/${baseName}`)} is no store path: ${fault}`, { path: where })
  }
  return baseName
}

/** The full path of a base name. */
export function storePath(baseName: string): string {
  return `${STORE_DIRECTORY}/${baseName}`
}

/** The 32 digits by which files refer to a path. */
export function hashPart(baseName: string): string {
  return baseName.slice(0, HASH_PART_LENGTH)
}

/** The order of base names. They are ASCII, so the order of UTF-16 units is that of bytes. */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Digits of a hash part that fit a number exactly. */
const KEY_DIGITS = 7

/** The beginning of a valid base name as a number: where two differ, names are in the order of the numbers. */
export function hashPartKey(baseName: string): number {
  let key = 0
  for (let index = 0; index < KEY_DIGITS; index++) key = key * 128 + baseName.charCodeAt(index)
  return key
}

export function sortNames(names: readonly string[]): string[] {
  return [...names].sort(compareNames)
}

function describeCharacter(character: string): string {
  if (character === '/') return `'/', so it lies within a store path; a listing holds whole store paths`
  return quote(character)
}
