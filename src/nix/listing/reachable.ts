/** What is reached in a closure by following references. */
import type { ClosurePath } from './closure.ts'

type Node = Pick<ClosurePath, 'path' | 'references'>

/**
 * The paths among `paths` that are reached from `roots`, themselves included, each with the path by which it is reached over
 * the fewest references (undefined for a root). Paths in their order of distance, then of names.
 */
export function reachable(paths: Iterable<Node>, roots: readonly string[]): ReadonlyMap<string, string | undefined> {
  const nodes = new Map([...paths].map((node) => [node.path, node]))
  const found = new Map<string, string | undefined>(roots.filter((root) => nodes.has(root)).map((root) => [root, undefined]))
  // What is added to a Map while it is walked is walked too.
  for (const path of found.keys()) {
    for (const reference of nodes.get(path)?.references ?? []) if (!found.has(reference) && nodes.has(reference)) found.set(reference, path)
  }
  return found
}

/** The shortest chain of references from a root to `path`, both included; `found` is what `reachable` gave. */
export function chainTo(path: string, found: ReadonlyMap<string, string | undefined>): string[] {
  const chain = [path]
  for (let at = found.get(path); at !== undefined; at = found.get(at)) chain.push(at)
  return chain.reverse()
}
