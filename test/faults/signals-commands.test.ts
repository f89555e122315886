/** Whatever ends a command before it is done, and whichever command it is: nothing is left beside the output, nor in TMPDIR. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, constants as files, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { COMMAND_NAMES } from '../../src/cli/commands/index.ts'
import { systemErrorCode } from '../../src/errors.ts'
import { type Commands, everyCommand } from './commands.ts'
import { BIN, type Ended, finish, leftIn, randomNumbers, start } from './support.ts'

/** Those that end a process on this platform; SIGIO and the last two are of Linux. */
const SIGNALS = (
  [
    'SIGHUP',
    'SIGINT',
    'SIGQUIT',
    'SIGTERM',
    'SIGALRM',
    'SIGUSR2',
    'SIGXCPU',
    'SIGVTALRM',
    'SIGPROF',
    'SIGIO',
    'SIGSTKFLT',
    'SIGPWR',
  ] as const
).filter((name) => name in constants.signals && (name !== 'SIGIO' || process.platform === 'linux'))
type Name = (typeof SIGNALS)[number]

let all: Commands
let pieces: string
/** Waits for a listing that does not come, and was sent a SIGHUP. It takes seconds to lose patience, in which other tests run. */
let patient: Promise<Ended>
beforeAll(async () => {
  all = await everyCommand()
  pieces = join(all.work.folder, 'pieces')
  const fifo = join(all.work.folder, 'listing')
  spawnSync('mkfifo', [fifo])
  const child = begin(['squashfs', '--closure', fifo, '--quiet', '-o', join(all.work.folder, 'never')])
  patient = finish(child)
  await handlesSignals(child)
  child.kill('SIGHUP')
})
afterAll(() => all.work.remove())

/** What is seen in all places where a command may write. */
const seen = (): string[] => [...leftIn(all.output), ...leftIn(all.scratch), ...(existsSync(pieces) ? leftIn(pieces) : [])]
const partials = (): string[] => seen().filter((name) => name.startsWith('.kilnix-') || name.startsWith('kilnix-'))

afterEach(() => {
  const left = { output: leftIn(all.output), scratch: leftIn(all.scratch), partials: partials() }
  for (const folder of [all.output, all.scratch]) for (const name of leftIn(folder)) rmSync(join(folder, name), { recursive: true })
  rmSync(pieces, { recursive: true, force: true })
  expect(left).toEqual({ output: [], scratch: [], partials: [] })
})

const begin = (args: readonly string[], options: Parameters<typeof start>[1] = {}): ChildProcess =>
  start(args, { ...options, env: { TMPDIR: all.scratch, ...options.env } })

/** Resolves when the child has something under way, with what comes of it; it is stopped there. */
async function underWay(child: ChildProcess): Promise<{ readonly ended: Promise<Ended>; readonly isOver: boolean }> {
  let isOver = false
  const ended = finish(child)
  void ended.then(() => {
    isOver = true
  })
  while (!isOver && partials().length === 0) await setTimeout(1)
  child.kill('SIGSTOP')
  return { ended, isOver }
}

/** Send the signals while the child has something under way; the first run that they reach counts. */
async function interrupted(
  names: readonly NodeJS.Signals[],
  args: readonly string[],
  options?: Parameters<typeof start>[1],
): Promise<Ended> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const child = begin(args, options)
    const { ended } = await underWay(child)
    for (const name of names) child.kill(name)
    child.kill('SIGCONT')
    const result = await ended
    if (result.status !== 0) return result
    for (const name of leftIn(all.output)) rmSync(join(all.output, name), { recursive: true })
    rmSync(pieces, { recursive: true, force: true })
  }
  throw new Error(`${args[0]} was done before any signal came`)
}

function expectCancelled(name: Name, { status, signal, stderr, stdout }: Ended): void {
  expect(stderr).toBe(`kilnix: cancelled by ${name}\n`)
  expect({ status, signal, stdout: stdout.toString() }).toEqual({ status: 128 + constants.signals[name], signal: null, stdout: '' })
}

