/** Running `kilnix netboot`: a folder of files. */
import { parseCodecSpec } from '../codecs/spec.ts'
import type { Netboot, NetbootFiles } from '../images/netboot/index.ts'
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
  const { netbootFolder, netbootNames } = await import('../images/netboot/folder.ts')
  return withProgress(settings, async (run) => {
    const { signal, progress } = run
    const recipe = await netbootOf(settings, { signal, onProgress: progress.listener })
    if (dryRun) return printPlan({ ...recipe.plan }, settings, run)
    const options = { force, replaceable: netbootNames(recipe.plan), digest: !settings.quiet }
    await checkFolderDestination(output, options, progress.listener)
    checkPlaces(recipe, output, settings)
    const context = contextOf(settings, run)
    const files = await recipe.build(context)
    const kexec = settings.kexec ? parseCodecSpec(settings.kexecCompression) : undefined
    const saved = await saveFolder(netbootFolder(files, recipe.plan, kexec), output, options, context).finally(() => files.close())
    progress.clear()
    await printResult([output], output, signal)
    if (!settings.quiet) say(...report(output, recipe, files, saved, run.seconds()))
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
function report(path: string, recipe: Netboot, files: NetbootFiles, saved: readonly SavedFile[], seconds: number): string[] {
  const { narBytes, verified, pathCount } = recipe.plan
  const loaded = [files.kernel, ...files.initrds].map(({ name }) => saved.find((file) => file.path === name)?.size ?? 0)
  const size = loaded.reduce((sum, bytes) => sum + bytes, 0)
  const ratio = narBytes === 0 ? '' : `, ${(size / narBytes).toFixed(3)} of the closure`
  const unverified = verified ? '' : ', NAR hashes not checked'
  const whole = `${path}: ${formatBytes(size)} to load${ratio}, ${pathCount} store paths${piecesText(files)}, ${seconds.toFixed(1)} s${unverified}`
  return [...fileLines(saved), whole]
}

/** `, 3 of 45 pieces built anew` */
export function piecesText({ pieces }: NetbootFiles): string {
  if (pieces.length === 0) return ''
  const built = pieces.filter(({ reused }) => !reused).length
  return `, ${built} of ${pieces.length} pieces built anew`
}
