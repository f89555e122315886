/** What the paths of a closure take. All sizes are bytes of NARs. */
import { ImageError } from '../../errors.ts'
import { Turns } from '../../io/turns.ts'
import type { Closure } from '../listing/closure.ts'
import { type ClosureGraph, closureGraph, referrersFirst } from '../listing/graph.ts'
import { closureSums } from './closure-sums.ts'
import { Dominators } from './dominators.ts'

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

export interface InspectOptions {
  readonly signal?: AbortSignal | undefined
  /** Called once, with the bytes of all NARs. */
  readonly onBegin?: ((totalBytes: number) => void) | undefined
  /** Bytes of the NARs of the paths that are done. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined
}

/** Throws USAGE for a listing without sizes or references, ABORTED. Lets the event loop run; see `closureSums` for the work. */
export async function closureSizes(closure: Closure, { signal, onBegin, onBytes }: InspectOptions = {}): Promise<ClosureSizes> {
  const turns = new Turns(signal, 'cancelled while sizes were summed up')
  const graph = await closureGraph(closure, turns)
  const own = new Float64Array(closure.paths.length)
  let total = 0
  for (const [index, { path, narSize }] of closure.paths.entries()) {
    if (narSize === undefined)
      throw new ImageError('USAGE', `${path}: the listing (${closure.kind}) has no size for it; rebuild the registration first`, { path })
    own[index] = narSize
    total += narSize
    if (turns.isOver()) await turns.next()
  }
  onBegin?.(total)
  const order = await referrersFirst(graph, turns)
  const added = await addedSizes(graph, order, own, turns)
  const sums = await closureSums(graph.references, order, own, { turns, onBytes })
  const paths: PathSizes[] = []
  for (const [index, { path }] of closure.paths.entries()) {
    paths.push({
      path,
      narSize: own[index] as number,
      closureSize: sums[index] as number,
      addedSize: added[index] as number,
      referrerCount: (graph.referrers.starts[index + 1] as number) - (graph.referrers.starts[index] as number),
    })
    if (turns.isOver(8)) await turns.next()
  }
  return { narSize: total, paths }
}

/** What goes with a path is the tree of dominators below it. */
async function addedSizes({ referrers }: ClosureGraph, order: Uint32Array, own: Float64Array, turns: Turns): Promise<Float64Array> {
  const dominators = new Dominators(own.length)
  for (const index of order) {
    const end = referrers.starts[index + 1] as number
    let common: number | undefined
    for (let edge = referrers.starts[index] as number; edge < end; edge++) {
      const referrer = referrers.targets[edge] as number
      common = common === undefined ? referrer : dominators.common(common, referrer)
      if (turns.isOver(4)) await turns.next()
    }
    dominators.add(index, common ?? dominators.top)
    if (turns.isOver(4)) await turns.next()
  }
  const added = own.slice()
  for (let at = order.length - 1; at >= 0; at--) {
    const index = order[at] as number
    const dominator = dominators.of(index)
    if (dominator !== dominators.top) added[dominator] = (added[dominator] as number) + (added[index] as number)
    if (turns.isOver()) await turns.next()
  }
  return added
}
