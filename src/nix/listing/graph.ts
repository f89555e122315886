/** The references of a closure as a graph over numbers, which are indexes of its paths. */
import { ImageError } from '../../errors.ts'
import type { Turns } from '../../io/turns.ts'
import type { Closure, ClosurePath } from './closure.ts'

/** Where edges lead to: from `index` to `targets[starts[index]]` and the following, up to before `targets[starts[index + 1]]`. */
export interface Edges {
  /** One more than there are nodes. */
  readonly starts: Uint32Array
  readonly targets: Uint32Array
}

export interface ClosureGraph {
  /** Those of each path in the order of names, without the path itself and without what is not listed. */
  readonly references: Edges
  /** The same edges the other way. */
  readonly referrers: Edges
}

/** Throws USAGE for a listing without references, ABORTED. */
export async function closureGraph(closure: Closure, turns: Turns): Promise<ClosureGraph> {
  requireReferences(closure)
  const references = await referenceEdges(closure.paths, turns)
  return { references, referrers: await reversedEdges(references, turns) }
}

/** Edges that are found node by node. */
export class EdgeList {
  readonly #starts: Uint32Array
  #targets = new Uint32Array(1024)
  #count = 0

  constructor(nodeCount: number) {
    this.#starts = new Uint32Array(nodeCount + 1)
  }

  /** All edges from `from`, which comes after those before it. Those to itself are left out. */
  add(from: number, targets: Iterable<number> & { readonly length: number }): void {
    if (this.#count + targets.length > this.#targets.length) {
      const larger = new Uint32Array(Math.max(2 * this.#targets.length, this.#count + targets.length))
      larger.set(this.#targets)
      this.#targets = larger
    }
    for (const target of targets) if (target !== from) this.#targets[this.#count++] = target
    this.#starts[from + 1] = this.#count
  }

  edges(): Edges {
    return { starts: this.#starts, targets: this.#targets.subarray(0, this.#count) }
  }
}

/** Of the paths of closures that were read here, whose references are known as numbers already. */
const remembered = new WeakMap<readonly ClosurePath[], Edges>()

/** `edges` are those of `paths`, which do not change any more. */
export function rememberEdges(paths: readonly ClosurePath[], edges: Edges): void {
  remembered.set(paths, edges)
}

/** References to other paths among `paths`, in their order. Throws ABORTED. */
export async function referenceEdges(paths: readonly ClosurePath[], turns: Turns): Promise<Edges> {
  const known = remembered.get(paths)
  if (known !== undefined) return known
  const indexes = new Map<string, number>()
  for (const [index, { path }] of paths.entries()) {
    indexes.set(path, index)
    if (turns.isOver(4)) await turns.next()
  }
  const list = new EdgeList(paths.length)
  for (const [own, { references }] of paths.entries()) {
    list.add(
      own,
      references.map((reference) => indexes.get(reference)).filter((index) => index !== undefined),
    )
    if (turns.isOver(1 + 4 * references.length)) await turns.next()
  }
  return list.edges()
}

async function reversedEdges({ starts, targets }: Edges, turns: Turns): Promise<Edges> {
  const count = starts.length - 1
  const reversedStarts = new Uint32Array(count + 1)
  for (const target of targets) {
    reversedStarts[target + 1] = (reversedStarts[target + 1] as number) + 1
    if (turns.isOver()) await turns.next()
  }
  for (let index = 0; index < count; index++) {
    reversedStarts[index + 1] = (reversedStarts[index + 1] as number) + (reversedStarts[index] as number)
  }
  const reversedTargets = new Uint32Array(targets.length)
  const next = reversedStarts.slice()
  for (let from = 0; from < count; from++) {
    const end = starts[from + 1] as number
    for (let at = starts[from] as number; at < end; at++) {
      const target = targets[at] as number
      const place = next[target] as number
      reversedTargets[place] = from
      next[target] = place + 1
    }
    if (turns.isOver(1 + end - (starts[from] as number))) await turns.next()
  }
  return { starts: reversedStarts, targets: reversedTargets }
}

/** All indexes, each before those that it refers to. There are no cycles. Throws ABORTED. */
export async function referrersFirst({ references, referrers }: ClosureGraph, turns: Turns): Promise<Uint32Array> {
  const count = referrers.starts.length - 1
  const waiting = new Uint32Array(count)
  const order = new Uint32Array(count)
  let end = 0
  for (let index = 0; index < count; index++) {
    waiting[index] = (referrers.starts[index + 1] as number) - (referrers.starts[index] as number)
    if (waiting[index] === 0) order[end++] = index
  }
  for (let at = 0; at < end; at++) {
    const index = order[at] as number
    const last = references.starts[index + 1] as number
    for (let edge = references.starts[index] as number; edge < last; edge++) {
      const reference = references.targets[edge] as number
      const left = (waiting[reference] as number) - 1
      waiting[reference] = left
      if (left === 0) order[end++] = reference
      if (turns.isOver()) await turns.next()
    }
  }
  return order
}

/** Where no path is. */
export const NO_PATH = 0xffffffff

export interface Reached {
  /** Indexes in the order of their distance from the start, which is the first. */
  readonly order: Uint32Array
  /** By index: the one from which it was reached over the fewest edges, itself for the start; `NO_PATH` where it was not reached. */
  readonly from: Uint32Array
}

/** What can be reached from `start` along `edges`. Throws ABORTED. */
export async function reachedFrom({ starts, targets }: Edges, start: number, turns: Turns): Promise<Reached> {
  const from = new Uint32Array(starts.length - 1).fill(NO_PATH)
  const order = new Uint32Array(starts.length - 1)
  from[start] = start
  order[0] = start
  let end = 1
  for (let at = 0; at < end; at++) {
    const index = order[at] as number
    const last = starts[index + 1] as number
    for (let edge = starts[index] as number; edge < last; edge++) {
      const next = targets[edge] as number
      if (from[next] === NO_PATH) {
        from[next] = index
        order[end++] = next
      }
      if (turns.isOver()) await turns.next()
    }
  }
  return { order: order.subarray(0, end), from }
}

/** Throws USAGE for a listing without references. */
export function requireReferences({ referencesKnown, kind }: Closure): void {
  if (referencesKnown) return
  throw new ImageError('USAGE', `the listing (${kind}) has no references; rebuild the registration first`)
}
