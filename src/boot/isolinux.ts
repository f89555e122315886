/**
 * isolinux.cfg, for BIOS (syslinux 6.03 and later; doc/syslinux.txt and doc/menu.txt). The file is
 * /isolinux/isolinux.cfg and every entry says LINUX, APPEND and INITRD on lines of their own, because
 * UNetbootin reads exactly that.
 *
 * Not supported: device trees (x86 has none), hot keys, passwords, kernel or initrd paths with blanks, commas or other than ASCII.
 */
import { ImageError } from '../errors.ts'
import { requireCommandLineFits } from './command-line.ts'
import type { FurtherEntry } from './further.ts'
import { type BootMenu, isoPathOf, type MenuEntry, type MenuVariant } from './menu.ts'
import { SERIAL_SPEED, type SerialConsole } from './menu-look.ts'

export interface IsolinuxOptions {
  /** The module that draws the menu, if there is one; without it isolinux asks at a prompt. */
  readonly menuModule?: 'vesamenu.c32' | 'menu.c32' | undefined
  /** Heading of the menu. */
  readonly menuTitle?: string
  /** Path of a picture in the ISO; only vesamenu.c32 shows it. */
  readonly background?: string | undefined
  /** Default the first port, at `SERIAL_SPEED`: a BIOS has no other way to show what isolinux says on one. */
  readonly serial?: SerialConsole | undefined
}

export const ISOLINUX_DEFAULTS = { menuTitle: 'NixOS' } as const

/** Tenths of a second; nixpkgs names 35996 as the largest value that works. */
const TIMEOUT_LIMIT = 35996
/** Bytes of a configuration line with its line feed (MAX_LINE in com32/elflink/ldlinux/readconfig.c, less the zero). */
const LINE_LIMIT = 4095
/** Bytes of a file name (FILENAME_MAX in core/include/fs.h, less the zero). */
const PATH_LIMIT = 255

/** The text of isolinux.cfg. Throws LIMIT for what syslinux would cut, UNSUPPORTED for what it cannot write. */
export function isolinuxConfig(menu: BootMenu, options: IsolinuxOptions = {}): string {
  const { unit, speed } = options.serial ?? { unit: 0, speed: SERIAL_SPEED }
  const lines = [`SERIAL ${unit} ${speed}`, `TIMEOUT ${timeout(menu.timeoutSeconds)}`]
  if (options.menuModule === undefined) {
    lines.push('PROMPT 1')
  } else {
    lines.push(`UI ${options.menuModule}`, `MENU TITLE ${menuText(options.menuTitle ?? ISOLINUX_DEFAULTS.menuTitle)}`)
    if (options.menuModule === 'vesamenu.c32') {
      lines.push('MENU RESOLUTION 800 600')
      if (options.background !== undefined) lines.push(`MENU BACKGROUND ${requireWord(options.background, 'background')}`)
    }
  }
  const label = labels()
  const entries = menu.entries.map((entry) => entryLines(entry, undefined, label))
  // The default is the first, which need not be the system itself.
  for (const line of entries[0]?.slice(0, 1) ?? []) lines.push(line.replace(/^LABEL/, 'DEFAULT'))
  for (const entry of entries) lines.push('', ...entry)
  lines.push('', 'MENU BEGIN options', 'MENU TITLE Options')
  for (const variant of menu.variants) {
    lines.push('', `MENU BEGIN ${variant.className}`, `MENU TITLE ${menuText(variant.title)}`)
    for (const entry of menu.entries) lines.push('', ...entryLines(entry, variant, label))
    lines.push('', 'MENU END')
  }
  lines.push('', 'MENU END')
  for (const entry of menu.further) lines.push(...furtherLines(entry, label))
  for (const line of lines) {
    const length = Buffer.byteLength(line) + 1
    if (length > LINE_LIMIT)
      throw new ImageError('LIMIT', `isolinux: the line '${line.slice(0, 60)}...' is ${length} bytes, syslinux reads ${LINE_LIMIT}`)
  }
  return `${lines.join('\n')}\n`
}

