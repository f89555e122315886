/** Running `kilnix netboot`: a folder of files. */
import { parseCodecSpec } from '../codecs/spec.ts'
import type { Netboot, NetbootFiles } from '../images/netboot/index.ts'
import { checkApart, checkHoldsNone } from '../io/apart.ts'
import { checkFolderDestination, type SavedFile, saveFolder } from '../io/folder.ts'
import { buildContext } from '../io/output.ts'
import type { Settings } from './options.ts'
import { createProgress } from './progress.ts'
import { netbootOf } from './recipes.ts'
import { configFile, printPlan, progressMode } from './run-common.ts'
import { withSignals } from './signals.ts'
import { formatBytes } from './units.ts'
import { usage } from './values.ts'

/** Resolves to the exit status; throws what the build throws. */
export async function runNetboot(settings: Settings): Promise<number> {
  const { output = '-', force, dryRun } = settings
  if (output === '-' && !dryRun) throw usage('--output is -; a folder cannot be streamed, name one to write')
  const { netbootFolder, netbootNames } = await import('../images/netboot/folder.ts')
  const started = performance.now()
  const progress = createProgress(progressMode(settings), process.stderr, () => performance.now())
  return withSignals(async (signal) => {
    try {
      const recipe = await netbootOf(settings, { signal, onProgress: progress.listener })
      if (dryRun) return printPlan({ ...recipe.plan }, settings)
      const options = { force, replaceable: netbootNames(recipe.plan), digest: !settings.quiet }
      await checkFolderDestination(output, options)
      checkPlaces(recipe, output, settings)
      const context = buildContext({ signal, onProgress: progress.listener, ...(settings.jobs !== undefined && { jobs: settings.jobs }) })
      const files = await recipe.build(context)
      const kexec = settings.kexec ? parseCodecSpec(settings.kexecCompression) : undefined
      const saved = await saveFolder(netbootFolder(files, recipe.plan, kexec), output, options, context).finally(() => files.close())
      progress.clear()
      process.stdout.write(`${output}\n`)
      if (!settings.quiet) process.stderr.write(report(output, recipe, files, saved, (performance.now() - started) / 1000))
      return 0
    } finally {
      progress.clear()
    }
  })
}

function checkPlaces({ inputs }: Netboot, output: string, settings: Settings): void {
  const all = [...inputs, ...configFile(settings)]
  checkApart(output, all)
  checkHoldsNone(output, all)
  if (settings.pieces === undefined) return
  checkApart(output, [settings.pieces])
  checkHoldsNone(output, [settings.pieces])
  checkApart(settings.pieces, all)
}

/** A line a file, and one for the whole. */
function report(path: string, recipe: Netboot, files: NetbootFiles, saved: readonly SavedFile[], seconds: number): string {
  const { narBytes, verified, pathCount } = recipe.plan
  const width = Math.max(...saved.map((file) => file.path.length))
  const lines = saved.map((file) => `  ${file.path.padEnd(width)}  ${formatBytes(file.size).padStart(10)}  sha256 ${file.sha256}`)
  const loaded = [files.kernel, ...files.initrds].map(({ name }) => saved.find((file) => file.path === name)?.size ?? 0)
  const size = loaded.reduce((sum, bytes) => sum + bytes, 0)
  const ratio = narBytes === 0 ? '' : `, ${(size / narBytes).toFixed(3)} of the closure`
  const unverified = verified ? '' : ', NAR hashes not checked'
  return `${lines.join('\n')}\n${path}: ${formatBytes(size)} to load${ratio}, ${pathCount} store paths${piecesText(files)}, ${seconds.toFixed(1)} s${unverified}\n`
}

/** `, 3 of 45 pieces built anew` */
export function piecesText({ pieces }: NetbootFiles): string {
  if (pieces.length === 0) return ''
  const built = pieces.filter(({ reused }) => !reused).length
  return `, ${built} of ${pieces.length} pieces built anew`
}
