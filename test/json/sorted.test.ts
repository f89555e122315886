/** JSON as jq sorts and prints it; boot.json by its rules. */
import { describe, expect, it } from 'vitest'
import { sortedJson } from '../../src/json/sorted.ts'
import { bootDocument, formatBootJson } from '../../src/system/boot-json.ts'
import { failure } from '../nix/scratch.ts'
import { oracle, runOk } from '../oracles/tools.ts'

const SAMPLES: readonly unknown[] = [
  {},
  [],
  { b: 1, a: [1, -2, 0, 9_007_199_254_740_991], '': null, B: true, 'a b': 'c' },
  { nested: { deep: [{ z: {}, a: [] }, [[]], 'x'] } },
  // The order is that of UTF-8, in which U+FF5E comes before U+1F600, whose UTF-16 begins with D83D.
  { '\uff5e': 1, '\u{1f600}': 2, é: 3, e: 4, '\u007f': 5 },
  { text: '\u0000\u0001\b\t\n\u000b\f\r\u001f "\\/<>&\u007f\u0080\u2028\u{1f600}é' },
]

describe('sorted JSON', () => {
  it.skipIf(oracle('jq').skip)('has the bytes that jq prints', () => {
    for (const sample of SAMPLES) {
      const byJq = runOk('jq', ['--sort-keys', '.'], { input: Buffer.from(JSON.stringify(sample)) }).stdout
      expect(sortedJson(sample, ''), JSON.stringify(sample)).toBe(byJq.toString())
    }
    // What is sorted another way is seen.
    expect(sortedJson({ a: 1, b: 2 }, '')).not.toBe(runOk('jq', ['.'], { input: Buffer.from('{"b":2,"a":1}') }).text)
  })

  it('has two blanks a level and a newline at the end', () => {
    expect(sortedJson({ b: [1], a: {} }, '')).toBe('{\n  "a": {},\n  "b": [\n    1\n  ]\n}\n')
  })

  it.each([0.5, 1e300, -0, 2 ** 53, Number.NaN])('refuses %s, of which versions of jq print different things', async (value) => {
    await failure(() => sortedJson({ a: [value] }, 'x'), 'UNSUPPORTED', /^x\.a\[0\]: is .*write it as text/)
  })

  it('refuses what JSON has not, and what jq does not read', async () => {
    await failure(() => sortedJson({ a: undefined }, 'x'), 'BAD_INPUT', /x\.a: JSON has no undefined/)
    let deep: unknown = []
    for (let level = 0; level < 300; level++) deep = [deep]
    await failure(() => sortedJson(deep, 'x'), 'LIMIT', /nests deeper/)
  })
})

describe('boot.json', () => {
  const own = `/nix/store/${'0'.repeat(32)}-nixos-system-x`
  const fields = { system: 'x86_64-linux', label: 'x', kernel: `${own}/kernel`, kernelParams: [], init: `${own}/init`, toplevel: own }
  const plain = { fields, specialisations: new Map(), extensions: {} }

  it('has the official keys and the extensions', () => {
    const text = Buffer.from(formatBootJson(bootDocument({ ...plain, extensions: { 'a.b': { c: 1 } } }, 'x'), 'x')).toString()
    expect(JSON.parse(text)).toEqual({ 'org.nixos.bootspec.v1': fields, 'org.nixos.specialisation.v1': {}, 'a.b': { c: 1 } })
    expect(text.indexOf('"a.b"')).toBeLessThan(text.indexOf('"org.nixos.bootspec.v1"'))
  })

  it.each(['org.nixos.bootspec.v1', 'org.nixos.bootspec.v2', 'org.nixos.specialisation.v1'])('keeps %s for itself', async (key) => {
    await failure(() => bootDocument({ ...plain, extensions: { [key]: {} } }, 'x'), 'BAD_INPUT', /belongs to bootspec itself/)
  })

  it('is read as it will be read', async () => {
    const broken = { ...plain, fields: { ...fields, kernel: '/boot/kernel' } }
    await failure(() => formatBootJson(bootDocument(broken, 'x'), 'x'), 'BAD_INPUT', /"kernel" is '\/boot\/kernel', not a path below/)
    await failure(() => bootDocument({ ...plain, extensions: { a: 1 } }, 'x'), 'BAD_INPUT', /is no object/)
  })

  it('has one level of specialisations', async () => {
    const child = bootDocument(plain, 'x')
    const parent = bootDocument({ ...plain, specialisations: new Map([['a', child]]) }, 'x')
    expect(formatBootJson(parent, 'x').length).toBeGreaterThan(0)
    const grandparent = bootDocument({ ...plain, specialisations: new Map([['b', parent]]) }, 'x')
    await failure(() => formatBootJson(grandparent, 'x'), 'BAD_INPUT', /'b' has specialisations of its own/)
  })
})
