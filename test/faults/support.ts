/** The command as a child process, and the small closure to do harm to. */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { removeStore, type SmallClosure, unpackSmall } from '../../fixtures/unpack.ts'
import { run } from '../oracles/tools.ts'

export const BIN = fileURLToPath(new URL('../../bin/kilnix.js', import.meta.url))
const PEAK_MEMORY = new URL('./peak-memory.ts', import.meta.url).href

export interface Ended {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: Buffer
  readonly stderr: string
}

/** Start `kilnix`; standard input is empty unless `stdio` says otherwise. */
export function start(args: readonly string[], options: SpawnOptions & { node?: readonly string[] } = {}): ChildProcess {
  const env = { ...process.env, SOURCE_DATE_EPOCH: '', ...options.env }
  return spawn(process.execPath, [...(options.node ?? []), BIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...options, env })
}

/** What a child leaves when it ends by itself or by a signal. */
export async function finish(child: ChildProcess): Promise<Ended> {
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
  const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { status, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }
}

export function kilnix(args: readonly string[], options: Parameters<typeof start>[1] = {}): Promise<Ended> {
  return finish(start(args, options))
}

/** Run to the end with `standardInput` (if any), and say how much memory was resident at most, in bytes. */
export async function kilnixMeasured(
  args: readonly string[],
  standardInput?: (child: ChildProcess) => void,
): Promise<Ended & { readonly peakBytes: number }> {
  const child = start(args, { node: ['--import', PEAK_MEMORY], stdio: ['pipe', 'pipe', 'pipe', 'pipe'] })
  const report: Buffer[] = []
  child.stdio[3]?.on('data', (chunk: Buffer) => report.push(chunk))
  if (standardInput) standardInput(child)
  else child.stdin?.end()
  const ended = await finish(child)
  return { ...ended, peakBytes: Number(Buffer.concat(report).toString()) * 1024 }
}

export interface Work {
  /** Everything of the test lies here; removed by `remove`. */
  readonly folder: string
  readonly closure: SmallClosure
  /** `--closure` and `--root` of the small closure, a fast codec, two workers. */
  readonly input: readonly string[]
  remove(): Promise<void>
}

export async function smallWork(): Promise<Work> {
  const folder = await mkdtemp(join(tmpdir(), 'kilnix-faults-'))
  const closure = await unpackSmall(join(folder, 'closure'))
  const input = ['--closure', closure.folder, '--root', closure.root, '--compression', 'zstd:1', '--jobs', '2']
  return { folder, closure, input, remove: () => removeStore(folder) }
}

export function sha256Of(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}

/** Hidden files count: nothing but what is expected may be left. */
export function leftIn(folder: string): string[] {
  return readdirSync(folder).sort()
}

/** All of stderr after an error: a line with its code and `text`, which may stand in the indented list that follows. */
export function errorLine(code: string, text: RegExp | string): RegExp {
  const inner = typeof text === 'string' ? text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&') : text.source
  return new RegExp(`^kilnix: error \\[${code}\\]: .*(?:\\n  .*)*?${inner}.*(?:\\n  .*)*\\n$`)
}

const mountable = process.platform === 'linux' && process.getuid?.() === 0

/** Why tests with a file system of their own cannot run, or undefined. In CI they run and fail. */
export const NO_MOUNT: string | undefined =
  mountable || process.env.CI === 'true' ? undefined : 'skipped: only root can mount a small file system'
if (NO_MOUNT) console.warn(NO_MOUNT)

/** Mount an empty file system of `size` bytes at `folder` while `work` runs; `mode` as mount(8) takes it. */
export async function withDisk<T>(folder: string, size: number, work: () => Promise<T>, mode = '777'): Promise<T> {
  const mounted = run('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=${mode}`, 'tmpfs', folder])
  if (mounted.status !== 0) throw new Error(`mount: ${mounted.stderr}`)
  try {
    return await work()
  } finally {
    run('umount', [folder])
  }
}

/** The same, where nobody else may write: pieces are believed in such folders only. */
export function withOwnDisk<T>(folder: string, size: number, work: () => Promise<T>): Promise<T> {
  return withDisk(folder, size, work, '755')
}

/** Root reads everything; as root, what must not be readable is read as nobody. */
export const UNPRIVILEGED: { uid?: number; gid?: number } = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

/** Why the command cannot run unprivileged, or undefined: a checkout below /root is closed to nobody. In CI it runs and fails. */
export const NOT_UNPRIVILEGED: string | undefined =
  process.env.CI === 'true' || spawnSync(process.execPath, [BIN, '--version'], UNPRIVILEGED).status === 0
    ? undefined
    : 'skipped: the checkout cannot be read by an unprivileged user'

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
