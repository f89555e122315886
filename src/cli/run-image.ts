/** Running a command that writes one file: recipe, progress, output, the last line. */
import { checkApart } from '../io/apart.ts'
import { checkDestination } from '../io/file-target.ts'
import { type GrowingImage, type Image, isGrowing } from '../io/image.ts'
import { type SavedImage, saveImage } from '../io/output.ts'
import { dataBytes } from '../io/stream.ts'
import { streamToStdout } from './image-stdout.ts'
import type { Settings } from './options.ts'
import { type ImageCommand, type Recipe, recipeOf } from './recipes.ts'
import { configFile, printPlan, type Run, withProgress } from './run-common.ts'
import { say } from './stderr.ts'
import { printResult, stdoutIsTerminal } from './stdout.ts'
import { formatBytes } from './units.ts'
import { usage } from './values.ts'

/** zstd's own default, which nixpkgs uses for `.iso.zst`. */
const IMAGE_ZSTD_LEVEL = 3

/** Resolves to the exit status; throws what the build throws. */
export async function runImage(command: ImageCommand, settings: Settings): Promise<number> {
  const { output = '-' } = settings
  const toStdout = output === '-'
  if (toStdout && !settings.dryRun && stdoutIsTerminal()) throw usage('the image is not written to a terminal; redirect standard output')
  if (!toStdout && !settings.dryRun) await checkDestination(output, settings.force)
  return withProgress(settings, async (run) => {
    const { signal, progress } = run
    let recipe: Recipe | undefined
    try {
      recipe = await recipeOf(command, settings, { signal, onProgress: progress.listener })
      if (settings.dryRun) return await printPlan(recipe.plan, settings, run)
      if (!toStdout) checkApart(output, [...recipe.inputs, ...configFile(settings)])
      const saved = await writeOutput(recipe, output, settings, run)
      progress.clear()
      if (!toStdout) await printResult([output], output, signal)
      if (!settings.quiet) say(lastLine(output, saved, recipe, run.seconds()))
      return 0
    } finally {
      await recipe?.close?.()
    }
  })
}

function writeOutput(recipe: Recipe, output: string, settings: Settings, { signal, progress }: Run): Promise<SavedImage> {
  const options = {
    signal,
    onProgress: progress.listener,
    ...(settings.jobs !== undefined && { jobs: settings.jobs }),
    ...(settings.compressImage && { zstdLevel: IMAGE_ZSTD_LEVEL }),
  }
  if (output === '-') return streamToStdout(recipe.image, options)
  return saveImage(recipe.image, output, { ...options, force: settings.force, digest: !settings.quiet && !isMostlyHoles(recipe.image) })
}

/** A sparse disk may be terabytes large, and a digest has to see all of its zeros. */
function isMostlyHoles(image: Image | GrowingImage): boolean {
  if (isGrowing(image)) return false
  return image.size > 4 * dataBytes(image) + HASHED_HOLES
}

/** Zeros that are hashed in less than a second. */
const HASHED_HOLES = 1 << 30

/** Path, size, ratio to the closure, seconds, digest. */
function lastLine(path: string, saved: SavedImage, recipe: Recipe, seconds: number): string {
  const { closureBytes } = recipe
  const ratio = closureBytes ? `, ${(saved.size / closureBytes).toFixed(3)} of the closure` : ''
  const digest = saved.sha256 === undefined ? '' : `, sha256 ${saved.sha256}`
  const unverified = recipe.verified ? '' : ', NAR hashes not checked'
  return `${path}: ${formatBytes(saved.size)}${ratio}, ${seconds.toFixed(1)} s${digest}${unverified}`
}