const PER_PATH = ['--style', 'per-path']

/** Commands that write, and those that have something under way before they print. */
const WRITERS: readonly (readonly [title: string, args: () => readonly string[]])[] = [
  ...COMMAND_NAMES.filter((name) => /^(iso|squashfs|initrd|netboot|disk|zfs|convert|toplevel|replace|store fetch)$/.test(name)).map(
    (name) => [name, () => all.runs[name].args] as const,
  ),
  ['iso, compressed', () => [...all.runs.iso.args, '--compress-image', '-o', join(all.output, 'image.iso.zst')]],
  ['netboot --style per-path', () => [...all.runs.netboot.args, ...PER_PATH]],
  ['netboot --style manifest', () => [...all.runs.netboot.args, '--style', 'manifest', '--compression', 'zstd:1']],
  ['netboot --pieces', () => [...all.runs.netboot.args, ...PER_PATH, '--pieces', pieces]],
  ['netboot --kexec', () => [...all.runs.netboot.args, '--kexec', '--kexec-compression', 'none']],
  [
    'store fetch while NARs are fetched',
    () => all.runs['store fetch'].args.map((word) => (word === join(all.work.folder, 'nars') ? pieces : word)),
  ],
  ['serve while it builds', () => all.runs.serve.args],
]

/** Commands that read standard input, and wait for it. */
const PRINTERS: readonly { readonly command: string; readonly args: () => readonly string[] }[] = [
  { command: 'nar hash', args: () => ['nar', 'hash', '-'] },
  { command: 'nar ls', args: () => ['nar', 'ls', '-'] },
  ...['show', 'check'].map((word) => ({
    command: `closure ${word}`,
    args: () => ['closure', word, '-', '--quiet'].slice(0, word === 'show' ? 3 : 4),
  })),
  { command: 'closure why', args: () => ['closure', 'why', '-', 'a', 'b'] },
  { command: 'closure diff', args: () => ['closure', 'diff', all.work.closure.folder, '-'] },
]

/** What they write to standard output. */
const STREAMS = {
  iso: () => [...all.runs.iso.args, '-o', '-'],
  'nar dump': () => all.runs['nar dump'].args,
  'nar ls': () => all.runs['nar ls'].args,
  'closure show': () => all.runs['closure show'].args,
}

/** Resolves when the child would be told of every signal; Node itself handles SIGTERM for its own ends. */
async function handlesSignals(child: ChildProcess): Promise<void> {
  const bit = 1n << BigInt(constants.signals.SIGPWR - 1)
  const caught = (): bigint => BigInt(`0x${/^SigCgt:\t(\w+)$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1'))?.[1] ?? '0'}`)
  while ((caught() & bit) === 0n) await setTimeout(5)
}

/** True while a thread of the child waits in write(2). Threads end meanwhile. */
function isWriting({ pid }: ChildProcess): boolean {
  return readdirSync(`/proc/${pid}/task`).some((thread) => /pipe/.test(waitsIn(`/proc/${pid}/task/${thread}`)))
}

/** The kernel's function in which a thread waits; empty when it is gone. */
function waitsIn(thread: string): string {
  try {
    return readFileSync(`${thread}/wchan`, 'latin1')
  } catch (error) {
    // ESRCH: it ended after it was opened.
    expect(['ENOENT', 'ESRCH']).toContain(systemErrorCode(error))
    return ''
  }
}

/** Write to a pipe until it takes no more. */
function fill(descriptor: number): void {
  try {
    for (;;) writeSync(descriptor, Buffer.alloc(4096))
  } catch (error) {
    expect(error).toMatchObject({ code: 'EAGAIN' })
  }
}

const turn = (index: number): Name => SIGNALS[index % SIGNALS.length] ?? 'SIGTERM'

