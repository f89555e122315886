/**
 * The UEFI half of a boot medium: which program firmware starts, and which menu that program reads.
 *
 * What is given is a folder with `EFI/BOOT/BOOT*.EFI`, or one EFI program. Which menu is written:
 *
 * 1. A folder that brings a menu of its own (`grub.cfg` beside the program or where that looks, or
 *    anything below `loader/`) is taken as it is: `own`.
 * 2. systemd-boot names itself in its bytes (`#### LoaderInfo: systemd-boot`): loader entries.
 * 3. GRUB greets (`Welcome to GRUB!`): a grub.cfg beside it, where its prefix points in nixpkgs, and where its prefix points
 *    (`/EFI/debian` or `/boot/grub` in Debian's).
 *    The same for what lies beside a program of another kind under the name that a shim starts, `grubx64.efi`.
 * 4. Any other program (a unified kernel image, a shim) is expected to know what to do: `own`. Where neither it nor the folder
 *    says so, it is not `isComplete`.
 *
 * Taken from a folder are `EFI/` and `loader/`, however they are spelled, links followed; nothing else belongs on the partition.
 * Programs for other machines are taken along. An x86_64 system may have one for 32-bit firmware alone.
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
import { GRUB_GREETING, grubPrefix } from './grub-image.ts'
import { efiMachine } from './pe.ts'

export interface EfiArchitecture {
  /** The suffix systemd uses: `systemd-boot<name>.efi`. */
  readonly name: string
  /** What firmware looks for on removable media, in /EFI/BOOT (UEFI 2.10, table 3.3). */
  readonly bootFile: string
  /** PE machine type (PE specification, "Machine Types"). */
  readonly machine: number
}

const IA32: EfiArchitecture = { name: 'ia32', bootFile: 'BOOTIA32.EFI', machine: 0x014c }

