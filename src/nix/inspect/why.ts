/** Why a path is in a closure: the references that lead to it. */
import { Turns } from '../../io/turns.ts'
import { type Closure, listedIndex } from '../listing/closure.ts'
import { closureGraph, NO_PATH, reachedFrom, referenceEdges, requireReferences } from '../listing/graph.ts'
import { STORE_DIRECTORY } from '../store/store-path.ts'
import type { InspectOptions } from './sizes.ts'

export type ChainOptions = Pick<InspectOptions, 'signal'>

/**
 * A shortest chain of references from `from` to `to`, both full paths of `closure` and both in it; of several the first
 * by name. Undefined where none leads there. Throws USAGE for a listing without references, ABORTED.
 */
export async function referenceChain(
  closure: Closure,
  from: string,
  to: string,
  { signal }: ChainOptions = {},
): Promise<string[] | undefined> {
  requireReferences(closure)
  const turns = turnsOf(signal)
  const [start, end] = [indexOf(closure, from), indexOf(closure, to)]
  const reached = await reachedFrom(await referenceEdges(closure.paths, turns), start, turns)
  if (reached.from[end] === NO_PATH) return undefined
  const chain = [to]
  for (let index = end; index !== start; ) {
    index = reached.from[index] as number
    chain.push(pathAt(closure, index))
  }
  return chain.reverse()
}

/**
 * All references that lie on chains from `from` to `to`: each path on one, and those of its references that are. Empty
 * where no chain leads there. Throws USAGE for a listing without references, ABORTED.
 */
export async function referenceChains(
  closure: Closure,
  from: string,
  to: string,
  { signal }: ChainOptions = {},
): Promise<ReadonlyMap<string, readonly string[]>> {
  const turns = turnsOf(signal)
  const { references, referrers } = await closureGraph(closure, turns)
  const [start, end] = [indexOf(closure, from), indexOf(closure, to)]
  const below = await reachedFrom(references, start, turns)
  if (below.from[end] === NO_PATH) return new Map()
  const above = await reachedFrom(referrers, end, turns)
  const chains = new Map<string, readonly string[]>()
  for (const index of below.order) {
    if (above.from[index] === NO_PATH) continue
    const own = index === end ? [] : references.targets.subarray(references.starts[index], references.starts[index + 1])
    const next: string[] = []
    for (const reference of own) if (above.from[reference] !== NO_PATH) next.push(pathAt(closure, reference))
    chains.set(pathAt(closure, index), next)
    if (turns.isOver(4 + own.length)) await turns.next()
  }
  return chains
}

function turnsOf(signal: AbortSignal | undefined): Turns {
  return new Turns(signal, 'cancelled while references were followed')
}

function indexOf(closure: Closure, path: string): number {
  const index = listedIndex(closure, path.slice(STORE_DIRECTORY.length + 1))
  if (index === undefined || pathAt(closure, index) !== path) throw new RangeError(`${path} is not in the closure`)
  return index
}

function pathAt(closure: Closure, index: number): string {
  return closure.paths[index]?.path ?? ''
}
