/**
 * Names of file systems with `utf8only`, `normalization` or `casesensitivity` (OpenZFS `module/zfs/zap_micro.c`,
 * `zap_normalize`, and `module/unicode/u8_textprep.c`): directories are hashed by names in a normal form, so this must
 * be the form that OpenZFS finds.
 *
 * It knows Unicode 5.0, and composes runs of marks in its own way. So names are taken only when they are of characters
 * that were in 5.0 and have not changed, or never had another form, and marks stand where both ways are the same: each
 * character, every pair with a letter and some hundred thousand random names were compared with OpenZFS's own code.
 */

import type { Problem } from '../../../tree/limits.ts'
import { UPPER_CASE } from '../constants.ts'

export interface NameRules {
  readonly isUtf8Only: boolean
  /** `U8_TEXTPREP_NF*`, or 0. */
  readonly normalization: number
  /** `zfs_case_t`: 0 sensitive, 1 insensitive, 2 mixed. */
  readonly caseSensitivity: number
}

const FORMS: Readonly<Record<number, 'NFC' | 'NFD' | 'NFKC' | 'NFKD'>> = { 16: 'NFD', 32: 'NFKD', 80: 'NFC', 96: 'NFKC' }
const CASE_INSENSITIVE = 1
/** `ZAP_MAXNAMELEN`, which includes a zero byte. */
const FORM_SIZE_MAXIMUM = 255
const ASCII_END = 0x80

/** First and last characters of ranges; see above. */
const RANGES: readonly (readonly [first: number, last: number])[] = [
  // Latin, but for letters that have got capitals since.
  [0x01, 0x19a],
  [0x19c, 0x23e],
  [0x241, 0x24f],
  // Modifiers, and marks but for those that fall apart into others.
  [0x2b0, 0x33f],
  [0x342, 0x342],
  [0x346, 0x36f],
  // Greek, Cyrillic, Armenian, Hebrew, Arabic, Devanagari, Thai.
  [0x384, 0x38a],
  [0x38c, 0x38c],
  [0x38e, 0x3a1],
  [0x3a3, 0x3ce],
  [0x400, 0x486],
  [0x488, 0x513],
  [0x531, 0x556],
  [0x559, 0x55f],
  [0x561, 0x587],
  [0x591, 0x5c7],
  [0x5d0, 0x5ea],
  [0x621, 0x63a],
  [0x640, 0x65e],
  [0x660, 0x6ff],
  [0x904, 0x939],
  [0x93c, 0x94d],
  [0xe01, 0xe3a],
  [0xe3f, 0xe5b],
  // Latin with marks, for Vietnamese and others.
  [0x1e00, 0x1e9b],
  [0x1ea0, 0x1ef9],
  // Punctuation, numbers, signs, arrows, frames.
  [0x2000, 0x2063],
  [0x2070, 0x2071],
  [0x2074, 0x208e],
  [0x20a0, 0x20b5],
  [0x2100, 0x214e],
  [0x2153, 0x2184],
  [0x2190, 0x23e7],
  [0x2460, 0x269c],
  // Chinese, Japanese, Korean.
  [0x3000, 0x303f],
  [0x3041, 0x3096],
  [0x3099, 0x30ff],
  [0x4e00, 0x9fbb],
  [0xac00, 0xd7a3],
  [0xfb00, 0xfb06],
  [0xfe00, 0xfe0f],
  [0xff01, 0xff9d],
  // Pictures.
  [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6c5],
  [0x1f900, 0x1f9ff],
]
const MARK = /^\p{M}$/u
/** So many may stand behind a letter that is whole itself. */
const MARKS_MAXIMUM = 2

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

/** What ZAPs of directories note and hash by. */
export function normalizationFlags({ normalization, caseSensitivity }: NameRules): number {
  return normalization | (caseSensitivity === 0 ? 0 : UPPER_CASE)
}

/** The form of a name by which it is hashed. The name is one that `rulesProblem` has no fault with. */
export function normalForm(name: Uint8Array, flags: number): Uint8Array {
  if (flags === 0) return name
  const isUpper = (flags & UPPER_CASE) !== 0
  if (isAscii(name)) return isUpper ? name.map((byte) => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte)) : name
  const text = decoder.decode(name)
  const form = FORMS[flags & ~UPPER_CASE]
  const cased = isUpper ? [...text].map(upperCase).join('') : text
  return encoder.encode(form === undefined ? cased : cased.normalize(form))
}

/** The form of a name that no other name of its directory may have; on mixed file systems names may differ by case. */
export function uniqueForm(name: Uint8Array, rules: NameRules): Uint8Array {
  const isFolded = rules.caseSensitivity === CASE_INSENSITIVE
  return normalForm(name, rules.normalization | (isFolded ? UPPER_CASE : 0))
}

/** What is wrong with a name under the rules. */
export function rulesProblem(name: Uint8Array, rules: NameRules): Problem | undefined {
  if (isAscii(name)) return undefined
  const flags = normalizationFlags(rules)
  const text = decoded(name)
  if (text === undefined && rules.isUtf8Only) return { code: 'USAGE', message: 'the name is not UTF-8, and its dataset has utf8only=on' }
  if (flags === 0) return undefined
  const where = 'and its dataset is not case sensitive or normalizes names; rename it, or leave those properties at their defaults'
  if (text === undefined) return { code: 'UNSUPPORTED', message: `the name is not UTF-8, ${where}` }
  const character = doubtfulCharacter(text)
  if (character !== undefined) {
    const number = character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')
    return { code: 'UNSUPPORTED', message: `this writer cannot be sure how ZFS compares U+${number} at its place in the name, ${where}` }
  }
  const { length } = normalForm(name, flags)
  if (length <= FORM_SIZE_MAXIMUM) return undefined
  return { code: 'LIMIT', message: `the normalized name is ${length} bytes, ZFS allows ${FORM_SIZE_MAXIMUM}; shorten it` }
}

function doubtfulCharacter(text: string): string | undefined {
  // A letter that is whole can have marks, up to here.
  let marksLeft = 0
  for (const character of text) {
    const point = character.codePointAt(0) as number
    if (!RANGES.some(([first, last]) => point >= first && point <= last)) return character
    if (!MARK.test(character)) marksLeft = character.normalize('NFKD') === character ? MARKS_MAXIMUM : 0
    else if (marksLeft-- === 0) return character
  }
  return undefined
}

/** Of one character, when the capital is one too: `ß` has none. */
function upperCase(character: string): string {
  const upper = character.toUpperCase()
  return [...upper].length === 1 ? upper : character
}

function isAscii(name: Uint8Array): boolean {
  return name.every((byte) => byte < ASCII_END)
}

function decoded(name: Uint8Array): string | undefined {
  try {
    return decoder.decode(name)
  } catch {
    return undefined
  }
}
