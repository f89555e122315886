/** JSON that is read piece by piece: the values of JSON.parse, and nothing that is no JSON, in bounded memory. */
import { describe, expect, it } from 'vitest'
import { parseJson, readJson } from '../../src/json/parse.ts'
import { JSON_DEPTH_LIMIT, JsonReader } from '../../src/json/reader.ts'
import { randomNumbers } from '../faults/support.ts'
import { chunksOf } from '../nix/nar/words.ts'
import { failure } from '../nix/scratch.ts'

const parse = (text: string | Uint8Array): unknown => parseJson(Buffer.from(text), 'x.json')

/** In pieces of `size` bytes. */
function parsePieces(text: string, size: number): unknown {
  const bytes = Buffer.from(text)
  const reader = new JsonReader('x.json')
  for (let start = 0; start < bytes.length; start += size) reader.add(bytes.subarray(start, start + size))
  return reader.finish()
}

const GOOD = [
  'null',
  ' true\n',
  'false',
  '0',
  '-0',
  '-0.5e-3',
  '1E+400',
  '123456789012345678901234567890',
  '""',
  '"a\\"b\\\\c\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\\ud83d"',
  '"é\u2028😀"',
  '[]',
  '{}',
  '[[],{},[{}]]',
  '{"a":1,"":2,"b":{"a":[1,"2",null]},"10":1,"9":2}',
  '{"__proto__":{"a":1},"constructor":2,"toString":3}',
  '\ufeff[1]',
  ' \t\r\n[ 1 , 2 ]\r\n',
]

const BAD = [
  '',
  ' ',
  'nul',
  'nulll',
  'True',
  'NaN',
  'Infinity',
  '+1',
  '01',
  '1.',
  '.5',
  '1e',
  '0x1',
  '1 2',
  '--1',
  '"',
  '"a',
  "'a'",
  '"\\x"',
  '"\\u12"',
  '"\n"',
  '"\u0000"',
  '[',
  ']',
  '[1',
  '[1,',
  '[1,]',
  '[,1]',
  '[1 2]',
  '[1}',
  '{',
  '{]',
  '{"a"',
  '{"a":',
  '{"a":1',
  '{"a":1,',
  '{"a":1,}',
  '{"a" 1}',
  '{"a":1 "b":2}',
  '{a:1}',
  '{1:1}',
  '{"a",1}',
  '[1]]',
  '[]x',
  '/* */[]',
  '[\u00a0]',
  '\ufeff\ufeff[]',
]

