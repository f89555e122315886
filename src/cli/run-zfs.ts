/** Running `kilnix zfs`: a folder of disks. */
import type { ZfsDisksPlan } from '../images/zfs/index.ts'
import { ZFS_FILE_NAMES } from '../images/zfs/names.ts'
import { checkApart, checkHoldsNone } from '../io/apart.ts'
import { checkFolderDestination, type SavedFile, saveFolder } from '../io/folder.ts'
import { buildContext } from '../io/output.ts'
import type { Settings } from './options.ts'
import { createProgress } from './progress.ts'
import { zfsDisksOf } from './recipes.ts'
import { configFile, printPlan, progressMode } from './run-common.ts'
import { withSignals } from './signals.ts'
import { formatBytes } from './units.ts'
import { usage } from './values.ts'

/** Resolves to the exit status; throws what the build throws. */
export async function runZfs(settings: Settings): Promise<number> {
  const { output = '-', force, dryRun } = settings
  if (output === '-' && !dryRun) throw usage('--output is -; a folder cannot be streamed, name one to write')
  const started = performance.now()
  const progress = createProgress(progressMode(settings), process.stderr, () => performance.now())
  return withSignals(async (signal) => {
    try {
      const { disks, plan, inputs } = await zfsDisksOf(settings, { signal, onProgress: progress.listener })
      if (dryRun) return printPlan({ ...plan }, settings)
      const options = { force, replaceable: ZFS_FILE_NAMES, digest: !settings.quiet && !isMostlyHoles(plan) }
      await checkFolderDestination(output, options)
      const all = [...inputs, ...configFile(settings)]
      checkApart(output, all)
      checkHoldsNone(output, all)
      const context = buildContext({ signal, onProgress: progress.listener, ...(settings.jobs !== undefined && { jobs: settings.jobs }) })
      const files = disks.map(({ name, image }) => ({ path: name, content: { kind: 'image', image } as const }))
      const saved = await saveFolder(files, output, options, context)
      progress.clear()
      process.stdout.write(`${output}\n`)
      const seconds = (performance.now() - started) / 1000
      if (!settings.quiet) process.stderr.write(report(output, saved, plan, seconds))
      return 0
    } finally {
      progress.clear()
    }
  })
}

/** A digest has to see all zeros of a disk. */
function isMostlyHoles({ bootSize, rootDiskSize = 0, contentBytes }: ZfsDisksPlan): boolean {
  return bootSize + rootDiskSize > 4 * contentBytes + HASHED_HOLES
}

/** Zeros that are hashed in a few seconds. */
const HASHED_HOLES = 2 ** 33

/** A line a file, and one for the whole. */
function report(path: string, saved: readonly SavedFile[], plan: ZfsDisksPlan, seconds: number): string {
  const width = Math.max(...saved.map((file) => file.path.length))
  const lines = saved.map(({ path: name, size, sha256 }) => {
    return `  ${name.padEnd(width)}  ${formatBytes(size).padStart(10)}${sha256 === undefined ? '' : `  sha256 ${sha256}`}`
  })
  const unverified = plan.verified ? '' : ', NAR hashes not checked'
  return `${lines.join('\n')}\n${path}: pool ${plan.pool}, ${plan.pathCount} store paths, ${seconds.toFixed(1)} s${unverified}\n`
}
