/**
 * The sum of sizes over everything that a path refers to, directly or not, exactly and for every path.
 *
 * Paths are laid out as a tree: above each stands that of its references which probably has the largest closure. On a walk through the
 * tree the closure of the path in hand is marked; to go down to a path, what its other references add is marked as well, and on the
 * way back it is unmarked. So a path costs what its closure has beyond that of one reference, which in real closures is little, and
 * never more than its whole closure. Memory is some numbers a path.
 */
import type { Turns } from '../../io/turns.ts'
import { type Edges, NO_PATH } from '../listing/graph.ts'

export interface SumOptions {
  readonly turns: Turns
  /** Sizes of the paths that are done. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined
}

/** Paths after which progress is reported. */
const REPORT_COUNT = 1 << 14

/** By index; `order` is `referrersFirst`. Throws ABORTED. */
export async function closureSums(
  references: Edges,
  order: Uint32Array,
  own: Float64Array,
  { turns, onBytes }: SumOptions,
): Promise<Float64Array> {
  const bases = await basesOf(references, order, turns)
  const { first, next } = childrenOf(bases, order)
  const sums = new Float64Array(own.length)
  const marks = new Uint8Array(own.length)
  // What is marked, in order; as far as a path's own marks go, they are those from its start on.
  const marked = new Uint32Array(own.length)
  const markStarts = new Uint32Array(own.length)
  let count = 0
  let doneCount = 0
  let doneBytes = 0
  const mark = async (index: number): Promise<number> => {
    marks[index] = 1
    marked[count++] = index
    let sum = 0
    for (let at = count - 1; at < count; at++) {
      const node = marked[at] as number
      sum += own[node] as number
      const end = references.starts[node + 1] as number
      for (let edge = references.starts[node] as number; edge < end; edge++) {
        const reference = references.targets[edge] as number
        if (marks[reference] === 0) {
          marks[reference] = 1
          marked[count++] = reference
        }
        if (turns.isOver()) await turns.next()
      }
    }
    return sum
  }
  for (const root of order) {
    if (bases[root] !== NO_PATH) continue
    for (let index = root, isDown = true; ; ) {
      if (isDown) {
        const base = bases[index] as number
        markStarts[index] = count
        sums[index] = (base === NO_PATH ? 0 : (sums[base] as number)) + (await mark(index))
        doneBytes += own[index] as number
        if (++doneCount % REPORT_COUNT === 0) onBytes?.(doneBytes)
        const child = first[index] as number
        if (child !== NO_PATH) {
          index = child
          continue
        }
      }
      while (count > (markStarts[index] as number)) marks[marked[--count] as number] = 0
      if (index === root) break
      const sibling = next[index] as number
      isDown = sibling !== NO_PATH
      index = isDown ? sibling : (bases[index] as number)
    }
  }
  return sums
}

/** Hashes of a closure that are kept to tell how large it is: the smallest ones. */
const KEPT_HASHES = 4

/**
 * For each path that of its references with probably the largest closure; `NO_PATH` where it has none. Only the time depends on how good
 * a guess it is: the smaller the smallest hashes in a closure, the more there are (Cohen, "Size-estimation framework", 1997).
 */
async function basesOf({ starts, targets }: Edges, order: Uint32Array, turns: Turns): Promise<Uint32Array> {
  const bases = new Uint32Array(order.length).fill(NO_PATH)
  const kept = new Uint32Array(order.length * KEPT_HASHES).fill(NO_PATH)
  const keep = (index: number, hash: number): void => {
    const start = index * KEPT_HASHES
    let at = start + KEPT_HASHES - 1
    if (hash >= (kept[at] as number) || kept.subarray(start, at).includes(hash)) return
    for (; at > start && (kept[at - 1] as number) > hash; at--) kept[at] = kept[at - 1] as number
    kept[at] = hash
  }
  const isLarger = (a: number, b: number): boolean => {
    for (let place = KEPT_HASHES - 1; place >= 0; place--) {
      const difference = (kept[a * KEPT_HASHES + place] as number) - (kept[b * KEPT_HASHES + place] as number)
      if (difference !== 0) return difference < 0
    }
    return false
  }
  for (let at = order.length - 1; at >= 0; at--) {
    const index = order[at] as number
    const end = starts[index + 1] as number
    let base = NO_PATH
    for (let edge = starts[index] as number; edge < end; edge++) {
      const reference = targets[edge] as number
      if (base === NO_PATH || isLarger(reference, base)) base = reference
      for (let place = 0; place < KEPT_HASHES; place++) keep(index, kept[reference * KEPT_HASHES + place] as number)
      if (turns.isOver(8)) await turns.next()
    }
    bases[index] = base
    keep(index, hashOf(index))
    if (turns.isOver(8)) await turns.next()
  }
  return bases
}

/** Spreads indexes over 32 bits (the finaliser of MurmurHash3). */
function hashOf(index: number): number {
  let hash = index + 1
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** The tree of bases downwards: the first child of each path, and the next one with the same base. */
function childrenOf(bases: Uint32Array, order: Uint32Array): { readonly first: Uint32Array; readonly next: Uint32Array } {
  const first = new Uint32Array(bases.length).fill(NO_PATH)
  const next = new Uint32Array(bases.length).fill(NO_PATH)
  for (const index of order) {
    const base = bases[index] as number
    if (base === NO_PATH) continue
    next[index] = first[base] as number
    first[base] = index
  }
  return { first, next }
}
