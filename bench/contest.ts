/**
 * Runs whole commands in turn and compares them: ours and the tool that a user would take instead, in the
 * same minute on the same machine. Time is wall time, CPU is that of all threads, memory the most that a
 * process had resident, as GNU time says.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Contestant {
  readonly name: string
  /** Shell text; `$OUT` is the file or folder to write. */
  readonly command: string
}

interface Run {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly mebibytes: number
  readonly bytes: number
}

/** The command as it is published: compiled, without the sources beside it. */
export const KILNIX = `${process.execPath} ${published()}`
export const LARGE = process.env['CLOSURE'] ?? fileURLToPath(new URL('../.cache/closures/large', import.meta.url))
/** The tool to compare with; Debian's may be old, a newer one is named here. */
export const MKSQUASHFS = process.env['MKSQUASHFS'] ?? 'mksquashfs'

/** Ends the process with a word of advice where the large closure is missing. */
export function requireClosure(): void {
  if (existsSync(join(LARGE, 'store-paths'))) return
  console.log(`no closure in ${LARGE}: run fixtures/large/make.sh, or set CLOSURE to a closureInfo folder with a root/ beside it`)
  process.exit(1)
}

/** Run all of `contestants` in turn, `rounds` times; print the median of each, and its ratios to that of the last. */
export function contest(title: string, contestants: readonly Contestant[], rounds: number): void {
  const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'kilnix-bench-'))
  try {
    const runs = contestants.map((): Run[] => [])
    for (let round = 0; round < rounds; round++) {
      for (const [index, { command }] of contestants.entries()) runs[index]?.push(measure(command, join(folder, 'out')))
    }
    const medians = runs.map(medianRun)
    const reference = medians.at(-1)
    console.log(`\n${title} (medians of ${rounds})`)
    for (const [index, { seconds, cpuSeconds, mebibytes, bytes }] of medians.entries()) {
      const ratio = (value: number, other: number | undefined): string => (other ? (value / other).toFixed(3) : '-')
      console.log(
        `  ${(contestants[index]?.name ?? '').padEnd(28)} ${seconds.toFixed(2).padStart(8)} s  x${ratio(seconds, reference?.seconds)}` +
          `  CPU ${cpuSeconds.toFixed(2)} s x${ratio(cpuSeconds, reference?.cpuSeconds)}` +
          `  ${mebibytes.toFixed(0)} MiB resident  ${bytes} bytes x${ratio(bytes, reference?.bytes)}`,
      )
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Each figure is the median of its own. */
function medianRun(runs: readonly Run[]): Run {
  const of = (figure: (run: Run) => number): number => median(runs.map(figure))
  return {
    seconds: of((run) => run.seconds),
    cpuSeconds: of((run) => run.cpuSeconds),
    mebibytes: of((run) => run.mebibytes),
    bytes: of((run) => run.bytes),
  }
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function published(): string {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const build = spawnSync(process.execPath, [join(root, 'scripts/build.ts')], { stdio: 'inherit' })
  if (build.status !== 0) throw new Error('the build failed')
  // Below the checkout, so that optional packages are found.
  const folder = join(root, '.cache/published')
  rmSync(folder, { recursive: true, force: true })
  for (const name of ['bin', 'dist', 'package.json']) cpSync(join(root, name), join(folder, name), { recursive: true })
  return join(folder, 'bin/kilnix.js')
}

function measure(command: string, out: string): Run {
  rmSync(out, { recursive: true, force: true })
  const times = `${out}.times`
  const result = spawnSync('/usr/bin/time', ['-q', '-o', times, '-f', '%e %U %S %M', 'bash', '-euc', command], {
    env: { ...process.env, OUT: out },
    stdio: ['ignore', 'ignore', 'pipe'],
    maxBuffer: 1 << 28,
  })
  if (result.status !== 0) throw new Error(`${command}\n${result.error?.message ?? result.stderr.toString()}`)
  const [seconds = 0, user = 0, system = 0, kibibytes = 0] = readFileSync(times, 'utf8').trim().split(' ').map(Number)
  return { seconds, cpuSeconds: user + system, mebibytes: kibibytes / 1024, bytes: sizeOf(out) }
}

/** Bytes of a file, or of all files of a folder. */
function sizeOf(path: string): number {
  if (!existsSync(path)) return 0
  if (!statSync(path).isDirectory()) return statSync(path).size
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
}
