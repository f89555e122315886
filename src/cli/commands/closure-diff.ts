import { runCommand } from '../command.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { path, usage } from '../values.ts'

export default runCommand({
  name: 'closure diff',
  help: {
    summary: 'Print what differs between two closures: packages, versions and sizes',
    usage: 'kilnix closure diff OLD NEW [options]',
    examples: [{ about: 'What an update changes', line: 'kilnix closure diff ./old-closure-info ./new-closure-info' }],
  },
  rows: {
    oldClosure: row({
      type: path('OLD'),
      group: 'Input',
      required: true,
      positional: true,
      configurable: false,
      about: 'The listing of store paths before, of any kind that other commands take as CLOSURE; - reads it from standard input',
    }),
    newClosure: row({
      type: path('NEW'),
      group: 'Input',
      required: true,
      positional: true,
      configurable: false,
      about: 'The listing of store paths after',
    }),
    root: rows.ROOT,
    caseHack: rows.CASE_HACK,
    json: rows.PRINT_JSON,
  },
  async run(given, run) {
    const { oldClosure, newClosure } = given
    if (oldClosure === '-' && newClosure === '-') throw usage('only one of OLD and NEW can be standard input')
    const { closureDifference } = await import('../../nix/inspect/diff.ts')
    const { load, print } = await import('../closure-answer.ts')
    const { differenceLines } = await import('../closure-text.ts')
    const old = await load(oldClosure, given, run)
    const difference = await closureDifference(old, await load(newClosure, given, run), { signal: run.signal })
    await print(difference, () => differenceLines(difference), given.json, run)
    return 0
  },
})
