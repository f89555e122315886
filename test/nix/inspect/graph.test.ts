/** Sizes, chains of references and differences, as data. */
import { describe, expect, it } from 'vitest'
import { closureDifference } from '../../../src/nix/inspect/diff.ts'
import { packageName, pathByName } from '../../../src/nix/inspect/names.ts'
import { closureSizes } from '../../../src/nix/inspect/sizes.ts'
import { referenceChain, referenceChains } from '../../../src/nix/inspect/why.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { randomNumbers } from '../../faults/support.ts'
import { chunksOf } from '../nar/words.ts'
import { failure } from '../scratch.ts'
import { closureOf, pathOf } from './closures.ts'

/** a needs b and c; both need d, which needs h; b alone needs f; c refers to itself. g stands alone. */
const DIAMOND = ['a 96 > b c', 'b 104 > d f', 'c 112 > c d', 'd 120 > h', 'f 136', 'g 144', 'h 128']

describe('sizes', () => {
  it('of a path, with its closure, and what would go with it', async () => {
    const { narSize, paths } = await closureSizes(await closureOf(...DIAMOND))
    expect(narSize).toBe(96 + 104 + 112 + 120 + 128 + 136 + 144)
    const rows = paths.map(({ path, ...sizes }) => [path.slice(44), sizes.narSize, sizes.closureSize, sizes.addedSize, sizes.referrerCount])
    expect(rows).toEqual([
      ['a', 96, 696, 696, 0],
      ['b', 104, 488, 240, 1],
      ['c', 112, 360, 112, 1],
      ['d', 120, 248, 248, 2],
      ['f', 136, 136, 136, 1],
      ['g', 144, 144, 144, 0],
      ['h', 128, 128, 128, 1],
    ])
  })

  it('are those of leaving paths out and counting what is left, for random graphs', async () => {
    const next = randomNumbers(7)
    for (let round = 0; round < 40; round++) {
      const count = 2 + Math.floor(next() * 20)
      const name = (index: number): string => `p${String(index).padStart(2, '0')}`
      const edges = Array.from({ length: count }, (_, from) =>
        Array.from({ length: count }, (_, to) => to).filter((to) => to > from && next() < 2.5 / count),
      )
      const lines = edges.map((list, from) => `${name(from)} ${96 + 8 * from} > ${list.map(name).join(' ')}`)
      const roots = edges.map((_, index) => index).filter((index) => edges.every((list) => !list.includes(index)))
      const sumFrom = (starts: readonly number[], without?: number): number => {
        const seen = new Set(starts.filter((start) => start !== without))
        for (const index of seen) for (const to of edges[index] ?? []) if (to !== without) seen.add(to)
        return [...seen].reduce((sum, index) => sum + 96 + 8 * index, 0)
      }
      const { paths } = await closureSizes(await closureOf(...lines))
      const byPath = new Map(paths.map((entry) => [entry.path, entry]))
      for (const index of edges.keys()) {
        expect(byPath.get(pathOf(name(index)))).toMatchObject({
          closureSize: sumFrom([index]),
          addedSize: sumFrom(roots) - sumFrom(roots, index),
        })
      }
    }
  })

  it('need sizes and references', async () => {
    const list = await readClosure('-', { stdin: chunksOf(Buffer.from(`${pathOf('a')}\n`)) })
    await failure(() => closureSizes(list), 'USAGE', /has no references/)
    const graph = await readClosure('-', { stdin: chunksOf(Buffer.from(`${pathOf('a')}\n\n0\n`)) })
    await failure(() => closureSizes(graph), 'USAGE', /has no size for it/)
  })
})

describe('why', () => {
  it('a shortest chain, and all of them', async () => {
    const closure = await closureOf(...DIAMOND)
    const chain = async (from: string, to: string) =>
      (await referenceChain(closure, pathOf(from), pathOf(to)))?.map((path) => path.slice(44))
    expect(await chain('a', 'h')).toEqual(['a', 'b', 'd', 'h'])
    expect(await chain('a', 'a')).toEqual(['a'])
    expect(await chain('h', 'a')).toBeUndefined()
    expect(await chain('a', 'g')).toBeUndefined()
    const chains = [...(await referenceChains(closure, pathOf('a'), pathOf('d')))].map(([path, next]) => [
      path.slice(44),
      ...next.map((one) => one.slice(44)),
    ])
    expect(chains).toEqual([['a', 'b', 'c'], ['b', 'd'], ['c', 'd'], ['d']])
    expect((await referenceChains(closure, pathOf('d'), pathOf('a'))).size).toBe(0)
  })

  it('of a longer and a shorter way the shorter', async () => {
    const closure = await closureOf('a > b z', 'b > c', 'c > d', 'z > d', 'd')
    expect(await referenceChain(closure, pathOf('a'), pathOf('d'))).toEqual(['a', 'z', 'd'].map(pathOf))
  })
})

