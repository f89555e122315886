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

/** A name for people: UTF-8 as it is, anything else (and control characters) as `\xNN`. */
export function printable(name: Uint8Array): string {
  const text = decoder.decode(name)
  let plain = !text.includes('\ufffd')
  for (let i = 0; plain && i < text.length; i++) if (text.charCodeAt(i) < 0x20 || text.charCodeAt(i) === 0x7f) plain = false
  if (plain) return text
  let out = ''
  for (const byte of name) out += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`
  return out
}
