/** What running any command needs. */
import type { Settings } from './options.ts'
import { planTable } from './plan-table.ts'
import type { ProgressMode } from './progress.ts'

/** For --dry-run. */
export function printPlan(plan: Readonly<Record<string, unknown>>, settings: Settings): number {
  process.stdout.write(settings.json ? `${JSON.stringify(plan, null, 2)}\n` : planTable(plan))
  return 0
}

export function progressMode(settings: Settings): ProgressMode {
  if (settings.quiet || settings.dryRun) return 'none'
  if (settings.progress !== 'auto') return settings.progress
  return process.stderr.isTTY && process.env.TERM !== 'dumb' ? 'bar' : 'plain'
}

/** The config file, which is an input as well. */
export function configFile({ config }: Settings): string[] {
  return config === undefined ? [] : [config]
}
