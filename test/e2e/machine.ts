/**
 * Runs a machine in QEMU and listens to its serial line until it powers itself off, panics, or the time is over.
 * Pure emulation (TCG): no KVM, so it runs in any container.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const PANIC = /Kernel panic/
/** Longest wait between the panic and the end, so that the log holds all of its lines. */
const PANIC_GRACE_MILLISECONDS = 1000
/** A menu that is drawn over an emulated serial line takes this long to see a key. */
const KEY_PAUSE_MILLISECONDS = 1500

export interface MachineOptions {
  readonly memoryMiB?: number
  readonly timeoutSeconds?: number
  /** The live system checks contents in a sample of its paths only, all but the large ones: see fixtures/live. */
  readonly sample?: boolean
  /** Each must match the serial log. */
  readonly expect: readonly RegExp[]
  /** Keys pressed in the boot menu, by QEMU's names, such as `down` and `ret`, as soon as `after` has matched the serial log. */
  readonly keys?: { readonly after: RegExp; readonly names: readonly string[] }
}

export interface BootResult {
  /** The machine powered itself off and every expected line was seen. */
  readonly ok: boolean
  readonly ended: 'poweroff' | 'panic' | 'timeout'
  readonly missing: readonly RegExp[]
  readonly serial: string
  readonly seconds: number
  /** For a failed assertion: what is missing, and the end of the log. */
  readonly report: string
}

/** As many machines run at a time. */
const MACHINES = 2
let running = 0
const waiting: (() => void)[] = []

/** Run the machine that `describe` gives the arguments of; the folder is the machine's own, and removed afterwards. */
export async function runMachine(describe: (folder: string) => Promise<string[]>, options: MachineOptions): Promise<BootResult> {
  if (running === MACHINES) await new Promise<void>((resolve) => waiting.push(resolve))
  else running++
  const folder = await mkdtemp(join(tmpdir(), 'kilnix-qemu-'))
  try {
    const common = commonArguments(join(folder, 'monitor'), options.memoryMiB ?? 1536)
    const sample = options.sample ? ['-smbios', 'type=1,product=kilnix-sample'] : []
    return await watch([...common, ...sample, ...(await describe(folder))], folder, options)
  } finally {
    await rm(folder, { recursive: true, force: true })
    const next = waiting.shift()
    if (next) next()
    else running--
  }
}

/**
 * A processor without SSSE3 and AVX: what programs and the kernel choose to do with those takes longer in emulation, hashing
 * twice as long. With RDRAND, else the kernel runs on until its random numbers are good. And only one of it: two that are emulated
 * spend time on waiting for each other.
 */
function commonArguments(monitor: string, memoryMiB: number): string[] {
  return [
    ['-nodefaults', '-accel', 'tcg', '-cpu', 'qemu64,+rdrand', '-smp', '1', '-m', String(memoryMiB)],
    ['-display', 'none', '-vga', 'std', '-serial', 'stdio', '-monitor', `unix:${monitor},server,nowait`],
    ['-no-reboot', '-rtc', 'base=2026-01-01T12:00:00', '-device', 'virtio-rng-pci'],
  ].flat()
}

async function watch(args: readonly string[], folder: string, options: MachineOptions): Promise<BootResult> {
  const { timeoutSeconds = 300, expect, keys } = options
  const started = performance.now()
  const machine = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const kill = (): void => void machine.kill('SIGKILL')
  process.once('exit', kill)

  let ended: BootResult['ended'] = 'poweroff'
  const stop = (reason: BootResult['ended']): void => {
    ended = reason
    kill()
  }
  const timeout = setTimeout(() => stop('timeout'), timeoutSeconds * 1000)
  const pressing = new AbortController()
  let keysToPress = keys
  let serial = ''
  let panicked = false
  machine.stdout.setEncoding('latin1').on('data', (text: string) => {
    serial += text
    if (keysToPress?.after.test(serial)) {
      void pressKeys(join(folder, 'monitor'), keysToPress.names, pressing.signal)
      keysToPress = undefined
    }
    if (panicked || !PANIC.test(serial.slice(-text.length - 100))) return
    panicked = true
    setTimeout(() => stop('panic'), PANIC_GRACE_MILLISECONDS)
  })
  let errors = ''
  machine.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })

  try {
    await new Promise<void>((resolve, reject) => {
      machine.once('error', reject)
      machine.once('close', () => resolve())
    })
  } finally {
    clearTimeout(timeout)
    pressing.abort()
    process.removeListener('exit', kill)
  }
  const missing = expect.filter((line) => !line.test(serial))
  const seconds = (performance.now() - started) / 1000
  const report = [
    `${ended} after ${seconds.toFixed(0)} s`,
    ...missing.map((line) => `not in the serial log: ${line}`),
    errors,
    `end of the serial log:\n${serial.slice(-4000)}`,
  ].join('\n')
  return { ok: ended === 'poweroff' && missing.length === 0, ended, missing, serial, seconds, report }
}

/** Types into the machine by the monitor's `sendkey`. A machine that has ended has no more use for keys. */
async function pressKeys(monitor: string, names: readonly string[], signal: AbortSignal): Promise<void> {
  try {
    const socket = createConnection(monitor)
    socket.on('error', () => socket.destroy())
    for (const name of names) {
      await sleep(KEY_PAUSE_MILLISECONDS, undefined, { signal })
      socket.write(`sendkey ${name}\n`)
    }
    socket.end()
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
