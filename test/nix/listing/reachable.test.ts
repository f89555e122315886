import { describe, expect, it } from 'vitest'
import { chainTo, reachable } from '../../../src/nix/listing/reachable.ts'

const graph = Object.entries({ a: ['b', 'c', 'a'], b: ['d'], c: ['d', 'gone'], d: ['e'], e: [], f: ['a'] }).map(([path, references]) => ({
  path,
  references,
}))

describe('what is reached by references', () => {
  it('has the roots, what they refer to, and nothing that is not there', () => {
    expect([...reachable(graph, ['a']).keys()]).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect([...reachable(graph, ['e', 'b', 'gone']).keys()]).toEqual(['e', 'b', 'd'])
  })

  it('knows a shortest chain', () => {
    const found = reachable(graph, ['f'])
    expect(chainTo('e', found)).toEqual(['f', 'a', 'b', 'd', 'e'])
    expect(chainTo('c', found)).toEqual(['f', 'a', 'c'])
    expect(chainTo('f', found)).toEqual(['f'])
  })
})
