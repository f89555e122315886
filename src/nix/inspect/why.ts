/** Why a path is in a closure: the references that lead to it. */
import type { Closure } from '../closure.ts'
import { chainTo, reachable } from '../reachable.ts'
import { closureGraph, reachableIndexes, requireReferences } from './graph.ts'

/**
 * A shortest chain of references from `from` to `to`, both full paths of `closure` and both in it; of several the first
 * by name. Undefined where none leads there. Throws USAGE for a listing without references.
 */
export function referenceChain(closure: Closure, from: string, to: string): string[] | undefined {
  requireReferences(closure)
  for (const path of [from, to]) indexOf(closure, path)
  const found = reachable(closure.paths, [from])
  return found.has(to) ? chainTo(to, found) : undefined
}

/**
 * All references that lie on chains from `from` to `to`: each path on one, and those of its references that are. Empty
 * where no chain leads there. Throws USAGE for a listing without references.
 */
export function referenceChains(closure: Closure, from: string, to: string): ReadonlyMap<string, readonly string[]> {
  const { references, referrers } = closureGraph(closure)
  const [start, end] = [indexOf(closure, from), indexOf(closure, to)]
  const below = reachableIndexes(references, start)
  if (!below.has(end)) return new Map()
  const above = reachableIndexes(referrers, end)
  const chains = new Map<string, readonly string[]>()
  for (const index of below) {
    if (!above.has(index)) continue
    const next = index === end ? [] : (references[index] ?? []).filter((reference) => above.has(reference))
    chains.set(
      pathAt(closure, index),
      next.map((reference) => pathAt(closure, reference)),
    )
  }
  return chains
}

function indexOf(closure: Closure, path: string): number {
  const index = closure.paths.findIndex((entry) => entry.path === path)
  if (index === -1) throw new RangeError(`${path} is not in the closure`)
  return index
}

function pathAt(closure: Closure, index: number): string {
  return closure.paths[index]?.path ?? ''
}
