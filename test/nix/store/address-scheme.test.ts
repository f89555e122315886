/** The two ways to hash a path that refers to itself, and which is chosen. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type AddressVerdict, checkAddress } from '../../../src/nix/inspect/address.ts'
import { hashNar } from '../../../src/nix/nar/digest.ts'
import { narPieces } from '../../../src/nix/nar/serialize.ts'
import { type Replacement, replaceDependencies } from '../../../src/nix/rewrite/replace.ts'
import { type ContentAddressChoice, chosenScheme, schemeOfNix } from '../../../src/nix/store/address-scheme.ts'
import { type ContentAddressedPath, contentAddressed } from '../../../src/nix/store/content-address.ts'
import { formatSha256 } from '../../../src/nix/store/hash.ts'
import { loadClosure } from '../../../src/system/store.ts'
import type { TreeNode } from '../../../src/tree/tree.ts'
import { failure } from '../scratch.ts'
import { base, closureFrom, file, folder, link, type Sample } from '../store-samples.ts'

const OWN = base('self')
const TREE = folder({ a: file(`/nix/store/${OWN}/a and /nix/store/${OWN}`), b: link(`/nix/store/${OWN}/a`), c: file('nothing') })
const PLAIN = folder({ c: file('nothing') })

function nar(tree: TreeNode): Buffer {
  const bytes = (piece: ReturnType<typeof narPieces> extends Iterable<infer P> ? P : never): Uint8Array => {
    if (!('kind' in piece)) return piece
    // Contents are in memory, some of them with patches.
    const content = piece.content
    if (content.kind === 'bytes') return content.bytes
    throw new Error(content.kind)
  }
  return Buffer.concat([...narPieces(tree)].map(bytes))
}

describe('the scheme', () => {
  it.each([
    [2, 8, 'positions'],
    [2, 16, 'positions'],
    [2, 17, 'zeros'],
    [2, 34, 'zeros'],
    [2, 35, 'positions'],
    [3, 17, 'positions'],
  ] as const)('of Nix %d.%d is %s', (major, minor, scheme) => {
    expect(schemeOfNix(major, minor)).toBe(scheme)
  })

  it('is that of the newest Nix in the closure, and no other package counts', () => {
    const names = (...list: string[]): string[] => list.map(base)
    const of = (...list: string[]) => chosenScheme('auto', names(...list))
    expect(of()).toEqual({ scheme: 'positions', warning: undefined })
    expect(of('nix-diff-2.20', 'nix-store-2.20.1', 'unix-2.20', 'x-nix-2.20')).toEqual({ scheme: 'positions', warning: undefined })
    expect(of('nix-2.20.1', 'nix-2.34.8-man')).toEqual({ scheme: 'zeros', warning: undefined })
    expect(of('nix-2.100.0pre1')).toEqual({ scheme: 'positions', warning: undefined })
    expect(of('nix-2.9.2', 'nix-2.31.2')).toMatchObject({ scheme: 'zeros', warning: expect.stringMatching(/Nix 2\.31 and Nix 2\.9/) })
    expect(of('nix-2.36.0', 'nix-2.31.2')).toMatchObject({ scheme: 'positions', warning: expect.stringMatching(/Nix 2\.36 and Nix 2\.31/) })
    expect(chosenScheme('positions', names('nix-2.31.2'))).toEqual({ scheme: 'positions', warning: undefined })
  })
})

describe('a path that is made', () => {
  const at = (name: string): string => `/nix/store/${base(name)}`
  const samples = (...nix: string[]): Record<string, Sample> => {
    const names = ['lib-1', 'system', ...nix]
    const text = names.map((name) => `${at(name)}/x\n`).join('')
    const others = ['lib-1', 'lib-2', ...nix].map((name): [string, Sample] => [base(name), { tree: file(name), references: [] }])
    return Object.fromEntries([...others, [base('system'), { tree: folder({ init: file(text) }), references: names.map(base) }]])
  }
  async function replaced(store: Record<string, Sample>, replacements: readonly Replacement[], choice?: ContentAddressChoice) {
    const closure = await closureFrom(store)
    const options = { roots: [at('system')], replacements, ...(choice && { contentAddressScheme: choice }) }
    const result = await replaceDependencies(closure, (name) => (store[name] as Sample).tree, options)
    return { result, system: result.mapping.get(at('system')) }
  }
  const LIB = { oldPath: at('lib-1'), newPath: at('lib-2') }

  it('is for the Nix that the closure has afterwards', async () => {
    const none = await replaced(samples(), [LIB])
    expect([none.result.contentAddressScheme, none.system]).toEqual(['positions', (await replaced(samples(), [LIB], 'positions')).system])
    expect((await replaced(samples(), [LIB], 'zeros')).system).not.toBe(none.system)
    const newer = samples('nix-2.34.8')
    expect((await replaced(newer, [LIB])).result).toMatchObject({ contentAddressScheme: 'zeros', warnings: [] })
    newer[base('nix-2.35.2')] = { tree: file('nix'), references: [] }
    const both = await replaced(newer, [LIB, { oldPath: at('nix-2.34.8'), newPath: at('nix-2.35.2') }])
    expect(both.result).toMatchObject({ contentAddressScheme: 'positions', warnings: [] })
    const mixed = await replaced(samples('nix-2.34.8', 'nix-2.35.2'), [LIB])
    expect(mixed.result).toMatchObject({ contentAddressScheme: 'positions', warnings: [expect.stringMatching(/Nix 2\.35 and Nix 2\.34/)] })
  })

  it('is needed where a scheme is named', async () => {
    const input = { closure: '/none', contentAddressScheme: 'zeros' } as const
    await failure(() => loadClosure(input), 'USAGE', /no store path is made here: that needs replacements or toplevelSpec/)
  })
})

describe('paths that refer to themselves', () => {
  const make = (scheme: 'positions' | 'zeros', tree: TreeNode = TREE, refersToItself?: boolean): Promise<ContentAddressedPath> =>
    contentAddressed({
      name: 'self',
      tree,
      references: [],
      selfReference: OWN,
      scheme,
      ...(refersToItself !== undefined && { refersToItself }),
    })
  const verdict = async ({ baseName, ca, references, tree }: ContentAddressedPath): Promise<AddressVerdict> =>
    checkAddress({ baseName, ca, references, node: tree, narHash: (await hashNar(tree, baseName)).hash })

  it('are hashed with zeros in their own place, and with the positions of these where that is the scheme', async () => {
    const bytes = nar(TREE)
    const positions: number[] = []
    for (let at = bytes.indexOf(OWN.slice(0, 32)); at !== -1; at = bytes.indexOf(OWN.slice(0, 32), at)) {
      positions.push(at)
      bytes.fill(0, at, at + 32)
    }
    expect(positions).toHaveLength(3)
    const expected = (end: string): string => `fixed:r:${formatSha256(createHash('sha256').update(bytes).update(end).digest())}`
    expect((await make('zeros')).ca).toBe(expected(''))
    expect((await make('positions')).ca).toBe(expected(positions.map((position) => `|${position}`).join('')))
  })

  it.each(['positions', 'zeros'] as const)(
    'are right with %s, whichever way they are registered, and wrong with other content',
    async (scheme) => {
      for (const refersToItself of [true, false]) {
        const made = await make(scheme, TREE, refersToItself)
        expect(await verdict(made)).toEqual({ kind: 'right', scheme })
        const other = { ...made, tree: folder({ a: file(`/nix/store/${made.baseName}`) }) }
        expect(await verdict(other)).toMatchObject({ kind: 'wrong', message: expect.stringMatching(/sha256:[0-9a-z]{52} or sha256:/) })
      }
    },
  )

  it('have one address where they do not hold their own name', async () => {
    for (const refersToItself of [true, false]) {
      const [one, other] = [await make('positions', PLAIN, refersToItself), await make('zeros', PLAIN, refersToItself)]
      expect(one.path).toBe(other.path)
      expect(await verdict(one)).toEqual({ kind: 'right' })
    }
  })
})
