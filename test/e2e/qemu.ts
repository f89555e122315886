/**
 * Boots an image in QEMU and listens to its serial line. Pure emulation (TCG): no KVM, so it runs in any container.
 * Images are never written to. SeaBIOS starts machine `pc`, OVMF starts machine `q35` with a private copy of its variables.
 */
import { spawn } from 'node:child_process'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const OVMF_CODE = '/usr/share/OVMF/OVMF_CODE_4M.fd'
const OVMF_VARIABLES = '/usr/share/OVMF/OVMF_VARS_4M.fd'
const PANIC = /Kernel panic/
/** Longest wait between the panic and the end, so that the log holds all of its lines. */
const PANIC_GRACE_MILLISECONDS = 1000
/** A menu that is drawn over an emulated serial line takes this long to see a key. */
const KEY_PAUSE_MILLISECONDS = 1500

export type Firmware = 'bios' | 'uefi'
/** How the machine sees the image: in a CD-ROM drive, as a USB stick, or as a virtio disk. */
export type Media = 'cdrom' | 'usb' | 'virtio'

export interface BootOptions {
  readonly firmware: Firmware
  readonly media: Media
  readonly memoryMiB?: number
  readonly timeoutSeconds?: number
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

/** As many machines run at a time; each has two processors to emulate. */
const MACHINES = 2
let running = 0
const waiting: (() => void)[] = []

/** Boot `image` (raw, as an ISO or a disk) until the machine powers off, panics, or the time is over. */
export async function bootImage(image: string, options: BootOptions): Promise<BootResult> {
  if (running === MACHINES) await new Promise<void>((resolve) => waiting.push(resolve))
  else running++
  const folder = await mkdtemp(join(tmpdir(), 'kilnix-qemu-'))
  try {
    if (options.firmware === 'uefi') await copyFile(OVMF_VARIABLES, join(folder, 'variables.fd'))
    return await runMachine(machineArguments(image, folder, options), folder, options)
  } finally {
    await rm(folder, { recursive: true, force: true })
    const next = waiting.shift()
    if (next) next()
    else running--
  }
}

function machineArguments(image: string, folder: string, { firmware, media, memoryMiB = 1536 }: BootOptions): string[] {
  const machine = firmware === 'bios' ? 'pc' : 'q35'
  const escaped = image.replaceAll(',', ',,')
  return [
    ['-nodefaults', '-machine', machine, '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', String(memoryMiB)],
    ['-display', 'none', '-vga', 'std', '-serial', 'stdio', '-monitor', `unix:${join(folder, 'monitor')},server,nowait`],
    ['-no-reboot', '-nic', 'none', '-rtc', 'base=2026-01-01T12:00:00', '-device', 'virtio-rng-pci'],
    firmware === 'bios' ? [] : pflash(folder),
    attach(media, machine, escaped),
  ].flat()
}

function pflash(folder: string): string[] {
  return [
    ['-drive', `if=pflash,format=raw,readonly=on,file=${OVMF_CODE}`],
    ['-drive', `if=pflash,format=raw,file=${join(folder, 'variables.fd')}`],
  ].flat()
}

function attach(media: Media, machine: 'pc' | 'q35', image: string): string[] {
  const disk = ['-drive', `if=none,id=image,format=raw,snapshot=on,file=${image}`]
  switch (media) {
    case 'cdrom': {
      const bus = machine === 'pc' ? 'ide.1' : 'ide.0'
      return [
        ['-drive', `if=none,id=image,format=raw,media=cdrom,readonly=on,file=${image}`],
        ['-device', `ide-cd,bus=${bus},drive=image,bootindex=0`],
      ].flat()
    }
    case 'usb':
      return [...disk, '-device', 'qemu-xhci,id=xhci', '-device', 'usb-storage,bus=xhci.0,drive=image,removable=on,bootindex=0']
    case 'virtio':
      return [...disk, '-device', 'virtio-blk-pci,drive=image,bootindex=0']
  }
}

async function runMachine(args: readonly string[], folder: string, options: BootOptions): Promise<BootResult> {
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
