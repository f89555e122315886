/**
 * Runs before each test file, in the process that it shares with others. What the file changes of the process ends with it:
 * environment, working directory and umask are put back.
 *
 * And what the file has computed is told, its programs, machines and threads included: with `KILNIX_CPU_LOG=LOG` a line
 * `SECONDS OWN FILE` is added to LOG. From Linux's /proc, which counts a child when it has ended.
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { afterAll, expect } from 'vitest'
import { ROOT } from './projects.ts'

interface Cpu {
  readonly own: number
  readonly all: number
}

/** Ticks of USER_HZ, see proc_pid_stat(5): fields 14 to 17, utime, stime, cutime and cstime. */
const TICKS_PER_SECOND = 100

function cpuSeconds(): Cpu {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15)
    .map(Number)
  const own = (user + system) / TICKS_PER_SECOND
  return { own, all: own + (childUser + childSystem) / TICKS_PER_SECOND }
}

const environment = { ...process.env }
const folder = process.cwd()
const umask = process.umask()
const log = process.env.KILNIX_CPU_LOG
/** Until the file before this one ended. */
const before = globalThis as { kilnixCpu?: Cpu }

// Registered first, so it runs last.
afterAll(() => {
  for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name]
  Object.assign(process.env, environment)
  process.chdir(folder)
  process.umask(umask)
  if (log === undefined) return
  const { own, all } = cpuSeconds()
  const { kilnixCpu: start = { own: 0, all: 0 } } = before
  before.kilnixCpu = { own, all }
  const file = relative(ROOT, expect.getState().testPath ?? '')
  appendFileSync(log, `${(all - start.all).toFixed(2)} ${(own - start.own).toFixed(2)} ${file}\n`)
})