function entryLines(entry: MenuEntry, variant: MenuVariant | undefined, label: (wanted: string) => string): string[] {
  const parameters = variant ? `${entry.parameters} ${variant.parameters}` : entry.parameters
  const kernel = filePath(entry.kernel)
  // Several stand in one list (doc/syslinux.txt, "INITRD").
  const initrd = entry.initrds.length === 0 ? undefined : entry.initrds.map(filePath).join(',')
  // What syslinux makes of it: com32/elflink/ldlinux/kernel.c, readconfig.c (record).
  requireCommandLineFits(`BOOT_IMAGE=${kernel} ${parameters}${initrd === undefined ? '' : ` initrd=${initrd}`}`, 'isolinux', entry.title)
  const lines = [
    `LABEL ${label(['boot', ...(variant ? [variant.className] : []), ...entry.specialisation].join('-'))}`,
    `MENU LABEL ${menuText(entry.title)}`,
    `LINUX ${kernel}`,
    `APPEND ${parameters}`,
  ]
  if (initrd !== undefined) lines.push(`INITRD ${initrd}`)
  return lines
}

/** Nothing for what isolinux cannot start. */
function furtherLines({ title, start }: FurtherEntry, label: (wanted: string) => string): string[] {
  const head = (): string[] => ['', `LABEL ${label('further')}`, `MENU LABEL ${menuText(title)}`]
  if (start.kind === 'nextDevice') return [...head(), 'LOCALBOOT -1']
  return start.linux === undefined ? [] : [...head(), `LINUX ${filePath(start.linux)}`]
}

/** Zero is syslinux' word for waiting for ever, so that not waiting becomes a tenth of a second. */
function timeout(seconds: number | null): number {
  if (seconds === null) return 0
  const tenths = seconds * 10
  if (tenths > TIMEOUT_LIMIT) {
    throw new ImageError(
      'LIMIT',
      `isolinux: a menu timeout of ${seconds} s is too long, ${Math.floor(TIMEOUT_LIMIT / 10)} s is the most; null waits for ever`,
    )
  }
  return Math.max(tenths, 1)
}

/** Titles that isolinux shows otherwise than they are, as text without other characters than it has. */
export function changedByIsolinux(menu: BootMenu, options: IsolinuxOptions = {}): string[] {
  const titles = [options.menuTitle ?? '', ...menu.entries.map(({ title }) => title), ...menu.further.map(({ title }) => title)]
  return [...new Set(titles)].filter((title) => menuText(title) !== title)
}

/** A caret marks a hot key and cannot be escaped (menu.txt); the text screen has the 256 characters of a BIOS font. */
function menuText(text: string): string {
  return text.replaceAll('^', '').replace(/[^\x20-\x7e]/gu, '?')
}

function filePath(storeFile: string): string {
  const path = requireWord(isoPathOf(storeFile), 'file')
  // An initrd line is a list with commas.
  if (path.includes(',')) throw new ImageError('UNSUPPORTED', `isolinux: file name '${path}' holds a comma`, { path })
  if (path.length > PATH_LIMIT)
    throw new ImageError('LIMIT', `isolinux: file name '${path}' is ${path.length} bytes, syslinux takes ${PATH_LIMIT}`, { path })
  return path
}

function requireWord(text: string, what: string): string {
  if (!/^[\x21-\x7e]+$/.test(text))
    throw new ImageError('UNSUPPORTED', `isolinux: ${what} '${text}' holds a blank or a character that is not ASCII`)
  return text
}

/** Labels are single words, told apart by case, and must be unique: the first one found would boot. */
function labels(): (wanted: string) => string {
  const taken = new Set<string>()
  return (wanted) => {
    const plain = wanted.replace(/[^0-9A-Za-z._-]/g, '_')
    let unique = plain
    for (let number = 2; taken.has(unique); number++) unique = `${plain}-${number}`
    taken.add(unique)
    return unique
  }
}
