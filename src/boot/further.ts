/**
 * Further entries of a menu: programs that are no system, such as Memtest86+ or an EFI shell, and the next device in the order
 * of the firmware. What each boot loader can start of them:
 *
 * - systemd-boot: EFI programs (`efi`, UAPI.1), in the partition that it was itself loaded from.
 * - GRUB: EFI programs (`chainloader`) on UEFI, and what follows Linux's boot protocol (`linux`) on a BIOS, where the GRUB of
 *   another medium may be; `exit` for the next device.
 * - isolinux: what follows Linux's boot protocol (`LINUX`); `LOCALBOOT -1` for the next device (doc/syslinux.txt).
 *
 * Not supported: parameters and initrds of such programs, COM32 modules, boot sectors.
 */
import { createHash } from 'node:crypto'
import { struct } from '../bytes/struct.ts'
import { utf8 } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import { Proof } from '../io/proven.ts'
import { smallHostFile } from '../system/small-file.ts'
import type { Content } from '../tree/tree.ts'
import { requirePlainText } from './command-line.ts'
import type { EfiArchitecture } from './efi.ts'
import { DOS_HEADER, efiMachine } from './pe.ts'

/** What an entry starts. */
export type FurtherStart = FurtherProgram | { readonly kind: 'nextDevice' }

export interface FurtherProgram {
  readonly kind: 'program'
  /** `/NAME`, which lies in `/boot` of an ISO and in `EFI/nixos` of an EFI system partition. */
  readonly efi?: string
  /** The same of what follows Linux's boot protocol. */
  readonly linux?: string
}

export interface FurtherEntry {
  /** Unique in the menu. */
  readonly title: string
  readonly start: FurtherStart
}

/** What somebody asks for. Several files of one title are one entry: each boot loader takes the first that it can start. */
export type MenuAddition = { readonly title: string } & ({ readonly file: string } | { readonly nextDevice: true })

export interface FurtherFile {
  readonly path: string
  readonly hostPath: string
  readonly size: number
  readonly content: Content
}

export interface FurtherEntries {
  readonly entries: readonly FurtherEntry[]
  readonly files: readonly FurtherFile[]
  /** What cannot be started by a boot loader of the image, which goes without. */
  readonly notes: readonly string[]
}

export interface Starters {
  /** What starts EFI programs, and for which machine; undefined where UEFI does not start the image. */
  readonly efi: { readonly menu: 'systemd-boot' | 'grub' | 'own'; readonly architecture: EfiArchitecture } | undefined
  readonly isolinux: boolean
}

/** Programs with a kernel and an initrd in them are that large at the most. */
const FILE_LIMIT = 2 ** 30

/** Of the setup header of a kernel for x86 (Linux, Documentation/arch/x86/boot.rst). */
const SETUP_HEADER = struct('setup header', 0x206, { bootFlag: [0x1fe, 'u16le'], magic: [0x202, 'bytes', 4] })
const BOOT_FLAG = 0xaa55

/**
 * Read and name the files. Throws USAGE for a title twice or one that no boot loader of the image can start, BAD_INPUT for a
 * title that is no line or a file that is no such program, NOT_FOUND, UNREADABLE, LIMIT.
 */
export function furtherEntries(additions: readonly MenuAddition[], titles: readonly string[], starters: Starters): FurtherEntries {
  const files = new Map<string, FurtherFile>()
  const entries: FurtherEntry[] = []
  const notes: string[] = []
  for (const title of new Set(additions.map((one) => one.title))) {
    requireTitle(title, titles)
    const own = additions.filter((one) => one.title === title)
    if (own.some((one) => 'nextDevice' in one)) {
      if (own.length > 1) throw new ImageError('USAGE', (option) => `${option('entries')}: '${title}' is named twice`)
      notes.push(...missing(title, nextDeviceReasons(starters), starters))
      entries.push({ title, start: { kind: 'nextDevice' } })
      continue
    }
    const programs = own.map((one) => readProgram('file' in one ? one.file : ''))
    const efi = programs.find(({ machine }) => machine !== undefined && machine === starters.efi?.architecture.machine)
    const linux = programs.find((one) => one.isLinux)
    notes.push(...missing(title, programReasons(programs, efi, linux, starters), starters))
    const pathOf = (program: ReadProgram): string => placed(files, program)
    const start = { kind: 'program', ...(efi && { efi: pathOf(efi) }), ...(linux && { linux: pathOf(linux) }) } as const
    entries.push({ title, start })
  }
  return { entries, files: [...files.values()], notes }
}

