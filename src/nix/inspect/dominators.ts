/**
 * The immediate dominator of a path is the nearest path that all chains of references to it pass (Lengauer and Tarjan, 1979; without
 * cycles one pass in order of references finds it: it is what the dominators of all referrers have in common).
 *
 * Each node of the tree knows a second one further up, chosen by depth alone, so that a common one is found in logarithmic time and
 * with two numbers a node (Myers, "An applicative random-access stack", 1983).
 */
export class Dominators {
  /** Stands above the paths that no other refers to. */
  readonly top: number
  readonly #parents: Uint32Array
  readonly #jumps: Uint32Array
  readonly #depths: Uint32Array

  constructor(count: number) {
    this.top = count
    this.#parents = new Uint32Array(count + 1)
    this.#jumps = new Uint32Array(count + 1)
    this.#depths = new Uint32Array(count + 1)
    this.#parents[count] = count
    this.#jumps[count] = count
  }

  /** `dominator` is `top`, or was added before. */
  add(index: number, dominator: number): void {
    const jump = this.#jumps[dominator] as number
    const further = this.#jumps[jump] as number
    const depth = (node: number): number => this.#depths[node] as number
    this.#parents[index] = dominator
    this.#depths[index] = depth(dominator) + 1
    this.#jumps[index] = depth(dominator) - depth(jump) === depth(jump) - depth(further) ? further : dominator
  }

  of(index: number): number {
    return this.#parents[index] as number
  }

  /** The nearest that is above or at both. */
  common(first: number, second: number): number {
    const depthOf = this.#depths
    let [a, b] = (depthOf[first] as number) >= (depthOf[second] as number) ? [first, second] : [second, first]
    const depth = depthOf[b] as number
    while ((depthOf[a] as number) > depth) {
      const jump = this.#jumps[a] as number
      a = (depthOf[jump] as number) >= depth ? jump : (this.#parents[a] as number)
    }
    while (a !== b) {
      const [jumpA, jumpB] = [this.#jumps[a] as number, this.#jumps[b] as number]
      const isSame = jumpA === jumpB
      a = isSame ? (this.#parents[a] as number) : jumpA
      b = isSame ? (this.#parents[b] as number) : jumpB
    }
    return a
  }
}
