import type { PathSizes } from '../../nix/inspect/sizes.ts'
import { runCommand } from '../command.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { choice, integer } from '../values.ts'

export default runCommand({
  name: 'closure show',
  help: {
    summary: 'Print the sizes of the store paths of a closure',
    usage: 'kilnix closure show PATH|CLOSURE [options]',
    examples: [
      { about: 'What takes most of a system that is built', line: 'kilnix closure show ./result --top 20' },
      { about: 'What takes most', line: 'kilnix closure show ./closure-info --top 20' },
      { about: 'What could be saved most by leaving one path out', line: 'kilnix closure show ./closure-info --sort added --top 20' },
    ],
  },
  rows: {
    closure: row({ ...rows.EITHER, required: true, positional: true }),
    sort: row({
      type: choice(['size', 'closure', 'added', 'name']),
      group: 'Output',
      configurable: false,
      default: 'size',
      about: 'By size of the path, with all that it refers to, what would go if it went, or name',
    }),
    top: row({
      type: integer('N', 1, 1_000_000),
      group: 'Output',
      configurable: false,
      defaultText: 'all paths',
      about: 'Print the first N paths only',
    }),
    ...rows.LOOKED_UP,
    caseHack: rows.CASE_HACK,
    json: rows.PRINT_JSON,
  },
  async run(given, run) {
    const { sortedInTurns, Turns } = await import('../../io/turns.ts')
    const { closureSizes } = await import('../../nix/inspect/sizes.ts')
    const { compareNames } = await import('../../nix/store/store-path.ts')
    const { load, print } = await import('../closure-answer.ts')
    const { sizesLines } = await import('../closure-text.ts')
    const { signal, progress } = run
    const { closure } = await load(given.closure, given, run)
    const { narSize, paths } = await closureSizes(closure, {
      signal,
      onBegin: (totalBytes) => progress.listener({ kind: 'stage', stage: 'sum', totalBytes }),
      onBytes: (doneBytes) => progress.listener({ kind: 'bytes', stage: 'sum', doneBytes }),
    })
    const key = KEYS[given.sort]
    // The largest first; the same size by name.
    const compare = (a: PathSizes, b: PathSizes): number => key(b) - key(a) || compareNames(a.path, b.path)
    const shown = (await sortedInTurns(paths, compare, new Turns(signal))).slice(0, given.top)
    const sizes = { pathCount: paths.length, narSize, paths: shown }
    await print(sizes, () => sizesLines(sizes), given.json, run)
    return 0
  },
})

const KEYS: Readonly<Record<'size' | 'closure' | 'added' | 'name', (sizes: PathSizes) => number>> = {
  size: ({ narSize }) => narSize,
  closure: ({ closureSize }) => closureSize,
  added: ({ addedSize }) => addedSize,
  name: () => 0,
}