describe('a signal', { timeout: 60_000 }, () => {
  it('is tried with every command', () => {
    const tried = [
      ...WRITERS.map(([title]) => COMMAND_NAMES.find((name) => /^[^,]*/.exec(title)?.[0].startsWith(name)) ?? ''),
      ...PRINTERS.map(({ command }) => command),
      'nar restore',
      'nar dump',
    ]
    expect([...new Set(tried)].sort()).toEqual([...COMMAND_NAMES].sort())
  })

  it.each(WRITERS.map(([title, args], index) => [turn(index), title, args] as const))(
    '%s while %s has files under way',
    async (name, _, args) => {
      expectCancelled(name, await interrupted([name], args()))
    },
  )

  it.each(['SIGHUP', 'SIGQUIT'] as const)('%s while a NAR is restored from a pipe', async (name) => {
    const child = begin(['nar', 'restore', '-', join(all.output, 'restored')], { stdio: ['pipe', 'pipe', 'pipe'] })
    child.stdin?.on('error', () => undefined)
    const bytes = readFileSync(all.nar)
    child.stdin?.write(bytes.subarray(0, bytes.length - 8))
    const { ended } = await underWay(child)
    child.kill('SIGCONT')
    child.kill(name)
    expectCancelled(name, await ended)
  })

  it.each(PRINTERS.map(({ command, args }, index) => [turn(index), command, args] as const))(
    '%s while %s waits for standard input',
    async (name, _, args) => {
      const child = begin(args(), { stdio: ['pipe', 'pipe', 'pipe'] })
      const ended = finish(child)
      await handlesSignals(child)
      child.kill(name)
      expectCancelled(name, await ended)
    },
  )

  it.each(['iso', 'nar dump', 'nar ls', 'closure show'] as const)('ends kilnix %s, whose output nobody reads', async (command) => {
    const fifo = join(all.work.folder, 'fifo')
    spawnSync('mkfifo', [fifo])
    const filler = openSync(fifo, files.O_RDWR | files.O_NONBLOCK)
    const output = openSync(fifo, 'w')
    try {
      fill(filler)
      const child = begin(STREAMS[command](), { stdio: ['ignore', output, 'pipe'] })
      const ended = finish(child)
      while (!isWriting(child)) await setTimeout(5)
      child.kill('SIGTERM')
      const { status, signal, stderr } = await ended
      expect(stderr).toBe('kilnix: cancelled by SIGTERM\n')
      // The status that a shell tells is the same.
      expect({ status, signal }).toEqual({ status: null, signal: 'SIGTERM' })
    } finally {
      closeSync(output)
      closeSync(filler)
      rmSync(fifo)
    }
  })

  it('ends a server in order, with its own status', async () => {
    const child = begin(all.runs.serve.args)
    child.stdout?.once('data', () => child.kill('SIGHUP'))
    expect(await finish(child)).toMatchObject({ status: 0, stderr: '' })
  })
})

describe('a second signal', { timeout: 60_000 }, () => {
  it.each([
    ['SIGINT', 'SIGTERM', 'iso'],
    ['SIGHUP', 'SIGTERM', 'disk'],
    ['SIGINT', 'SIGQUIT', 'zfs'],
    ['SIGHUP', 'SIGINT', 'netboot'],
    ['SIGINT', 'SIGUSR2', 'replace'],
    ['SIGQUIT', 'SIGTERM', 'initrd'],
  ] as const)('%s and then %s end kilnix %s at once', async (first, second, command) => {
    const { status, signal, stdout, stderr } = await interrupted([first, second], all.runs[command].args)
    expect(stderr).toBe(`kilnix: cancelled by ${signal}\n`)
    // Which of the two is told first is not said.
    expect([first, second]).toContain(signal)
    expect({ status, stdout: stdout.toString() }).toEqual({ status: null, stdout: '' })
  })

  it.each([
    ['per-path', []],
    ['per-path', ['--pieces']],
  ] as const)('while pieces are built: %s %j', async (style, more) => {
    const args = [...all.runs.netboot.args, '--style', style, ...more, ...(more.length > 0 ? [pieces] : [])]
    expect(['SIGHUP', 'SIGTERM']).toContain((await interrupted(['SIGHUP', 'SIGTERM'], args)).signal)
  })

  it('of the same kind, at any time', async () => {
    const random = randomNumbers(Number(process.env.KILNIX_SEED ?? 1))
    for (let round = 0; round < 3; round++) {
      const child = begin(all.runs.zfs.args)
      const { ended } = await underWay(child)
      child.kill('SIGCONT')
      child.kill('SIGINT')
      await setTimeout(20 * random())
      child.kill('SIGINT')
      const { status, signal } = await ended
      expect([130, 'SIGINT']).toContain(signal ?? status)
      expect(partials()).toEqual([])
    }
  })
})

