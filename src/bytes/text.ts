/** Text encodings of on-disk fields. */
import { ImageError } from '../errors.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8')

export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** ASCII bytes; throws LIMIT when a character lies outside. `what` names the field in the message. */
export function ascii(text: string, what: string): Uint8Array {
  for (const character of text) {
    if (character.charCodeAt(0) > 0x7f) throw new ImageError('LIMIT', `${what} '${text}' holds '${character}', only ASCII is possible`)
  }
  return encoder.encode(text)
}

/** UTF-16 code units, little or big endian. */
export function utf16(text: string, order: 'le' | 'be'): Uint8Array {
  const bytes = Buffer.from(text, 'utf16le')
  return new Uint8Array(order === 'be' ? bytes.swap16() : bytes)
}

/**
 * What a terminal obeys, or what makes a line look like another one: control characters, line and paragraph separators, marks
 * that turn the direction of text (UAX #9), lone surrogates.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Bidi_Control}\u2028\u2029]/gu

/** Text of any origin for people, as one line: what is not to be printed as `\xNN` where it is ASCII, else as `\uNNNN`. */
export function printableText(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x80 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`
  })
}

/** A name for people: UTF-8 as `printableText` has it, of anything else all bytes but those of printable ASCII as `\xNN`. */
export function printable(name: Uint8Array): string {
  const text = decoder.decode(name)
  if (!text.includes('\ufffd')) return printableText(text)
  let out = ''
  for (const byte of name) out += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${hex(byte, 2)}`
  return out
}

/** JSON that is safe to show: outside of ASCII it may hold what JSON lets stand, but a terminal does not. */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(UNPRINTABLE, (character) =>
    character === '\n' ? character : `\\u${hex(character.charCodeAt(0), 4)}`,
  )
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

/** Text of unknown origin for a message: in quotes, as `printableText` has it, at most 120 characters. */
export function quote(text: string): string {
  return `'${printableText(text.length > 120 ? `${text.slice(0, 117)}...` : text)}'`
}
