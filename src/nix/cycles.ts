/** Cycles in the graph of references. */

/**
 * A cycle of two or more members, or undefined. `references` has every node as a key; a node that refers to
 * itself is no cycle. Depth first without recursion: a chain of references may be long.
 */
export function findCycle(references: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const finished = new Set<string>()
  for (const start of references.keys()) {
    if (finished.has(start)) continue
    const trail: { readonly node: string; next: number }[] = [{ node: start, next: 0 }]
    const onTrail = new Set([start])
    for (let top = trail.at(-1); top !== undefined; top = trail.at(-1)) {
      const { node } = top
      const reference = references.get(node)?.[top.next++]
      if (reference === undefined) {
        finished.add(node)
        onTrail.delete(node)
        trail.pop()
      } else if (reference !== node && onTrail.has(reference)) {
        const members = trail.map((step) => step.node)
        return members.slice(members.indexOf(reference))
      } else if (!finished.has(reference) && !onTrail.has(reference)) {
        trail.push({ node: reference, next: 0 })
        onTrail.add(reference)
      }
    }
  }
  return undefined
}
