/**
 * `zdb` of OpenZFS, which reads a pool as an import would and needs no kernel module: the one that KILNIX_ZDB names, else
 * those of `fixtures/zfs/tools.sh`, else the system's. Outside CI a machine without any skips; in CI (`CI=true`) both of
 * the fixture must be there.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Oracle, ToolResult } from './tools.ts'

const CACHE = join(import.meta.dirname, '../../.cache/zfs')
/** Debian's suites, with OpenZFS 2.1 and 2.3. */
export const ZFS_SUITES = ['bookworm', 'bookworm-backports'] as const
const IS_CI = process.env['CI'] === 'true'

const SUITE_ZDBS = ZFS_SUITES.map((suite) => join(CACHE, suite, 'zdb'))
const SYSTEM_ZDB = '/usr/sbin/zdb'

/** Programs, oldest first; never empty. */
export const ZDBS: readonly string[] = findZdbs()
/** For what one of them can say. */
export const ZDB = ZDBS[0] as string

function findZdbs(): readonly string[] {
  const named = process.env['KILNIX_ZDB']
  if (named !== undefined) return [named]
  const found = SUITE_ZDBS.filter((path) => IS_CI || existsSync(path))
  return found.length > 0 ? found : [SYSTEM_ZDB]
}

let isReported = false

/** Whether tests that need `zdb` are to be skipped, and why. Prints the reason once. */
export function zdbOracle(): Oracle {
  if (IS_CI || existsSync(ZDB)) return { skip: false, reason: '' }
  const reason = `skipped: there is no ${ZDB}; fixtures/zfs/tools.sh gets zdb`
  if (!isReported) console.warn(reason)
  isReported = true
  return { skip: true, reason }
}

/** A file of the machine of a suite, made by `fixtures/zfs/module.sh`; undefined where it is missing outside CI. */
export function zfsMachineFile(suite: (typeof ZFS_SUITES)[number], name: 'vmlinuz' | 'initrd'): string | undefined {
  const path = join(CACHE, `machine-${suite}`, name)
  return IS_CI || existsSync(path) ? path : undefined
}

/** Run `program` (default: the oldest) to its end beside others that run; does not throw on a non-zero status. */
export async function zdb(args: readonly string[], program = ZDB): Promise<ToolResult> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' } })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`${program}: ${error.message}; run fixtures/zfs/tools.sh`)))
    child.once('close', (code) => resolve(code ?? -1))
  })
  const all = Buffer.concat(stdout)
  return { status, stdout: all, text: all.toString('utf8'), stderr: Buffer.concat(stderr).toString('utf8') }
}

/**
 * Everything that `zdb` checks of the pool `name`, whose only device lies in `folder`: the uberblock, all space maps, all
 * objects and counts of features, and all blocks against the space maps; the contents of files too where that is quick.
 */
export function zdbChecks(folder: string, name: string, program: string): Promise<ToolResult> {
  return zdb(['-e', '-p', folder, '-u', '-mm', '-dddd', ...blockChecks(program), name], program)
}

/** Whether `zdb` finds every block readable, and in the space maps once. */
export function zdbBlocks(folder: string, name: string): Promise<ToolResult> {
  return zdb(['-e', '-p', folder, ...blockChecks(ZDB), name])
}

/**
 * Contents of files are read ahead of a check, and `zdb` spins until what was read ahead is 6 seconds old. In 2.1 that age
 * can be set; the 2.3 of the fixture checks pointers and metadata only.
 */
function blockChecks(program: string): readonly string[] {
  if (program === SUITE_ZDBS[0]) return ['-o', 'zfs_arc_min_prescient_prefetch_ms=1', '-bcc']
  return program === SUITE_ZDBS[1] ? ['-bc'] : ['-bcc']
}
