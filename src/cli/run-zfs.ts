/** Running `kilnix zfs`: a folder of disks. */
import type { ZfsDisksPlan } from '../images/zfs/index.ts'
import { checkFolderDestination, type SavedFile, saveFolder } from '../io/folder.ts'
import type { Settings } from './options.ts'
import { zfsDisksOf } from './recipes.ts'
import { checkFolderApart, configFile, contextOf, fileLines, printPlan, withProgress } from './run-common.ts'
import { say } from './stderr.ts'
import { printResult } from './stdout.ts'
import { usage } from './values.ts'

/** Resolves to the exit status; throws what the build throws. */
export async function runZfs(settings: Settings): Promise<number> {
  const { output = '-', force, dryRun } = settings
  if (output === '-' && !dryRun) throw usage('--output is -; a folder cannot be streamed, name one to write')
  return withProgress(settings, async (run) => {
    const { signal, progress } = run
    const { files, plan, inputs, replaceable } = await zfsDisksOf(settings, { signal, onProgress: progress.listener })
    if (dryRun) return printPlan({ ...plan }, settings, run)
    const options = { force, replaceable, digest: !settings.quiet && !isMostlyHoles(plan) }
    await checkFolderDestination(output, options, progress.listener)
    checkFolderApart(output, [...inputs, ...configFile(settings)])
    const context = contextOf(settings, run)
    const saved = await saveFolder(await files(context), output, options, context)
    progress.clear()
    await printResult([output], output, signal)
    if (!settings.quiet) say(...report(output, saved, plan, run.seconds()))
    return 0
  })
}

/** A digest has to see all zeros of a disk. */
function isMostlyHoles({ bootSize, rootDiskSize = 0, contentBytes }: ZfsDisksPlan): boolean {
  return bootSize + rootDiskSize > 4 * contentBytes + HASHED_HOLES
}

/** Zeros that are hashed in a few seconds. */
const HASHED_HOLES = 2 ** 33

/** A line a file, and one for the whole. */
function report(path: string, saved: readonly SavedFile[], plan: ZfsDisksPlan, seconds: number): string[] {
  const unverified = plan.verified ? '' : ', NAR hashes not checked'
  return [...fileLines(saved), `${path}: pool ${plan.pool}, ${plan.pathCount} store paths, ${seconds.toFixed(1)} s${unverified}`]
}
