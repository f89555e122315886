/**
 * How much of the work does the main thread do alone, and how far would more cores carry?
 *
 *     node bench/scaling.ts [squashfs lz4/128K] [squashfs zstd:3/128K] [zfs lz4] [disk raw] ...
 *
 * Prints the CPU time of the main thread and of the process, medians of `ROUNDS`, and what Amdahl's law gives when all that
 * the main thread does is done alone: with n cores a run takes `main + (all - main) / n`. It needs Node 24 (`threadCpuUsage`).
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KILNIX, LARGE, median, requireClosure } from './contest.ts'

const DEFAULT_SETTINGS = ['squashfs zstd:3/128K', 'squashfs lz4/128K', 'zfs lz4', 'disk raw']
const JOBS = process.env['JOBS'] ?? '2'
const ROUNDS = Number(process.env['ROUNDS'] ?? 5)
const CORES = [2, 4, 8, 16]

interface Share {
  readonly main: number
  readonly all: number
}

requireClosure()
const settings = process.argv.length > 2 ? process.argv.slice(2) : DEFAULT_SETTINGS
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'kilnix-scaling-'))
try {
  for (const setting of settings) {
    const shares = Array.from({ length: ROUNDS }, () => measure(setting))
    const [main, all] = [median(shares.map((share) => share.main)), median(shares.map((share) => share.all))]
    const times = CORES.map((cores) => `${cores} cores ${(all / (main + (all - main) / cores)).toFixed(1)}`)
    const share = `${((100 * main) / all).toFixed(0)} %`
    console.log(
      `${setting.padEnd(24)} main thread ${main.toFixed(2)} s of ${all.toFixed(2)} s CPU (${share}); speed-up with ${times.join(', ')}`,
    )
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function measure(setting: string): Share {
  const [command = '', detail = ''] = setting.split(' ')
  const [compression = '', blockSize = ''] = detail.split('/')
  const options: Readonly<Record<string, readonly string[]>> = {
    squashfs: ['--compression', compression, '--block-size', blockSize],
    zfs: ['--boot-loader', 'none', '--root-size', 'auto', '--fs-prop', `compression=${compression}`],
    disk: ['--boot-loader', 'none', '--layout', 'legacy+gpt'],
  }
  const [out, shareFile] = [join(folder, 'out'), join(folder, 'share')]
  rmSync(out, { recursive: true, force: true })
  const [node = '', program = ''] = KILNIX.split(' ')
  const preload = new URL('./main-thread.js', import.meta.url).href
  const input = ['--closure', LARGE, '--root', join(LARGE, 'root'), '--jobs', JOBS]
  execFileSync(node, ['--import', preload, program, command, ...input, ...(options[command] ?? []), '-o', out], {
    env: { ...process.env, SHARE_FILE: shareFile },
    stdio: ['ignore', 'ignore', 'ignore'],
  })
  const { main, all }: Share = JSON.parse(readFileSync(shareFile, 'utf8'))
  return { main: main / 1e6, all: all / 1e6 }
}