function requireTitle(title: string, titles: readonly string[]): void {
  requirePlainText(title, 'title of an entry')
  if (title.trim() === '') throw new ImageError('BAD_INPUT', (option) => `${option('entries')}: a title is empty`)
  if (titles.includes(title)) throw new ImageError('USAGE', (option) => `${option('entries')}: the menu has an entry '${title}' already`)
}

interface ReadProgram {
  readonly hostPath: string
  readonly bytes: Buffer
  /** Of an EFI application. */
  readonly machine: number | undefined
  readonly isLinux: boolean
}

function readProgram(hostPath: string): ReadProgram {
  const bytes = Buffer.from(smallHostFile(hostPath, FILE_LIMIT, 'the program of an entry'))
  const { fields, size } = SETUP_HEADER
  const isLinux =
    bytes.length >= size &&
    bytes.readUInt16LE(fields.bootFlag[0]) === BOOT_FLAG &&
    bytes.toString('latin1', fields.magic[0], size) === 'HdrS'
  const machine = machineOf(bytes, hostPath)
  if (machine !== undefined || isLinux) return { hostPath, bytes, machine, isLinux }
  throw new ImageError(
    'BAD_INPUT',
    `${hostPath}: is neither an EFI program nor made for the boot protocol of Linux, so no boot menu can start it`,
    { path: hostPath },
  )
}

/** Undefined for what is no EFI application. */
function machineOf(bytes: Buffer, path: string): number | undefined {
  if (bytes.length < DOS_HEADER.size) return undefined
  try {
    return efiMachine(bytes, path)
  } catch (error) {
    if (error instanceof ImageError && error.code === 'BAD_INPUT') return undefined
    throw error
  }
}

/** Why a boot loader goes without an entry, by its name; undefined where it does not. */
type Reasons = Readonly<Record<'efi' | 'isolinux', string | undefined>>

function nextDeviceReasons({ efi }: Starters): Reasons {
  const why = { grub: undefined, 'systemd-boot': 'has no such entry; its key q leaves it', own: OWN_MENU }
  return { efi: efi && why[efi.menu], isolinux: undefined }
}

const OWN_MENU = 'brings its own menu, which is not changed'

function programReasons(
  programs: readonly ReadProgram[],
  efi: ReadProgram | undefined,
  linux: ReadProgram | undefined,
  starters: Starters,
): Reasons {
  const names = programs.map(({ hostPath }) => hostPath).join(' and ')
  const { architecture, menu } = starters.efi ?? {}
  const isOther = programs.some(({ machine }) => machine !== undefined)
  const noProgram = `starts EFI programs for ${architecture?.name}, and ${names} ${isOther ? 'is made for another machine' : 'is none'}`
  return {
    efi: menu === 'own' ? OWN_MENU : efi === undefined ? noProgram : undefined,
    isolinux: linux === undefined ? `starts what is made for the boot protocol of Linux, and ${names} is not` : undefined,
  }
}

/** Throws USAGE where no boot loader of the image has the entry. */
function missing(title: string, reasons: Reasons, { efi, isolinux }: Starters): string[] {
  const names = { 'systemd-boot': 'systemd-boot', grub: 'GRUB', own: 'the UEFI boot program' }
  const present = [
    ...(efi === undefined ? [] : [{ name: names[efi.menu], why: reasons.efi }]),
    ...(isolinux ? [{ name: 'isolinux', why: reasons.isolinux }] : []),
  ]
  const without = present.filter(({ why }) => why !== undefined).map(({ name, why }) => `${name} ${why}`)
  if (without.length < present.length) return without.map((text) => `the entry '${title}' is not in every menu: ${text}`)
  throw new ImageError('USAGE', (option) => `${option('entries')}: nothing can start '${title}': ${without.join('; ')}`)
}

/** The same bytes have one place, and other bytes another name. */
function placed(files: Map<string, FurtherFile>, { hostPath, bytes }: ReadProgram): string {
  const digest = createHash('sha256').update(bytes).digest()
  const key = digest.toString('hex')
  const known = files.get(key)
  if (known !== undefined) return known.path
  const base = hostPath.slice(hostPath.lastIndexOf('/') + 1).replace(/[^0-9A-Za-z+._-]/g, '_')
  const taken = new Set([...files.values()].map(({ path }) => path.toLowerCase()))
  let path = `/entries/${base}`
  for (let number = 2; taken.has(path.toLowerCase()); number++) path = `/entries/${number}-${base}`
  const proof = new Proof(digest, bytes.length)
  files.set(key, { path, hostPath, size: bytes.length, content: { kind: 'hostFile', path: utf8(hostPath), proof } })
  return path
}
