/**
 * Reads a netboot folder as iPXE does: netboot.ipxe, and the files that it names. Strict: a line that such a script has no
 * need of is an error, and so is an `initrd=` parameter that names another initrd than the script loads, for on UEFI the
 * kernel fetches those that the parameters name.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { KernelToBoot } from './qemu.ts'

/** The kernel finds an uncompressed cpio at multiples of this only. */
const INITRD_ALIGNMENT = 4
const INITRD_PARAMETER = 'initrd='

export interface NetbootFolder {
  /** Paths of the files; initrds in the order in which the script loads them. */
  readonly kernel: string
  readonly initrds: readonly string[]
  /** With nothing set in iPXE, so that `${cmdline}` is empty. */
  readonly commandLine: string
}

export async function readNetbootFolder(folder: string): Promise<NetbootFolder> {
  const { kernel, initrds, words } = parseScript(await readFile(join(folder, 'netboot.ipxe'), 'latin1'))
  return { kernel: join(folder, kernel), initrds: initrds.map((name) => join(folder, name)), commandLine: words.join(' ') }
}

/** What QEMU needs to boot the folder without iPXE. The initrds, one after the other, are written to `initrd`. */
export async function netbootKernel(folder: string, initrd: string): Promise<KernelToBoot> {
  const { kernel, initrds, commandLine } = await readNetbootFolder(folder)
  await pipeline(alignedContents(initrds), createWriteStream(initrd))
  return { kernel, initrd, commandLine }
}

interface Script {
  readonly kernel: string
  readonly initrds: readonly string[]
  /** Of the kernel's command line. */
  readonly words: readonly string[]
}

export function parseScript(text: string): Script {
  const lines = text.split('\n')
  if (lines.shift() !== '#!ipxe') throw new Error('netboot.ipxe: the first line is not #!ipxe')
  const kernels: string[][] = []
  const initrds: string[] = []
  let booted = false
  for (const line of lines) {
    const [command, ...rest] = commandOf(line)
    const [name] = rest
    if (command === undefined) continue
    if (booted) throw new Error(`netboot.ipxe: a command after boot: ${line}`)
    if (command === 'kernel' && rest.length > 0) kernels.push(rest)
    else if (command === 'initrd' && rest.length === 1 && name !== undefined) initrds.push(name)
    else if (command === 'boot' && rest.length === 0) booted = true
    else throw new Error(`netboot.ipxe: ${line}`)
  }
  const [kernel, ...words] = kernels[0] ?? []
  if (kernel === undefined || kernels.length > 1 || !booted) throw new Error('netboot.ipxe: one kernel and one boot were expected')
  const named = words.filter((word) => word.startsWith(INITRD_PARAMETER)).map((word) => word.slice(INITRD_PARAMETER.length))
  if (named.join(' ') !== initrds.join(' ')) throw new Error(`netboot.ipxe: loads ${initrds} and has parameters for ${named}`)
  return { kernel, initrds, words }
}

/** iPXE splits at blanks and then replaces settings; it joins words by single blanks, and has neither quotes nor escapes. */
function commandOf(line: string): string[] {
  const words = line.trim().split(/\s+/)
  const comment = words.findIndex((word) => word.startsWith('#'))
  const command = comment < 0 ? words : words.slice(0, comment)
  if (command.some((word) => [';', '&&', '||'].includes(word))) throw new Error(`netboot.ipxe: several commands: ${line}`)
  return command.filter((word) => word !== '').map((word) => word.replaceAll(/\$\{[^}]*\}/g, ''))
}

async function* alignedContents(files: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const file of files) {
    let size = 0
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      size += chunk.length
      yield chunk
    }
    yield Buffer.alloc((INITRD_ALIGNMENT - (size % INITRD_ALIGNMENT)) % INITRD_ALIGNMENT)
  }
}
