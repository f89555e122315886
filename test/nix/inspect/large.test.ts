/** Closures of many paths and of shapes that are hard: the right sums, in steps that others and signals come between. */
import { describe, expect, it } from 'vitest'
import { checkClosure } from '../../../src/nix/inspect/check.ts'
import { closureDifference } from '../../../src/nix/inspect/diff.ts'
import { closureSizes } from '../../../src/nix/inspect/sizes.ts'
import { referenceChain, referenceChains } from '../../../src/nix/inspect/why.ts'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { planReplacement } from '../../../src/nix/rewrite/replace.ts'
import { failure } from '../scratch.ts'
import { largeRegistration, numberedPath } from './large-listings.ts'

const COUNT = 40_000

/** So many paths of 96 bytes, of which each refers to those that `references` gives for its number. */
function graphOf(count: number, references: (index: number) => readonly number[]): Closure {
  const paths = Array.from({ length: count }, (_, index) => ({
    path: numberedPath(index),
    baseName: numberedPath(index).slice(11),
    narSize: 96,
    references: references(index).map(numberedPath),
  }))
  return { kind: 'registration', paths, hashesKnown: false, referencesKnown: true }
}

function range(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, index) => start + index)
}

/** Closure, added size and referrers of a path, in paths. */
async function sizesOf(closure: Closure): Promise<(index: number) => number[]> {
  const { paths } = await closureSizes(closure)
  return (index) => {
    const { closureSize = 0, addedSize = 0, referrerCount = 0 } = paths[index] ?? {}
    return [closureSize / 96, addedSize / 96, referrerCount]
  }
}

describe('sizes of large closures', () => {
  it('a chain', async () => {
    const sizes = await sizesOf(graphOf(COUNT, (index) => (index === 0 ? [] : [index - 1])))
    for (const index of [0, 1, 12_345, COUNT - 1]) expect(sizes(index)).toEqual([index + 1, index + 1, index === COUNT - 1 ? 0 : 1])
  })

  it('one that refers to all others, and all that refer to one', async () => {
    const hub = await sizesOf(graphOf(COUNT, (index) => (index === COUNT - 1 ? range(0, COUNT - 1) : [])))
    expect([hub(COUNT - 1), hub(7)]).toEqual([
      [COUNT, COUNT, 0],
      [1, 1, 1],
    ])
    const base = await sizesOf(graphOf(COUNT, (index) => (index === 0 ? [] : [0])))
    expect([base(0), base(7)]).toEqual([
      [1, 1, COUNT - 1],
      [2, 1, 0],
    ])
  })

  it('each that refers to the two before it', async () => {
    const sizes = await sizesOf(graphOf(COUNT, (index) => (index < 2 ? range(0, index) : [index - 2, index - 1])))
    expect([sizes(COUNT - 1), sizes(COUNT - 2), sizes(5)]).toEqual([
      [COUNT, COUNT, 0],
      [COUNT - 1, 1, 1],
      [6, 1, 2],
    ])
  })

  it('leaves that both ends of a long chain refer to', async () => {
    const half = COUNT / 2
    const sizes = await sizesOf(
      graphOf(COUNT, (index) => {
        if (index < half) return []
        const next = index === half ? [] : [index - 1]
        return index === half || index === COUNT - 1 ? [...range(0, half), ...next] : next
      }),
    )
    expect([sizes(COUNT - 1), sizes(half), sizes(0)]).toEqual([
      [COUNT, COUNT, 0],
      [half + 1, 1, 1],
      [1, 1, 2],
    ])
  })

  it('many that refer to a broad path and to a long chain', async () => {
    const [leaves, links] = [20_000, 500]
    const [broad, chain] = [leaves, leaves + links]
    const sizes = await sizesOf(
      graphOf(COUNT, (index) => {
        if (index < leaves) return []
        if (index === broad) return range(0, leaves)
        if (index <= chain) return index === broad + 1 ? [] : [index - 1]
        return [broad, chain]
      }),
    )
    expect([sizes(COUNT - 1), sizes(broad), sizes(chain)]).toEqual([
      [leaves + links + 2, 1, 0],
      [leaves + 1, leaves + 1, COUNT - 1 - chain],
      [links, links, COUNT - 1 - chain],
    ])
  })

  it('are the same when all closures are walked one by one', async () => {
    const count = 2000
    const references = (index: number): number[] =>
      [...new Set([1, 2, 3].map((step) => index - 1 - ((index * step * 7919) % 37)))].filter((to) => to >= 0)
    const sizes = await sizesOf(graphOf(count, references))
    for (let index = 0; index < count; index += 37) {
      const seen = new Set([index])
      for (const one of seen) for (const to of references(one)) seen.add(to)
      expect(sizes(index)[0]).toBe(seen.size)
    }
  })
})

describe('long work', () => {
  const count = COUNT / 2
  const listing = Buffer.from(largeRegistration(count))
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield listing
  }
  const read = (signal?: AbortSignal) => readClosure('-', { stdin: pieces(), signal })
  const json = async (closure: Closure) =>
    Buffer.from(
      JSON.stringify(closure.paths.map(({ path, references }) => ({ path, narHash: `sha256:${'0'.repeat(52)}`, narSize: 96, references }))),
    )

  it('lets others run, and ends when the signal comes', async () => {
    const closure = await read()
    // Without what was learnt when it was read.
    const again = (): Closure => ({ ...closure, paths: [...closure.paths] })
    const [first, last] = [numberedPath(0), numberedPath(count - 1)]
    const asJson = await json(closure)
    const works: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
      'a listing': read,
      JSON: (signal) =>
        readClosure('-', {
          stdin: (async function* () {
            yield asJson
          })(),
          signal,
        }),
      sizes: (signal) => closureSizes(again(), { signal }),
      'a chain': (signal) => referenceChain(again(), last, first, { signal }),
      'all chains': (signal) => referenceChains(again(), last, first, { signal }),
      'a difference': (signal) => closureDifference(again(), again(), { signal }),
      'a check': (signal) => checkClosure(again(), { contents: false, signal }),
      'a plan': (signal) => planReplacement(again(), { replacements: [{ oldPath: first, newPath: numberedPath(1) }], signal }),
    }
    for (const [name, work] of Object.entries(works)) {
      let turns = 0
      const onTurn = (): void => {
        turns++
        counter = setImmediate(onTurn)
      }
      let counter = setImmediate(onTurn)
      await work(new AbortController().signal)
      clearImmediate(counter)
      expect(turns, name).toBeGreaterThan(1)
      const controller = new AbortController()
      setImmediate(() => controller.abort())
      await failure(() => work(controller.signal), 'ABORTED', /cancelled/)
    }
  })
})
