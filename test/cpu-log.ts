/**
 * What each test file computes, its programs, machines and threads included: with `KILNIX_CPU_LOG=FILE` a line
 * `SECONDS OWN FILE` for each is added to FILE. From Linux's /proc, which counts a child when it has ended.
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { afterAll, expect } from 'vitest'
import { ROOT } from './projects.ts'

/** Ticks of USER_HZ, see proc_pid_stat(5): fields 14 to 17, utime, stime, cutime and cstime. */
const TICKS_PER_SECOND = 100

function cpuSeconds(): { readonly own: number; readonly all: number } {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15)
    .map(Number)
  const own = (user + system) / TICKS_PER_SECOND
  return { own, all: own + (childUser + childSystem) / TICKS_PER_SECOND }
}

const log = process.env.KILNIX_CPU_LOG
const before = globalThis as { kilnixCpu?: { own: number; all: number } }
if (log !== undefined) {
  const start = before.kilnixCpu ?? { own: 0, all: 0 }
  // Registered first, so it runs last.
  afterAll(() => {
    const { own, all } = cpuSeconds()
    before.kilnixCpu = { own, all }
    const file = relative(ROOT, expect.getState().testPath ?? '')
    appendFileSync(log, `${(all - start.all).toFixed(2)} ${(own - start.own).toFixed(2)} ${file}\n`)
  })
}