describe('names', () => {
  it.each([
    ['hello-2.12', 'hello', '2.12'],
    ['hello', 'hello', ''],
    ['hello-2.12-bin', 'hello', '2.12'],
    ['hello-bin', 'hello', ''],
    ['glibc-2.39-52-lib32', 'glibc', '2.39-52'],
    ['nixos-system-live-26.05', 'nixos-system-live', '26.05'],
    ['python3.12-foo-1.0', 'python3.12-foo', '1.0'],
    ['source', 'source', ''],
    ['x-', 'x-', ''],
    ['a-1-Bin', 'a', '1-Bin'],
  ])('%s', (text, name, version) => {
    expect(packageName(`${'0'.repeat(32)}-${text}`)).toEqual({ name, version })
  })

  it('a path may be said in several ways', async () => {
    const closure = await closureOf('hello-2.12 > glibc-2.39', 'glibc-2.39', 'glibc-2.39-bin', 'perl-5 > perl-5-doc', 'perl-5-doc')
    const found = (text: string) => pathByName(closure, text).path
    const hello = pathOf('hello-2.12')
    for (const text of [hello, `${hello}/bin/hello`, hello.slice(11), hello.slice(11, 43), 'hello-2.12', 'hello', 'hel'])
      expect(found(text)).toBe(hello)
    expect(found('glibc-2.39')).toBe(pathOf('glibc-2.39'))
    await failure(() => found('glibc'), 'USAGE', /'glibc' may be one of 2 paths; write it in full:\n {2}\/nix\/store\/.*-glibc-2\.39\n/)
    await failure(() => found('bash'), 'NOT_FOUND', /'bash' is no path of the closure/)
    await failure(() => found(''), 'NOT_FOUND', /'' is no path/)
    await failure(() => found('/nix/store/hello'), 'NOT_FOUND', /no path/)
  })
})

describe('differences', () => {
  it('by package: added, removed, changed, rebuilt', async () => {
    const old = await closureOf('app-1.0 104 > lib-1', 'lib-1 96', 'gone 200', 'tool-2 96', 'tool-3 96', 'same-1 96')
    const next = await closureOf('app-2.0 304 > lib-1', 'lib-1 96', 'come-0.1 96', 'tool-3 96', 'same-1 96')
    const difference = await closureDifference(old, next)
    expect(difference).toMatchObject({ old: { pathCount: 6, narSize: 688 }, new: { pathCount: 5, narSize: 688 } })
    expect(difference.packages).toEqual([
      {
        name: 'app',
        kind: 'changed',
        oldVersions: ['1.0'],
        newVersions: ['2.0'],
        oldSize: 104,
        newSize: 304,
        oldPaths: [pathOf('app-1.0')],
        newPaths: [pathOf('app-2.0')],
      },
      {
        name: 'come',
        kind: 'added',
        oldVersions: [],
        newVersions: ['0.1'],
        oldSize: 0,
        newSize: 96,
        oldPaths: [],
        newPaths: [pathOf('come-0.1')],
      },
      {
        name: 'gone',
        kind: 'removed',
        oldVersions: [''],
        newVersions: [],
        oldSize: 200,
        newSize: 0,
        oldPaths: [pathOf('gone')],
        newPaths: [],
      },
      {
        name: 'tool',
        kind: 'changed',
        oldVersions: ['2'],
        newVersions: [],
        oldSize: 192,
        newSize: 96,
        oldPaths: [pathOf('tool-2')],
        newPaths: [],
      },
    ])
  })

  it('the same version with another hash is a rebuild', async () => {
    const listing = (digits: string) =>
      closureOf('lib-1 96').then((closure) => ({
        ...closure,
        paths: closure.paths.map((entry) => ({ ...entry, path: entry.path.replace('0000-', `${digits}-`) })),
      }))
    const { packages } = await closureDifference(await listing('0000'), await listing('1111'))
    expect(packages).toMatchObject([{ name: 'lib', kind: 'rebuilt', oldVersions: [], newVersions: [] }])
  })

  it('none between two listings of one closure, whatever their forms', async () => {
    const read = (name: string) => readClosure(new URL(`../../../fixtures/small/${name}`, import.meta.url).pathname)
    const registration = await read('registration')
    for (const name of ['path-info.json', 'attrs.json', 'load-db.txt']) {
      const other = await read(name)
      const { packages, old, new: next } = await closureDifference(registration, other)
      expect({ packages, next }).toEqual({ packages: [], next: old })
      const facts = ({ paths }: typeof other) =>
        paths.map(({ path, narHash, narSize, references }) => ({
          path,
          narHash: Buffer.from(narHash ?? []).toString('hex'),
          narSize,
          references,
        }))
      expect(facts(other), name).toEqual(facts(registration))
    }
  })
})