describe('JSON', () => {
  it.each(GOOD)('takes %j', (text) => {
    const plain = text.replace(/^\ufeff/, '')
    expect(parse(text)).toEqual(JSON.parse(plain))
    for (const size of [1, 2, 3, 5, 7]) expect(JSON.stringify(parsePieces(text, size))).toBe(JSON.stringify(JSON.parse(plain)))
  })

  it.each(BAD)('refuses %j', async (text) => {
    expect(() => JSON.parse(text.replace(/^\ufeff(?!\ufeff)/, ''))).toThrow(SyntaxError)
    await failure(() => parse(text), 'BAD_INPUT', /^x\.json: the JSON (cannot be parsed: line \d+, position \d+: |is not valid UTF-8)/)
    for (const size of [1, 2, 3, 5]) await failure(() => parsePieces(text, size), 'BAD_INPUT', /^x\.json: /)
  })

  it('says where it stops to be JSON', async () => {
    await failure(() => parse('{"a": 1,\n "b" 2}'), 'BAD_INPUT', /line 2, position 14: '2' stands where ':' should be/)
    await failure(() => parse('[1, tru]'), 'BAD_INPUT', /line 1, position 4: 'tru' is no value/)
    await failure(() => parse('["a\tb"]'), 'BAD_INPUT', /position 3: the control character 0x09/)
    await failure(() => parse(Buffer.from([0x5b, 0x22, 0xc3, 0x28, 0x22, 0x5d])), 'BAD_INPUT', /not valid UTF-8, in the text at position 1/)
    await failure(() => parse('{"a": {"b": 1,\n"\\u0062": 2}}'), 'BAD_INPUT', /^x\.json:2: 'b' stands twice in the same object/)
  })

  it('agrees with JSON.parse on random documents, whole and changed, in pieces', () => {
    const next = randomNumbers(11)
    const pick = <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)] as T
    let serial = 0
    const value = (level: number): unknown => {
      const kind = Math.floor(next() * (level > 4 ? 4 : 6))
      if (kind === 0) return pick([true, false, null])
      if (kind === 1) return pick([0, -1, 1.5, 1e300, -2.5e-9, Math.floor(next() * 1e15)])
      if (kind < 4) return pick(['', 'text', 'é"\\\n', '😀', '\u007f\u0001', 'x'.repeat(40)])
      const members = Array.from({ length: Math.floor(next() * 5) }, () => value(level + 1))
      return kind === 4
        ? members
        : Object.fromEntries(members.map((member) => [`${pick(['a', 'é', '"', '__proto__x'])}${serial++}`, member]))
    }
    let refused = 0
    for (let round = 0; round < 1500; round++) {
      let text = JSON.stringify(value(0), null, pick([0, 1]))
      if (round % 3 > 0) {
        const at = Math.floor(next() * text.length)
        // Half of a pair of surrogates cannot be written.
        text =
          `${text.slice(0, at)}${pick(['', '"', ',', '}', ']', '[', '{', ':', '0', ' ', 'e', '\\'])}${text.slice(at + pick([0, 1]))}`.toWellFormed()
      }
      let expected: string | undefined
      try {
        expected = JSON.stringify(JSON.parse(text))
      } catch {
        refused++
      }
      let actual: string | undefined
      try {
        actual = JSON.stringify(parsePieces(text, 1 + Math.floor(next() * 20)))
      } catch (error) {
        // A change may have made a name stand twice, which JSON.parse does not see.
        if (String(error).includes('stands twice')) continue
      }
      expect(actual, text).toBe(expected)
    }
    expect(refused).toBeGreaterThan(300)
  })

  it('nests so deep and no deeper, whatever it is in', async () => {
    const nested = (levels: number, open: string, close: string): string => `${open.repeat(levels)}1${close.repeat(levels)}`
    for (const [open, close] of [
      ['[', ']'],
      ['{"a":', '}'],
      [' [ {"b" :', '}]'],
    ] as const) {
      const perTurn = close.length
      const allowed = nested(JSON_DEPTH_LIMIT / perTurn, open, close)
      expect(JSON.stringify(parse(allowed))).toBe(JSON.stringify(JSON.parse(allowed)))
      await failure(
        () => parse(nested(JSON_DEPTH_LIMIT / perTurn + 1, open, close)),
        'LIMIT',
        /^x\.json: at position \d+ .* deeper than 256 levels/,
      )
    }
    await failure(() => parse('['.repeat(3_000_000)), 'LIMIT', /^x\.json: at position 256 /)
  })

  it('stops to read where it is too deep, and where a text has no end', async () => {
    const never = async (piece: string, code: 'LIMIT', message: RegExp): Promise<number> => {
      let sent = 0
      async function* endless(): AsyncGenerator<Uint8Array> {
        yield Buffer.from('["')
        const bytes = Buffer.from(piece.repeat(1 << 16))
        for (; ; sent += bytes.length) yield bytes
      }
      await failure(() => readJson(endless(), 'x.json', async () => undefined), code, message)
      return sent
    }
    expect(await never('x', 'LIMIT', /at position 1 a text or number is longer than 67108864 bytes/)).toBeLessThan(200e6)
    expect(await never('",["', 'LIMIT', /nest deeper/)).toBeLessThan(1e6)
  })

  it('takes no more than its size', async () => {
    await failure(() => parseJson(Buffer.alloc(11, 0x20), 'x.json', 10), 'LIMIT', /^x\.json: larger than 10 bytes, the limit for/)
    expect(await readJson(chunksOf(Buffer.from('[1, 2]')), 'x.json', async () => undefined)).toEqual([1, 2])
  })
})
