/** What the paths of a closure take. All sizes are bytes of NARs. */
import { ImageError } from '../../errors.ts'
import type { Closure } from '../closure.ts'
import { type ClosureGraph, closureGraph } from './graph.ts'

export interface PathSizes {
  readonly path: string
  /** Of the path alone. */
  readonly narSize: number
  /** With all that it refers to, directly or not. */
  readonly closureSize: number
  /** What would go if the path went: itself, and all that is there for it alone. */
  readonly addedSize: number
  /** How many other paths refer to it. */
  readonly referrerCount: number
}

export interface ClosureSizes {
  readonly narSize: number
  /** By name. */
  readonly paths: readonly PathSizes[]
}

/** Throws USAGE for a listing without sizes or references. The work is that of all closures of single paths together. */
export function closureSizes(closure: Closure): ClosureSizes {
  const graph = closureGraph(closure)
  const own = closure.paths.map(({ path, narSize }) => {
    if (narSize !== undefined) return narSize
    throw new ImageError('USAGE', `${path}: the listing (${closure.kind}) has no size for it; rebuild the registration first`, { path })
  })
  const closureSizeOf = closureSummer(graph, own)
  const added = addedSizes(graph, own)
  const paths = closure.paths.map(({ path }, index) => ({
    path,
    narSize: own[index] ?? 0,
    closureSize: closureSizeOf(index),
    addedSize: added[index] ?? 0,
    referrerCount: graph.referrers[index]?.length ?? 0,
  }))
  return { narSize: own.reduce((sum, size) => sum + size, 0), paths }
}

/** Sums what can be reached; one array for all calls holds who came by last. */
function closureSummer({ references }: ClosureGraph, own: readonly number[]): (start: number) => number {
  const visitor = new Int32Array(own.length).fill(-1)
  return (start) => {
    const open = [start]
    visitor[start] = start
    let sum = 0
    for (let index = open.pop(); index !== undefined; index = open.pop()) {
      sum += own[index] ?? 0
      for (const next of references[index] ?? []) {
        if (visitor[next] === start) continue
        visitor[next] = start
        open.push(next)
      }
    }
    return sum
  }
}

/** Stands above the paths that no other refers to. */
const TOP = -1

/**
 * A path goes with the nearest path that all chains of references to it pass: its immediate dominator (Lengauer and
 * Tarjan, 1979; without cycles one pass in order of references finds it). What goes with a path is the tree below it.
 */
function addedSizes({ referrers, order }: ClosureGraph, own: readonly number[]): number[] {
  const dominators = new Int32Array(own.length).fill(TOP)
  const depths = new Int32Array(own.length)
  const commonOf = (first: number, second: number): number => {
    let [a, b] = [first, second]
    while (a !== b) {
      if (a === TOP || b === TOP) return TOP
      if ((depths[a] ?? 0) >= (depths[b] ?? 0)) a = dominators[a] ?? TOP
      else b = dominators[b] ?? TOP
    }
    return a
  }
  for (const index of order) {
    const [first = TOP, ...rest] = referrers[index] ?? []
    const dominator = rest.reduce(commonOf, first)
    dominators[index] = dominator
    depths[index] = dominator === TOP ? 1 : (depths[dominator] ?? 0) + 1
  }
  const added = [...own]
  for (const index of order.toReversed()) {
    const dominator = dominators[index] ?? TOP
    if (dominator !== TOP) added[dominator] = (added[dominator] ?? 0) + (added[index] ?? 0)
  }
  return added
}
