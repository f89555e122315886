import { describe, expect, it } from 'vitest'
import { printable, printableJson, printableText, utf8 } from '../../src/bytes/text.ts'

/** By number: C0, DEL and C1, marks of direction, separators of lines, surrogates. */
const FORBIDDEN: readonly (readonly [number, number])[] = [
  [0x00, 0x1f],
  [0x7f, 0x9f],
  [0x061c, 0x061c],
  [0x200e, 0x200f],
  [0x2028, 0x202e],
  [0x2066, 0x2069],
  [0xd800, 0xdfff],
]

const isForbidden = (code: number): boolean => FORBIDDEN.some(([first, last]) => code >= first && code <= last)

describe('what is printed', () => {
  it('is printable, whichever character it holds, and else as it is', () => {
    for (let code = 0; code < 0x11000; code++) {
      const character = String.fromCodePoint(code)
      const shown = printableText(`a${character}b`)
      const digits = code.toString(16).padStart(code < 0x80 ? 2 : 4, '0')
      if (shown !== (isForbidden(code) ? `a\\${code < 0x80 ? 'x' : 'u'}${digits}b` : `a${character}b`)) throw new Error(digits)
    }
  })

  it('has whole characters beside half ones', () => {
    expect(printableText('\u{1f600}\ud83d \ude00')).toBe('\u{1f600}\\ud83d \\ude00')
  })

  it('names bytes that are no UTF-8', () => {
    expect(printable(utf8('é\x1b[2J\u202e\u009b'))).toBe('é\\x1b[2J\\u202e\\u009b')
    expect(printable(Uint8Array.of(0x61, 0x9b, 0xff))).toBe('a\\x9b\\xff')
  })

  it('is the same JSON', () => {
    const value = { 'a\u009b\x7f\n\u202e': ['\ud800', '\u2028', 'é', '\\u202e'] }
    for (const indent of [undefined, 2]) {
      const text = printableJson(value, indent)
      expect(JSON.parse(text)).toEqual(value)
      expect([...text].filter((character) => character !== '\n' && isForbidden(character.codePointAt(0) ?? 0))).toEqual([])
      expect(text.split('\n')).toHaveLength(indent === undefined ? 1 : 8)
    }
  })
})
