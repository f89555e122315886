import { ImageError } from '../../errors.ts'
import type { StorePlaces } from '../../nix/store/listed-tree.ts'
import type { NamedHolders } from '../closure-text.ts'
import { runCommand } from '../command.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { flag, text } from '../values.ts'

export default runCommand({
  name: 'closure why',
  help: {
    summary: 'Print why one store path needs another: the references from the one to the other',
    usage: 'kilnix closure why PATH|CLOSURE FROM TO [options]',
    examples: [
      { about: 'A shortest chain', line: 'kilnix closure why ./closure-info nixos-system-live perl-5.38.2' },
      {
        about: 'All chains, with the files that hold the references',
        line: 'kilnix closure why ./closure-info --all --precise nixos-system-live perl-5.38.2',
      },
    ],
  },
  rows: {
    closure: row({ ...rows.EITHER, required: true, positional: true }),
    fromPath: row({
      type: text('FROM'),
      group: 'Input',
      required: true,
      positional: true,
      configurable: false,
      about: 'Store path that refers: in full, its hash part, or a name that only one path has',
    }),
    toPath: row({
      type: text('TO'),
      group: 'Input',
      required: true,
      positional: true,
      configurable: false,
      about: 'Store path that is referred to, written likewise',
    }),
    all: row({
      type: flag(),
      group: 'Output',
      configurable: false,
      default: false,
      about: 'Print every chain of references, as a tree, not only a shortest one',
    }),
    precise: row({
      type: flag(),
      group: 'Output',
      configurable: false,
      default: false,
      about: 'Look into the store for the files that hold each reference',
    }),
    ...rows.LOOKED_UP,
    caseHack: rows.CASE_HACK,
    json: rows.PRINT_JSON,
  },
  async run(given, run) {
    const { pathByName } = await import('../../nix/inspect/names.ts')
    const { referenceChain, referenceChains } = await import('../../nix/inspect/why.ts')
    const { load, print } = await import('../closure-answer.ts')
    const { chainLines } = await import('../closure-text.ts')
    const { signal } = run
    const loaded = await load(given.closure, given, run)
    const { closure } = loaded
    const from = pathByName(closure, given.fromPath).path
    const to = pathByName(closure, given.toPath).path
    const chain = await referenceChain(closure, from, to, { signal })
    if (chain === undefined)
      throw new ImageError('NOT_FOUND', `${from} does not refer to ${to}, neither itself nor by others`, { path: from })
    const edges = given.all
      ? await referenceChains(closure, from, to, { signal })
      : new Map(chain.map((path, index) => [path, chain.slice(index + 1, index + 2)]))
    const holders = given.precise ? await holdersOf(edges, { ...loaded, caseHack: given.caseHack }, signal) : undefined
    const references = [...edges].map(([path, list]) => ({
      path,
      references: list.map((reference) => ({ path: reference, ...(holders && { holders: holders(path, reference) }) })),
    }))
    await print({ from, to, chain, references }, () => chainLines(from, edges, holders), given.json, run)
    return 0
  },
})

/** Looks through each path that refers to others once. */
async function holdersOf(
  edges: ReadonlyMap<string, readonly string[]>,
  { caseHack, ...places }: StorePlaces & { readonly caseHack: boolean },
  signal: AbortSignal,
): Promise<NamedHolders> {
  const { referenceHolders } = await import('../../nix/inspect/holders.ts')
  const { STORE_DIRECTORY } = await import('../../nix/store/store-path.ts')
  const { listedPlace, listedTree } = await import('../../nix/store/listed-tree.ts')
  const baseNameOf = (path: string): string => path.slice(STORE_DIRECTORY.length + 1)
  const found = new Map<string, Awaited<ReturnType<typeof referenceHolders>>>()
  for (const [path, references] of edges) {
    if (references.length === 0) continue
    const node = listedTree(listedPlace(baseNameOf(path), places), { caseHack })
    found.set(path, await referenceHolders(node, references.map(baseNameOf), path, signal))
  }
  return (path, reference) => found.get(path)?.get(baseNameOf(reference)) ?? []
}
