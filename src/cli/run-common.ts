/** What running any command needs. */
import { checkApart, checkHoldsNone } from '../io/apart.ts'
import type { SavedFile } from '../io/folder.ts'
import type { BuildContext } from '../io/image.ts'
import { buildContext } from '../io/output.ts'
import type { Settings } from './options.ts'
import { planTable } from './plan-table.ts'
import { createProgress, type Progress, type ProgressMode } from './progress.ts'
import { withSignals } from './signals.ts'
import { standardError } from './stderr.ts'
import { printJson, printLines } from './stdout.ts'
import { formatBytes } from './units.ts'

/** What a command that builds something works with. */
export interface Run {
  readonly signal: AbortSignal
  readonly progress: Progress
  /** Seconds since the command began. */
  seconds(): number
}

/** Run `work` with progress on standard error, which is cleared at the end, and with a signal that ends it in order. */
export function withProgress(settings: Settings, work: (run: Run) => Promise<number>): Promise<number> {
  const started = performance.now()
  const progress = progressOf(settings)
  const seconds = (): number => (performance.now() - started) / 1000
  return withSignals(async (signal) => {
    try {
      return await work({ signal, progress, seconds })
    } finally {
      progress.clear()
    }
  })
}

/** Progress on standard error. `isBrief`: for short work, of which nothing is to be told where it would stand in a log. */
export function progressOf(settings: Settings, { isBrief = false }: { readonly isBrief?: boolean } = {}): Progress {
  const mode = progressMode(settings)
  return createProgress(isBrief && mode === 'plain' ? 'none' : mode, standardError, () => performance.now())
}

/** Threads as asked for, and who is told. */
export function contextOf(settings: Settings, { signal, progress }: Run): BuildContext {
  return buildContext({ signal, onProgress: progress.listener, ...(settings.jobs !== undefined && { jobs: settings.jobs }) })
}

/** Throws USAGE where the folder to write is one of `inputs`, lies in one, or holds one. */
export function checkFolderApart(output: string, inputs: readonly string[]): void {
  checkApart(output, inputs)
  checkHoldsNone(output, inputs)
}

/** A line a file: name, size, digest. */
export function fileLines(saved: readonly SavedFile[]): string[] {
  const width = Math.max(...saved.map(({ path }) => path.length))
  return saved.map(({ path, size, sha256 }) => {
    const digest = sha256 === undefined ? '' : `  sha256 ${sha256}`
    return `  ${path.padEnd(width)}  ${formatBytes(size).padStart(10)}${digest}`
  })
}

/** For --dry-run. */
export async function printPlan(plan: Readonly<Record<string, unknown>>, { json }: Settings, { signal }: Run): Promise<number> {
  if (json) await printJson(plan, 2, signal)
  else await printLines(planTable(plan), signal)
  return 0
}

function progressMode(settings: Settings): ProgressMode {
  if (settings.quiet || settings.dryRun) return 'none'
  if (settings.progress !== 'auto') return settings.progress
  return process.stderr.isTTY && process.env.TERM !== 'dumb' ? 'bar' : 'plain'
}

/** The config file, which is an input as well. */
export function configFile({ config }: Settings): string[] {
  return config === undefined ? [] : [config]
}
