import type { Closure } from '../../nix/listing/closure.ts'
import { runCommand } from '../command.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { path, usage } from '../values.ts'

export default runCommand({
  name: 'closure diff',
  help: {
    summary: 'Print what differs between two closures: packages, versions and sizes',
    usage: 'kilnix closure diff OLD NEW [options]',
    examples: [
      { about: 'What an update changes', line: 'kilnix closure diff ./old-closure-info ./new-closure-info' },
      { about: 'What the new system changes in that which runs', line: 'kilnix closure diff /run/current-system ./result' },
    ],
  },
  rows: {
    oldClosure: row({
      type: path('OLD'),
      group: 'Input',
      required: true,
      positional: true,
      configurable: false,
      about:
        'The closure before: a listing of any kind that other commands take as CLOSURE, - for one from standard input, or a store path or a link to one',
    }),
    newClosure: row({
      type: path('NEW'),
      group: 'Input',
      required: true,
      positional: true,
      configurable: false,
      about: 'The closure after, written likewise; --store and --from say where store paths are looked up',
    }),
    ...rows.LOOKED_UP,
    caseHack: rows.CASE_HACK,
    json: rows.PRINT_JSON,
  },
  async run(given, run) {
    const { oldClosure, newClosure } = given
    if (oldClosure === '-' && newClosure === '-') throw usage('only one of OLD and NEW can be standard input')
    const { closureDifference } = await import('../../nix/inspect/diff.ts')
    const { print, sourceInputs } = await import('../closure-answer.ts')
    const { differenceLines } = await import('../closure-text.ts')
    const { loadClosure } = await import('../../system/store.ts')
    const closures = []
    for (const input of await sourceInputs([oldClosure, newClosure], given, run)) closures.push((await loadClosure(input)).closure)
    const [old, changed] = closures as [Closure, Closure]
    const difference = await closureDifference(old, changed, { signal: run.signal })
    await print(difference, () => differenceLines(difference), given.json, run)
    return 0
  },
})
