import { describe, expect, it } from 'vitest'
import { quote } from '../../../src/bytes/text.ts'
import { baseNameFault, parseStorePath, sortNames } from '../../../src/nix/store/store-path.ts'
import { failure } from '../scratch.ts'

const HASH = '0i1iyxzw07dws2jlvl51523lsq3zaslp'

describe('store paths', () => {
  it.each(['hello-2.12', 'a', '.hidden', '...', '-', 'x.drv', '+-._?=AZaz09', 'n'.repeat(211)])('takes the name %j', (name) => {
    expect(parseStorePath(`/nix/store/${HASH}-${name}`, 'list:1')).toBe(`${HASH}-${name}`)
  })

  it.each([
    ['', /list:7: '' is not a path below \/nix\/store/],
    ['/nix/store', /not a path below/],
    ['/nix/store/', /begins with 32 hash digits/],
    [`/gnu/store/${HASH}-x`, /not a path below/],
    [`nix/store/${HASH}-x`, /not a path below/],
    [` /nix/store/${HASH}-x`, /not a path below/],
    [`/nix/store/../store/${HASH}-x`, /begins with 32 hash digits/],
    [`/nix/store//${HASH}-x`, /hash digits|begins with 32/],
    ['/nix/store/..', /begins with 32/],
    [`/nix/store/${HASH}`, /begins with 32/],
    [`/nix/store/${HASH}-`, /name is empty/],
    [`/nix/store/${HASH.slice(1)}-x`, /begins with 32/],
    [`/nix/store/${HASH}0-x`, /begins with 32/],
    [`/nix/store/${HASH.toUpperCase()}-x`, /hash part has digits/],
    [`/nix/store/${HASH.replace('0', 'e')}-x`, /hash part has digits/],
    [`/nix/store/${HASH}-x/y`, /holds '\/'/],
    [`/nix/store/${HASH}-x/`, /holds '\/'/],
    [`/nix/store/${HASH}-../../etc/passwd`, /holds '\/'/],
    [`/nix/store/${HASH}-.`, /may not be/],
    [`/nix/store/${HASH}-..`, /may not be/],
    [`/nix/store/${HASH}-.-x`, /may not be/],
    [`/nix/store/${HASH}-..-x`, /may not be/],
    [`/nix/store/${HASH}-a b`, /holds ' '/],
    [`/nix/store/${HASH}-a\0b`, /holds '\\x00'/],
    [`/nix/store/${HASH}-a\nb`, /holds '\\x0a'/],
    [`/nix/store/${HASH}-é`, /holds 'é'/],
    [`/nix/store/${HASH}-😀`, /holds '😀'/],
    [`/nix/store/${HASH}-${'n'.repeat(212)}`, /212 bytes long, the limit is 211/],
  ])('refuses %j, naming the place', async (text, message) => {
    const error = await failure(() => parseStorePath(text, 'list:7'), 'BAD_INPUT', message)
    expect(error.message.startsWith('list:7: ')).toBe(true)
  })

  it('lets a name through exactly when all its parts are right', () => {
    const legal = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?='
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code)
      expect(baseNameFault(`${HASH}-x${character}`) === undefined, `code ${code}`).toBe(legal.includes(character))
    }
  })

  it('sorts by bytes', () => {
    expect(sortNames(['b', 'a-', 'B', 'a', 'a.'])).toEqual(['B', 'a', 'a-', 'a.', 'b'])
  })

  it('quotes foreign text in one short line', () => {
    expect(quote('a\x1b[31m\n')).toBe(`'a\\x1b[31m\\x0a'`)
    expect(quote('x'.repeat(1e6)).length).toBeLessThan(130)
  })
})
