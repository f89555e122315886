/** The references of a closure as a graph over numbers, which are indexes of its paths. */
import { ImageError } from '../../errors.ts'
import type { Closure } from '../closure.ts'

export interface ClosureGraph {
  /** By index, sorted, without the path itself and without what is not listed. */
  readonly references: readonly (readonly number[])[]
  readonly referrers: readonly (readonly number[])[]
  /** All indexes, each path before those that it refers to. */
  readonly order: readonly number[]
}

/** Throws USAGE for a listing without references. */
export function closureGraph(closure: Closure): ClosureGraph {
  requireReferences(closure)
  const indexes = new Map(closure.paths.map(({ path }, index) => [path, index]))
  const referrers: number[][] = closure.paths.map(() => [])
  const references = closure.paths.map((entry, own) => {
    const list = entry.references.map((path) => indexes.get(path)).filter((index) => index !== undefined && index !== own) as number[]
    for (const index of list) referrers[index]?.push(own)
    return list
  })
  return { references, referrers, order: referrersFirst(references, referrers) }
}

function referrersFirst(references: readonly (readonly number[])[], referrers: readonly (readonly number[])[]): number[] {
  const waiting = referrers.map((list) => list.length)
  const order = [...waiting.keys()].filter((index) => waiting[index] === 0)
  for (const index of order) {
    for (const reference of references[index] ?? []) {
      const left = (waiting[reference] ?? 0) - 1
      waiting[reference] = left
      if (left === 0) order.push(reference)
    }
  }
  return order
}

/** The indexes that can be reached from `start` along `edges`, itself included. */
export function reachableIndexes(edges: readonly (readonly number[])[], start: number): Set<number> {
  const seen = new Set([start])
  for (const index of seen) for (const next of edges[index] ?? []) seen.add(next)
  return seen
}

/** Throws USAGE for a listing without references. */
export function requireReferences({ referencesKnown, kind }: Closure): void {
  if (referencesKnown) return
  throw new ImageError('USAGE', `the listing (${kind}) has no references; rebuild the registration first`)
}
