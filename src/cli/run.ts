/**
 * Running a command, in one way for all: progress and signals; for those that write something the checks of the output, the
 * plan of a dry run, the line that names the result, and the last lines for people.
 */
import type { Command, Context, FolderCommand, ImageCommand, Run, RunCommand, StoreCommand } from './command.ts'
import { planTable } from './plan-table.ts'
import { createProgress, type ProgressMode } from './progress.ts'
import type { Given, Rows } from './row.ts'
import { withSignals } from './signals.ts'
import { say, standardError } from './stderr.ts'
import { printJson, printLines, printResult } from './stdout.ts'
import { checkImageOutput, type GivenOutput, requireFolder, type Written, writeFolder, writeImage, writeStore } from './write.ts'

/** Resolves to the exit status; throws what the command throws. */
export function run(command: Command, given: Given<Rows>): Promise<number> {
  // Every command that writes has these rows; tests hold it to that.
  if ('writes' in command) return runWriter(command, given as GivenOutput)
  return withProgress(command, given, (context) => command.run(given, context))
}

type Writer = ImageCommand | FolderCommand | StoreCommand

async function runWriter(command: Writer, given: GivenOutput): Promise<number> {
  const { output, quiet, dryRun, json } = given
  if (!dryRun) {
    if (command.writes === 'image') await checkImageOutput(given)
    else requireFolder(command.writes, given)
  }
  return withProgress(command, given, async (run) => {
    const { signal, progress } = run
    const context = { signal, onProgress: progress.listener }
    if (dryRun) {
      const plan = await planOf(command, given, context)
      if (json) await printJson(plan, 2, signal)
      else await printLines(planTable(plan), signal)
      return 0
    }
    const { results, files, summary, remarks } = await write(command, given, run)
    progress.clear()
    await printResult(results, output, signal)
    if (!quiet) say(...files, `${output}: ${[...summary, `${run.seconds().toFixed(1)} s`, ...remarks].join(', ')}`)
    return 0
  })
}

async function planOf(command: Writer, given: GivenOutput, context: Context): Promise<Readonly<Record<string, unknown>>> {
  if (command.writes === 'store') return { ...(await command.plan(given, context)) }
  const product = await command.make(given, context)
  await product.close()
  return { ...product.plan }
}

async function write(command: Writer, given: GivenOutput, run: Run): Promise<Written> {
  const context = { signal: run.signal, onProgress: run.progress.listener }
  switch (command.writes) {
    case 'image':
      return writeImage(await command.make(given, context), given, run)
    case 'folder':
      return writeFolder(command, await command.make(given, context), given, run)
    case 'store':
      return writeStore(await command.make(given, context), given, run)
  }
}

/** Run `work` with progress on standard error, which is cleared at the end, and with a signal that ends it in order. */
function withProgress(command: Command, given: Given<Rows>, work: (run: Run) => Promise<number>): Promise<number> {
  const started = performance.now()
  const progress = createProgress(progressMode(given), standardError, () => performance.now())
  const seconds = (): number => (performance.now() - started) / 1000
  const options = { isService: 'isService' in command && (command as RunCommand).isService === true }
  return withSignals(async (signal) => {
    try {
      return await work({ signal, progress, seconds })
    } finally {
      progress.clear()
    }
  }, options)
}

/** Of a command that has no row for it, as its work is short, nothing is told where it would stand in a log. */
function progressMode({ quiet, dryRun, progress = 'brief' }: Given<Rows>): ProgressMode {
  if (quiet || dryRun) return 'none'
  if (progress !== 'auto' && progress !== 'brief') return progress as ProgressMode
  if (process.stderr.isTTY && process.env.TERM !== 'dumb') return 'bar'
  return progress === 'brief' ? 'none' : 'plain'
}
