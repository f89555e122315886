/**
 * The UEFI half of a boot medium: which program firmware starts, and which menu that program reads.
 *
 * What is given is a folder with `EFI/BOOT/BOOT*.EFI`, or one EFI program. Which menu is written:
 *
 * 1. A folder that brings a menu of its own (`grub.cfg` beside the program or below `boot/grub`, or
 *    anything below `loader/`) is taken as it is: `own`.
 * 2. systemd-boot names itself in its bytes (`#### LoaderInfo: systemd-boot`): loader entries.
 * 3. GRUB greets (`Welcome to GRUB!`): a grub.cfg beside it, where its prefix points in nixpkgs.
 * 4. Any other program (a unified kernel image, a shim) is expected to know what to do: `own`. Where neither it nor the folder
 *    says so, it is not `isComplete`.
 *
 * Taken from a folder are `EFI/` and `loader/`, links followed; nothing else belongs on the partition.
 */
import { createHash } from 'node:crypto'
import type { Stats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { compareBytes } from '../bytes/order.ts'
import { utf8 } from '../bytes/text.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import { Proof } from '../io/proven.ts'
import { smallHostFile } from '../system/small-file.ts'
import type { Content, FileNode } from '../tree/tree.ts'
import { efiMachine } from './pe.ts'

export interface EfiArchitecture {
  /** The suffix systemd uses: `systemd-boot<name>.efi`. */
  readonly name: string
  /** What firmware looks for on removable media, in /EFI/BOOT (UEFI 2.10, table 3.3). */
  readonly bootFile: string
  /** PE machine type (PE specification, "Machine Types"). */
  readonly machine: number
}

/** By the CPU part of a Nix system. */
const ARCHITECTURES: Readonly<Record<string, EfiArchitecture>> = {
  x86_64: { name: 'x64', bootFile: 'BOOTX64.EFI', machine: 0x8664 },
  i686: { name: 'ia32', bootFile: 'BOOTIA32.EFI', machine: 0x014c },
  aarch64: { name: 'aa64', bootFile: 'BOOTAA64.EFI', machine: 0xaa64 },
  armv7l: { name: 'arm', bootFile: 'BOOTARM.EFI', machine: 0x01c2 },
  riscv64: { name: 'riscv64', bootFile: 'BOOTRISCV64.EFI', machine: 0x5064 },
  loongarch64: { name: 'loongarch64', bootFile: 'BOOTLOONGARCH64.EFI', machine: 0x6264 },
}

/** A file on the host that goes into the image. */
export interface BootFile {
  /** Path in the image, without a leading slash. */
  readonly path: string
  readonly hostPath: string
  readonly size: number
  /** What is taken in place of the file at `hostPath`, which then only names it. */
  readonly content?: Content
}

/** Which menu is to be written for a boot program; `own`: none, it brings one. */
export type EfiMenu = 'systemd-boot' | 'grub' | 'own'

export interface EfiBoot {
  readonly architecture: EfiArchitecture
  readonly menu: EfiMenu
  /** Of a program whose menu is not written: it brings one, or is a unified kernel image. Else nobody knows what it will do. */
  readonly isComplete: boolean
  /** Sorted by path. */
  readonly files: readonly BootFile[]
}

/** The architecture of a Nix system such as `x86_64-linux`. Throws UNSUPPORTED for one without UEFI. */
export function efiArchitecture(system: string): EfiArchitecture {
  const architecture = ARCHITECTURES[system.split('-')[0] ?? '']
  if (!architecture) {
    throw new ImageError(
      'UNSUPPORTED',
      `UEFI: no boot file is known for the system '${system}'; known are ${Object.keys(ARCHITECTURES).join(', ')}`,
    )
  }
  return architecture
}

/** Where a NixOS system keeps its own copy of systemd-boot: `<toplevel>/systemd/lib/systemd/boot/efi/`. */
export function systemdBootPath(toplevel: string, architecture: EfiArchitecture): string {
  return `${toplevel}/systemd/lib/systemd/boot/efi/systemd-boot${architecture.name}.efi`
}

/**
 * Look at a folder or an EFI program. Throws NOT_FOUND when there is no boot program for `system`,
 * BAD_INPUT when it is no EFI program or made for another machine, LIMIT for one of more than 1 GiB.
 */
export async function efiBoot(path: string, system: string): Promise<EfiBoot> {
  const architecture = efiArchitecture(system)
  const found = await status(path)
  if (!found) throw new ImageError('NOT_FOUND', `UEFI: there is no ${path}`, { path })
  if (!found.isDirectory() && !found.isFile()) throw noFile(path)
  if (!found.isDirectory()) {
    const { file, ...kind } = await checkedProgram({ path: `EFI/BOOT/${architecture.bootFile}`, hostPath: path, size: found.size }, system)
    return { architecture, ...kind, files: [file] }
  }
  const files = await bootFiles(path)
  const program = files.find((file) => file.path.toUpperCase() === `EFI/BOOT/${architecture.bootFile}`)
  if (!program) {
    throw new ImageError(
      'NOT_FOUND',
      `UEFI: ${path} has no EFI/BOOT/${architecture.bootFile}, which ${system} starts from; give a folder that has it, or the program itself`,
      {
        path,
      },
    )
  }
  const { menu, isComplete, file } = await checkedProgram(program, system)
  return {
    architecture,
    menu: files.some(isMenu) ? 'own' : menu,
    isComplete: isComplete || files.some(isSomeMenu),
    files: files.map((one) => (one === program ? file : one)),
  }
}

/**
 * The same for one EFI program, wherever it is: `bytes` are those of `content`, and `path` names it in messages. Throws
 * BAD_INPUT when it is no EFI program or made for another machine.
 */
export function efiProgram({ size, content }: Pick<FileNode, 'size' | 'content'>, bytes: Buffer, path: string, system: string): EfiBoot {
  const architecture = efiArchitecture(system)
  const kind = kindOf(checkedBytes(bytes, path, system, architecture))
  return { architecture, ...kind, files: [{ path: `EFI/BOOT/${architecture.bootFile}`, hostPath: path, size, content }] }
}

/** Programs with a kernel and an initrd in them are that large at the most. */
const PROGRAM_LIMIT = 2 ** 30

/** The program that goes into the image has to be the one that was looked at. */
async function checkedProgram(file: BootFile, system: string): Promise<ProgramKind & { readonly file: BootFile }> {
  const { hostPath, size } = file
  const bytes = Buffer.from(smallHostFile(hostPath, PROGRAM_LIMIT, 'the EFI program'))
  const kind = kindOf(checkedBytes(bytes, hostPath, system, efiArchitecture(system)))
  const proof = new Proof(createHash('sha256').update(bytes).digest(), size)
  return { ...kind, file: { ...file, content: { kind: 'hostFile', path: utf8(hostPath), proof } } }
}

function checkedBytes(bytes: Buffer, path: string, system: string, architecture: EfiArchitecture): Buffer {
  const machine = efiMachine(bytes, path)
  if (machine !== architecture.machine) {
    const other = Object.values(ARCHITECTURES).find((candidate) => candidate.machine === machine)
    const made = `0x${machine.toString(16)}${other ? ` (${other.name})` : ''}`
    throw new ImageError(
      'BAD_INPUT',
      `UEFI: ${path} is made for machine ${made}, but ${system} needs 0x${architecture.machine.toString(16)} (${architecture.name})`,
      { path },
    )
  }
  return bytes
}

type ProgramKind = Pick<EfiBoot, 'menu' | 'isComplete'>

function kindOf(program: Buffer): ProgramKind {
  if (program.includes('#### LoaderInfo: systemd-boot')) return { menu: 'systemd-boot', isComplete: true }
  if (program.includes('Welcome to GRUB!')) return { menu: 'grub', isComplete: true }
  // A unified kernel image (UAPI.5): by the section of the kernel, or by the stub of systemd.
  return { menu: 'own', isComplete: program.includes('.linux\0\0') || program.includes('#### LoaderInfo: systemd-stub') }
}

function isMenu(file: BootFile): boolean {
  const path = file.path.toLowerCase()
  return path === 'efi/boot/grub.cfg' || path.startsWith('loader/')
}

/** What programs that are started by others read: a GRUB behind a shim, rEFInd, Limine. */
function isSomeMenu(file: BootFile): boolean {
  return isMenu(file) || /\/(?:grub\.cfg|refind\.conf|limine\.(?:conf|cfg))$/.test(file.path.toLowerCase())
}

async function bootFiles(root: string): Promise<BootFile[]> {
  const files: BootFile[] = []
  for (const name of await names(root)) {
    if (['efi', 'loader'].includes(name.toLowerCase())) await addFiles(files, join(root, name), name, 0)
  }
  return files.sort((a, b) => compareBytes(utf8(a.path), utf8(b.path)))
}

async function addFiles(files: BootFile[], hostPath: string, path: string, depth: number): Promise<void> {
  // Links are followed, so that a loop of them must end somewhere.
  if (depth > 16)
    throw new ImageError('BAD_INPUT', `UEFI: ${hostPath} is more than 16 folders deep; is there a loop of links?`, { path: hostPath })
  const found = await status(hostPath)
  if (!found) throw new ImageError('NOT_FOUND', `UEFI: ${hostPath} is a link to nothing`, { path: hostPath })
  if (found.isDirectory()) {
    for (const name of await names(hostPath)) await addFiles(files, join(hostPath, name), `${path}/${name}`, depth + 1)
  } else if (found.isFile()) {
    files.push({ path, hostPath, size: found.size })
  } else {
    throw noFile(hostPath)
  }
}

function noFile(path: string): ImageError {
  return new ImageError('BAD_INPUT', `UEFI: ${path} is neither a file nor a folder`, { path })
}

async function names(folder: string): Promise<string[]> {
  return (await readdir(folder)).sort((a, b) => compareBytes(utf8(a), utf8(b)))
}

async function status(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (cause) {
    const code = systemErrorCode(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new ImageError('UNREADABLE', `UEFI: ${path} cannot be read: ${code ?? String(cause)}`, { path, cause })
  }
}
