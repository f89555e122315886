/** Running a command, in one way for all: progress on standard error, and signals. */
import type { OpenedSource, SourceScope, StoreInput } from '../system/input.ts'
import type { OpenedSources, OpenOptions } from '../system/source.ts'
import type { Catalogue, Command, Run, RunCommand } from './command.ts'
import { withMemory } from './memory.ts'
import { createProgress, type ProgressMode } from './progress.ts'
import type { Given, Rows } from './row.ts'
import { withSignals } from './signals.ts'
import { standardError } from './stderr.ts'

/** Commands that open no closure do not load what opens them. */
class LaterSources implements SourceScope {
  #opened: OpenedSources | undefined

  async open(input: StoreInput, options?: OpenOptions): Promise<OpenedSource> {
    const { OpenedSources } = await import('../system/source.ts')
    this.#opened ??= new OpenedSources()
    return this.#opened.open(input, options)
  }

  async close(): Promise<void> {
    await this.#opened?.close()
  }
}

/** Resolves to the exit status; throws what the command throws. */
export function run(command: Command, asked: Given<Rows>, catalogue: Catalogue): Promise<number> {
  const given = withMemory(asked)
  return withProgress(command, given, catalogue, async (context) => {
    if (!('writes' in command)) return command.run(given, context)
    const { runWriter } = await import('./write.ts')
    return runWriter(command, given, context)
  })
}

/** Run `work` with progress on standard error, which is cleared at the end, and with a signal that ends it in order. */
function withProgress(command: Command, given: Given<Rows>, catalogue: Catalogue, work: (run: Run) => Promise<number>): Promise<number> {
  const started = performance.now()
  const progress = createProgress(progressMode(given), standardError, () => performance.now())
  const seconds = (): number => (performance.now() - started) / 1000
  const options = { isService: 'isService' in command && (command as RunCommand).isService === true }
  return withSignals(async (signal) => {
    const sources = new LaterSources()
    try {
      return await work({ catalogue, signal, progress, seconds, sources })
    } finally {
      await sources.close()
      progress.clear()
    }
  }, options)
}

/** Of a command that has no row for it, as its work is short, nothing is told where it would stand in a log. */
function progressMode({ quiet, dryRun, progress = 'brief' }: Given<Rows>): ProgressMode {
  if (quiet) return 'none'
  if (dryRun || progress === 'none') return 'notes'
  if (progress !== 'auto' && progress !== 'brief') return progress as ProgressMode
  if (process.stderr.isTTY && process.env.TERM !== 'dumb') return 'bar'
  return progress === 'brief' ? 'notes' : 'plain'
}
