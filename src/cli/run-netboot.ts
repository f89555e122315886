/** Running `kilnix netboot`: a folder of files. */
import type { Netboot } from '../images/netboot/index.ts'
import { checkApart } from '../io/apart.ts'
import { checkFolderDestination, type SavedFile, saveFolder } from '../io/folder.ts'
import type { Settings } from './options.ts'
import { netbootOf } from './recipes.ts'
import { checkFolderApart, configFile, contextOf, fileLines, printPlan, withProgress } from './run-common.ts'
import { say } from './stderr.ts'
import { printResult } from './stdout.ts'
import { formatBytes } from './units.ts'
import { usage } from './values.ts'

/** Resolves to the exit status; throws what the build throws. */
export async function runNetboot(settings: Settings): Promise<number> {
  const { output = '-', force, dryRun } = settings
  if (output === '-' && !dryRun) throw usage('--output is -; a folder cannot be streamed, name one to write')
  return withProgress(settings, async (run) => {
    const { signal, progress } = run
    const recipe = await netbootOf(settings, { signal, onProgress: progress.listener })
    if (dryRun) return printPlan({ ...recipe.plan }, settings, run)
    const options = { force, replaceable: recipe.replaceable, digest: !settings.quiet }
    await checkFolderDestination(output, options, progress.listener)
    checkPlaces(recipe, output, settings)
    const context = contextOf(settings, run)
    const save = async () => saveFolder(await recipe.files(context), output, options, context)
    const saved = await save().finally(() => recipe.close())
    progress.clear()
    await printResult([output], output, signal)
    if (!settings.quiet) say(...report(output, recipe, saved, run.seconds()))
    return 0
  })
}

function checkPlaces({ inputs }: Netboot, output: string, settings: Settings): void {
  const all = [...inputs, ...configFile(settings)]
  checkFolderApart(output, all)
  if (settings.pieces === undefined) return
  checkFolderApart(output, [settings.pieces])
  checkApart(settings.pieces, all)
}

/** A line a file, and one for the whole. */
function report(path: string, recipe: Netboot, saved: readonly SavedFile[], seconds: number): string[] {
  const { narBytes, verified, pathCount, kernel, initrds } = recipe.plan
  const loaded = [kernel, ...initrds].map((name) => saved.find((file) => file.path === name)?.size ?? 0)
  const size = loaded.reduce((sum, bytes) => sum + bytes, 0)
  const ratio = narBytes === 0 ? '' : `, ${(size / narBytes).toFixed(3)} of the closure`
  const unverified = verified ? '' : ', NAR hashes not checked'
  const whole = `${path}: ${formatBytes(size)} to load${ratio}, ${pathCount} store paths${piecesText(recipe.pieces())}, ${seconds.toFixed(1)} s${unverified}`
  return [...fileLines(saved), whole]
}

/** `, 3 of 45 pieces built anew` */
export function piecesText(pieces: ReturnType<Netboot['pieces']>): string {
  if (pieces.length === 0) return ''
  const built = pieces.filter(({ reused }) => !reused).length
  return `, ${built} of ${pieces.length} pieces built anew`
}