describe('what does not end a command', { timeout: 60_000 }, () => {
  it('signals that Node ignores, and stopping it for a while', async () => {
    const { args, output = '' } = all.runs.squashfs
    const child = begin(args)
    const { ended } = await underWay(child)
    for (const name of ['SIGCONT', 'SIGPIPE', 'SIGXFSZ', 'SIGTSTP', 'SIGCONT', 'SIGWINCH'] as const) child.kill(name)
    expect(await ended).toMatchObject({ status: 0, stderr: '' })
    expect(existsSync(output)).toBe(true)
    rmSync(output)
  })

  it.each([
    ['nohup', 'nohup "$@"'],
    ['a shell that ignores it', 'trap "" HUP; "$@"; exit $?'],
  ])('SIGHUP, where %s started it', async (_, script) => {
    const { args, output = '' } = all.runs.squashfs
    const env = { ...process.env, TMPDIR: all.scratch }
    const shell = spawn('bash', ['-c', script, 'bash', process.execPath, BIN, ...args], {
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const ended = finish(shell)
    while (partials().length === 0) await setTimeout(1)
    process.kill(-(shell.pid ?? 0), 'SIGHUP')
    expect((await ended).status).toBe(0)
    expect(existsSync(output)).toBe(true)
    rmSync(output)
  })
})

describe('an end without a signal', { timeout: 60_000 }, () => {
  /** Runs in the process itself, once something is under way. */
  const upset = (code: string): string => {
    const file = join(all.work.folder, 'upset.mjs')
    writeFileSync(
      file,
      `import { readdirSync } from 'node:fs'
      const watch = setInterval(() => {
        const names = process.env.PLACES.split(':').flatMap((place) => readdirSync(place))
        if (!names.some((name) => name.startsWith('.kilnix-'))) return
        clearInterval(watch)
        ${code}
      }, 1)
      watch.unref()`,
    )
    return file
  }

  it.each([
    ['an exception that nobody catches', "throw new Error('upset')", 1, /^kilnix: internal error; .*\nError: upset\n/],
    ['a promise that nobody waits for', "Promise.reject(new Error('upset'))", 1, /^kilnix: internal error; .*\nError: upset\n/],
    ['process.exit', 'process.exit(7)', 7, /^$/],
  ] as const)('%s leaves nothing', async (_, code, expected, message) => {
    for (const args of [all.runs.disk.args, [...all.runs.netboot.args, ...PER_PATH]]) {
      const child = begin(args, { node: ['--import', upset(code)], env: { PLACES: `${all.output}:${all.scratch}` } })
      const { status, stderr } = await finish(child)
      expect(stderr).toMatch(message)
      expect(status).toBe(expected)
      expect(seen()).toEqual([])
    }
  })
})

it('a command that does not hear of a signal ends by it all the same', async () => {
  expect(await patient).toMatchObject({ status: null, signal: 'SIGHUP', stderr: 'kilnix: cancelled by SIGHUP\n' })
})
