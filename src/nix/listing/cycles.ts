/** Cycles in the graph of references. */
import { badInput } from '../../errors.ts'
import { Turns } from '../../io/turns.ts'
import type { ClosurePath } from './closure.ts'
import { type Edges, referenceEdges } from './graph.ts'

/** What is known of a node. */
const [NEW, ON_TRAIL, FINISHED] = [0, 1, 2] as const

/**
 * A cycle of two or more members, or undefined; a node that refers to itself is none. Depth first without recursion: a chain of
 * references may be long. Throws ABORTED.
 */
export async function findCycle({ starts, targets }: Edges, turns: Turns): Promise<number[] | undefined> {
  const count = starts.length - 1
  const state = new Uint8Array(count)
  /** Of each node on the trail the edge that is followed next. */
  const next = starts.slice(0, count)
  const trail = new Uint32Array(count)
  for (let start = 0; start < count; start++) {
    if (state[start] !== NEW) continue
    trail[0] = start
    state[start] = ON_TRAIL
    for (let length = 1; length > 0; ) {
      if (turns.isOver()) await turns.next()
      const node = trail[length - 1] as number
      const edge = next[node] as number
      if (edge === starts[node + 1]) {
        state[node] = FINISHED
        length--
        continue
      }
      next[node] = edge + 1
      const target = targets[edge] as number
      if (target === node || state[target] === FINISHED) continue
      if (state[target] === ON_TRAIL) return Array.from(trail.subarray(trail.indexOf(target), length))
      trail[length++] = target
      state[target] = ON_TRAIL
    }
  }
  return undefined
}

/** Paths of a cycle that a message names at its beginning; the others are counted. */
const NAMED_MEMBERS = 10

/** Throws BAD_INPUT naming a cycle other than a path that refers to itself: Nix 2.8 and 2.26 refuse to register one. */
export async function checkAcyclic(paths: readonly ClosurePath[], name: string, turns = new Turns(), edges?: Edges): Promise<void> {
  const cycle = await findCycle(edges ?? (await referenceEdges(paths, turns)), turns)
  if (cycle === undefined) return
  const members = cycle.map((index) => paths[index]?.path ?? '')
  const left = members.length - NAMED_MEMBERS
  const shown = left > 1 ? [...members.slice(0, NAMED_MEMBERS), `(${left} more)`] : members
  throw badInput(name, `the references form a cycle: ${[...shown, members[0]].join(' -> ')}`)
}
