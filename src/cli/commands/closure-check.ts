import { runCommand } from '../command.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { flag } from '../values.ts'

export default runCommand({
  name: 'closure check',
  help: {
    summary: 'Check a closure: complete, and hashes, sizes, references and content addresses as listed',
    usage: 'kilnix closure check PATH|CLOSURE [options]',
    examples: [{ about: 'Of a store below ./root', line: 'kilnix closure check ./closure-info --root ./root' }],
  },
  rows: {
    closure: row({ ...rows.EITHER, required: true, positional: true }),
    contents: row({
      type: flag(),
      group: 'Input',
      configurable: false,
      default: true,
      about: 'Read the store and compare hashes, sizes and references with the listing',
      aboutNegated: 'Check the listing only and do not read the store',
    }),
    ...rows.LOOKED_UP,
    caseHack: rows.CASE_HACK,
    json: rows.PRINT_JSON,
    jobs: row({ ...rows.JOBS, about: 'Worker threads' }),
    progress: rows.PROGRESS,
    quiet: row({ ...rows.QUIET, about: 'Print no progress' }),
  },
  /** The status is 1 for a closure that is not as its listing says. */
  async run(given, run) {
    const { checkClosure } = await import('../../nix/inspect/check.ts')
    const { print, sourceInput } = await import('../closure-answer.ts')
    const { checkLines } = await import('../closure-text.ts')
    const { signal, progress, sources } = run
    const { contents, caseHack, jobs } = given
    const input = await sourceInput(given.closure, given, run)
    const { closure, root, nars } = await sources.open(input, { allowMissing: true })
    const options = { contents, caseHack, ...(jobs !== undefined && { jobs }), root, nars, signal, onProgress: progress.listener }
    const report = await checkClosure(closure, options)
    await print(report, () => checkLines(report), given.json, run)
    return report.problems.length === 0 ? 0 : 1
  },
})
