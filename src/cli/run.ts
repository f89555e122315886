/** Running a command that writes an image: recipe, progress, output, the last line. */
import { checkApart } from '../io/apart.ts'
import { checkDestination } from '../io/file-target.ts'
import { type SavedImage, saveImage } from '../io/output.ts'
import type { CommandName, Settings } from './options.ts'
import { planTable } from './plan-table.ts'
import { createProgress, type Progress, type ProgressMode } from './progress.ts'
import { type Recipe, recipeOf } from './recipes.ts'
import { withSignals } from './signals.ts'
import { streamToStdout } from './stdout.ts'
import { formatBytes } from './units.ts'
import { usage } from './values.ts'

/** zstd's own default, which nixpkgs uses for `.iso.zst`. */
const IMAGE_ZSTD_LEVEL = 3

/** Resolves to the exit status; throws what the build throws. */
export async function runCommand(command: CommandName, settings: Settings): Promise<number> {
  const toStdout = settings.output === '-'
  if (toStdout && !settings.dryRun && process.stdout.isTTY) throw usage('the image is not written to a terminal; redirect standard output')
  if (!toStdout && !settings.dryRun) await checkDestination(settings.output, settings.force)
  const started = performance.now()
  const progress = createProgress(progressMode(settings), process.stderr, () => performance.now())
  return withSignals(async (signal) => {
    try {
      const recipe = await recipeOf(command, settings, { signal, onProgress: progress.listener })
      if (settings.dryRun) return printPlan(recipe, settings)
      if (!toStdout) checkApart(settings.output, [...recipe.inputs, ...(settings.config === undefined ? [] : [settings.config])])
      const saved = await writeOutput(recipe, settings, progress, signal)
      progress.clear()
      if (!toStdout) process.stdout.write(`${settings.output}\n`)
      if (!settings.quiet) process.stderr.write(`${lastLine(settings.output, saved, recipe, (performance.now() - started) / 1000)}\n`)
      return 0
    } finally {
      progress.clear()
    }
  })
}

function writeOutput(recipe: Recipe, settings: Settings, progress: Progress, signal: AbortSignal): Promise<SavedImage> {
  const options = {
    signal,
    onProgress: progress.listener,
    ...(settings.jobs !== undefined && { jobs: settings.jobs }),
    ...(settings.compressImage && { zstdLevel: IMAGE_ZSTD_LEVEL }),
  }
  if (settings.output === '-') return streamToStdout(recipe.image, options)
  return saveImage(recipe.image, settings.output, { ...options, force: settings.force, digest: !settings.quiet })
}

function printPlan(recipe: Recipe, settings: Settings): number {
  process.stdout.write(settings.json ? `${JSON.stringify(recipe.plan, null, 2)}\n` : planTable(recipe.plan))
  return 0
}

function progressMode(settings: Settings): ProgressMode {
  if (settings.quiet || settings.dryRun) return 'none'
  if (settings.progress !== 'auto') return settings.progress
  return process.stderr.isTTY && process.env.TERM !== 'dumb' ? 'bar' : 'plain'
}

/** Path, size, ratio to the closure, seconds, digest. */
function lastLine(path: string, saved: SavedImage, recipe: Recipe, seconds: number): string {
  const { closureBytes } = recipe
  const ratio = closureBytes ? `, ${(saved.size / closureBytes).toFixed(3)} of the closure` : ''
  const unverified = recipe.verified ? '' : ', NAR hashes not checked'
  return `${path}: ${formatBytes(saved.size)}${ratio}, ${seconds.toFixed(1)} s, sha256 ${saved.sha256}${unverified}`
}