/** By the CPU part of a Nix system. */
const ARCHITECTURES: Readonly<Record<string, EfiArchitecture>> = {
  x86_64: { name: 'x64', bootFile: 'BOOTX64.EFI', machine: 0x8664 },
  i686: IA32,
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
  /** Of the program that was looked at. */
  readonly architecture: EfiArchitecture
  readonly menu: EfiMenu
  /** Of a program whose menu is not written: it brings one, or is a unified kernel image. Else nobody knows what it will do. */
  readonly isComplete: boolean
  /** Where GRUB's menu is read, without a leading slash; the first beside the program. */
  readonly grubMenus: readonly string[]
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
 * BAD_INPUT when it is no EFI program or made for another machine, or names differ in case alone, LIMIT for one of more than 1 GiB.
 */
export async function efiBoot(path: string, system: string): Promise<EfiBoot> {
  const found = await status(path)
  if (!found) throw new ImageError('NOT_FOUND', `UEFI: there is no ${path}`, { path })
  if (!found.isDirectory() && !found.isFile()) throw noFile(path)
  if (!found.isDirectory()) {
    const { file, ...program } = await checkedProgram({ path: '', hostPath: path, size: found.size }, system, architecturesOf(system))
    return { ...program, files: [{ ...file, path: `EFI/BOOT/${program.architecture.bootFile}` }] }
  }
  const files = unified(await bootFiles(path), path)
  const programs: Checked[] = []
  for (const architecture of architecturesOf(system)) {
    const file = fileAt(files, `EFI/BOOT/${architecture.bootFile}`)
    if (file !== undefined) programs.push(await checkedProgram(file, system, [architecture]))
  }
  const [program] = programs
  if (program === undefined) {
    const { bootFile } = efiArchitecture(system)
    throw new ImageError(
      'NOT_FOUND',
      `UEFI: ${path} has no EFI/BOOT/${bootFile}, which ${system} starts from; give a folder that has it, or the program itself`,
      {
        path,
      },
    )
  }
  const second = fileAt(files, `EFI/BOOT/grub${program.architecture.name}.efi`)
  const started = program.menu === 'own' && second ? await checkedProgram(second, system, [program.architecture]) : program
  const { menu } = started.menu === 'own' ? program : started
  const grubMenus = started.grubMenus.map((place) => spelledAs(files, place))
  const isOwn = files.some(isMenu) || (menu === 'grub' && grubMenus.some((place) => fileAt(files, place) !== undefined))
  const checked = [...programs, started].map(({ file }) => file)
  return {
    architecture: program.architecture,
    menu: isOwn ? 'own' : menu,
    isComplete: program.isComplete || started.isComplete || files.some(isSomeMenu),
    grubMenus,
    files: files.map((one) => checked.find(({ path: own }) => own === one.path) ?? one),
  }
}

/** `path` with its folder as the files in it have it. */
function spelledAs(files: readonly BootFile[], path: string): string {
  const folder = path.slice(0, path.lastIndexOf('/') + 1)
  const near = files.find((file) => file.path.toLowerCase().startsWith(folder.toLowerCase()))
  return near === undefined ? path : `${near.path.slice(0, folder.length)}${path.slice(folder.length)}`
}

function fileAt(files: readonly BootFile[], path: string): BootFile | undefined {
  return files.find((file) => file.path.toUpperCase() === path.toUpperCase())
}

/** What firmware of a machine of this system may start, the usual first: that of some 64-bit machines has 32 bits. */
function architecturesOf(system: string): readonly EfiArchitecture[] {
  const architecture = efiArchitecture(system)
  return system.startsWith('x86_64-') ? [architecture, IA32] : [architecture]
}

/**
 * The same for one EFI program, wherever it is: `bytes` are those of `content`, and `path` names it in messages. Throws
 * BAD_INPUT when it is no EFI program or made for another machine.
 */
export function efiProgram({ size, content }: Pick<FileNode, 'size' | 'content'>, bytes: Buffer, path: string, system: string): EfiBoot {
  const architecture = checkMachine(bytes, path, system, [efiArchitecture(system)])
  return { architecture, ...kindOf(bytes), files: [{ path: `EFI/BOOT/${architecture.bootFile}`, hostPath: path, size, content }] }
}

/** Programs with a kernel and an initrd in them are that large at the most. */
const PROGRAM_LIMIT = 2 ** 30

interface Checked extends Omit<EfiBoot, 'files'> {
  readonly file: BootFile
}

/** The program that goes into the image has to be the one that was looked at. */
async function checkedProgram(file: BootFile, system: string, architectures: readonly EfiArchitecture[]): Promise<Checked> {
  const { hostPath, size } = file
  const bytes = Buffer.from(smallHostFile(hostPath, PROGRAM_LIMIT, 'the EFI program'))
  const architecture = checkMachine(bytes, hostPath, system, architectures)
  const proof = new Proof(createHash('sha256').update(bytes).digest(), size)
  return { architecture, ...kindOf(bytes), file: { ...file, content: { kind: 'hostFile', path: utf8(hostPath), proof } } }
}

/** The one of `architectures` that a program is made for. */
function checkMachine(bytes: Buffer, path: string, system: string, architectures: readonly EfiArchitecture[]): EfiArchitecture {
  const machine = efiMachine(bytes, path)
  const found = architectures.find((architecture) => architecture.machine === machine)
  if (found !== undefined) return found
  const other = Object.values(ARCHITECTURES).find((candidate) => candidate.machine === machine)
  const made = `0x${machine.toString(16)}${other ? ` (${other.name})` : ''}`
  const needed = architectures.map((architecture) => `0x${architecture.machine.toString(16)} (${architecture.name})`).join(' or ')
  throw new ImageError('BAD_INPUT', `UEFI: ${path} is made for machine ${made}, but ${system} needs ${needed}`, { path })
}

function kindOf(program: Buffer): Pick<EfiBoot, 'menu' | 'isComplete' | 'grubMenus'> {
  if (program.includes('#### LoaderInfo: systemd-boot')) return { menu: 'systemd-boot', isComplete: true, grubMenus: [] }
  if (!program.includes(GRUB_GREETING)) {
    // A unified kernel image (UAPI.5): by the section of the kernel, or by the stub of systemd.
    const isComplete = program.includes('.linux\0\0') || program.includes('#### LoaderInfo: systemd-stub')
    return { menu: 'own', isComplete, grubMenus: [] }
  }
  const prefix = grubPrefix(program)
  const places = [...GRUB_MENUS, ...(prefix === undefined ? [] : [`${prefix.replace(/^\/+|\/+$/g, '')}/grub.cfg`])]
  const grubMenus = places.filter((place, index) => places.findIndex((one) => isSamePath(one, place)) === index)
  return { menu: 'grub', isComplete: true, grubMenus }
}

/** Beside the program: where GRUB looks that has been started as nixpkgs makes it. */
const GRUB_MENUS = ['EFI/BOOT/grub.cfg'] as const

function isSamePath(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
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
  return files
}

/** As UEFI and the loaders spell them; FAT, where they end, has one of each. */
const SPELLINGS = new Map(['EFI', 'EFI/BOOT', 'loader', 'loader/entries'].map((path) => [path.toLowerCase(), path]))

/**
 * The files sorted by path, in folders that are spelled in one way: `efi/boot` and `EFI/boot` are `EFI/BOOT`, and others as they
 * first come. Throws BAD_INPUT for files that only case tells apart.
 */
function unified(files: readonly BootFile[], root: string): BootFile[] {
  const spellings = new Map(SPELLINGS)
  const byPath = new Map<string, BootFile>()
  for (const file of files) {
    const names = file.path.split('/')
    let folder = ''
    for (const name of names.slice(0, -1)) {
      const path = folder === '' ? name : `${folder}/${name}`
      folder = spellings.get(path.toLowerCase()) ?? path
      spellings.set(path.toLowerCase(), folder)
    }
    const path = `${folder}/${names.at(-1)}`
    const earlier = byPath.get(path.toLowerCase())
    if (earlier !== undefined) {
      throw new ImageError(
        'BAD_INPUT',
        `UEFI: ${file.hostPath} and ${earlier.hostPath} differ in case alone, which FAT does not tell apart; leave out one of them`,
        { path: root },
      )
    }
    byPath.set(path.toLowerCase(), { ...file, path })
  }
  return [...byPath.values()].sort((a, b) => compareBytes(utf8(a.path), utf8(b.path)))
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
