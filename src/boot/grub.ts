/**
 * grub.cfg, for UEFI (GNU GRUB manual 2.06, chapters 6 "Writing your own configuration file" and 16
 * "Available commands"). GRUB lies in the EFI system partition; the kernels it loads lie in the ISO,
 * which it finds by a marker file.
 *
 * Not supported: kernel parameters with a single quote, or a backslash that does not begin `\xNN`:
 * GRUB puts a further backslash before them (grub-core/lib/cmdline.c) and the kernel would see another
 * command line.
 */
import { ImageError } from '../errors.ts'
import { commandLineWords, requireCommandLineFits } from './command-line.ts'
import type { FurtherEntry, FurtherProgram } from './further.ts'
import { type BootMenu, isoPathOf, type MenuEntry, type MenuVariant } from './menu.ts'
import type { MenuStyle, SerialConsole } from './menu-look.ts'

/** An empty file in the ISO by which GRUB knows the medium; the name nixpkgs uses. */
export const GRUB_MARKER_PATH = '/EFI/nixos-installer-image'

export interface GrubOptions {
  /** Path of an empty file by which GRUB knows this medium from others; default `GRUB_MARKER_PATH`, which many have. */
  readonly marker?: string
  /** Paths in the ISO; what is missing at boot time is done without. */
  readonly font?: string
  readonly theme?: string
  /** Further fonts, of a theme. */
  readonly fonts?: readonly string[]
  /** A picture (PNG or JPEG), which is shown where there is no theme. */
  readonly background?: string | undefined
  /** Default `graphical`. */
  readonly style?: MenuStyle
  /** Menu and keyboard are there as well. */
  readonly serial?: SerialConsole | undefined
}

export const GRUB_DEFAULTS = { font: '/EFI/BOOT/unicode.pf2', theme: '/EFI/BOOT/grub-theme/theme.txt' } as const

const GRAPHICS_MODES = '1920x1200,1920x1080,1366x768,1280x800,1280x720,1200x1920,1024x768,800x1280,800x600,auto'

/** The text of grub.cfg. Throws LIMIT for a command line the kernel would cut, UNSUPPORTED for one GRUB would change. */
export function grubConfig(menu: BootMenu, options: GrubOptions = {}): string {
  const lines = [...preamble(menu, options), '']
  const console = textTerminal(options)
  for (const entry of menu.entries) lines.push(...entryLines(entry, undefined, '', console))
  lines.push('', "submenu 'Options' --class submenu {")
  for (const variant of menu.variants) {
    lines.push(`  submenu ${quoted(variant.title)} --class ${variant.className} {`)
    for (const entry of menu.entries) lines.push(...entryLines(entry, variant, '    ', console))
    lines.push('  }')
  }
  lines.push('}', '')
  for (const entry of menu.further) lines.push(...furtherLines(entry, console))
  lines.push("menuentry 'Firmware Setup' --class settings {", '  fwsetup', '}')
  lines.push("menuentry 'Shutdown' --class shutdown {", '  halt', '}')
  return `${lines.join('\n')}\n`
}

/**
 * A submenu starts with the exported variables only (grub-core/normal/menu.c), hence the exports. The
 * graphical screen is taken only where its font loads, so that a GRUB without it, or without the
 * module, falls back to the firmware's console.
 */
function preamble(menu: BootMenu, options: GrubOptions): string[] {
  const marker = quoted(options.marker ?? GRUB_MARKER_PATH)
  return [
    'set default=0',
    `set timeout=${menu.timeoutSeconds ?? -1}`,
    '# A GRUB that opened the medium already, or a copy of it, stays there.',
    `if [ ! -f ($root)${marker} ]; then`,
    `  search --no-floppy --set=root --file ${marker}`,
    'fi',
    'export root',
    '',
    '# GRUB booted from an ISO file on another disk says where it is.',
    'set isoboot=',
    'if [ "$iso_path" ]; then',
    '  set isoboot="findiso=$iso_path"',
    'fi',
    'export isoboot',
    '',
    `set gfxmode=${GRAPHICS_MODES}`,
    'set gfxpayload=keep',
    'export gfxmode',
    'export gfxpayload',
    'set menu_color_normal=cyan/blue',
    'set menu_color_highlight=white/blue',
    'export menu_color_normal',
    'export menu_color_highlight',
    ...serialLines(options.serial),
    ...(options.style === 'text' ? [textTerminal(options)] : screenLines(options)),
  ]
}

/** `$serial` is empty where there is no such port. */
function serialLines(serial: SerialConsole | undefined): string[] {
  if (serial === undefined) return []
  return [
    'set serial=',
    `if serial --unit=${serial.unit} --speed=${serial.speed}; then`,
    '  set serial=serial',
    '  terminal_input console serial',
    'fi',
    'export serial',
  ]
}

function textTerminal({ serial }: GrubOptions): string {
  return `terminal_output console${serial === undefined ? '' : ' $serial'}`
}

function screenLines(options: GrubOptions): string[] {
  const { fonts = [], background } = options
  const font = quoted(options.font ?? GRUB_DEFAULTS.font)
  const theme = quoted(options.theme ?? GRUB_DEFAULTS.theme)
  const console = textTerminal(options)
  const graphics = `terminal_output gfxterm${options.serial === undefined ? '' : ' $serial'}`
  const anyFont = [
    'set fonts=',
    ...[font, ...fonts.map(quoted)].flatMap((one) => [`if loadfont ($root)${one}; then`, '  set fonts=1', 'fi']),
    'if [ "$fonts" ]; then',
  ]
  return [
    ...(fonts.length === 0 ? [`if loadfont ($root)${font}; then`] : anyFont),
    '  insmod gfxterm',
    '  insmod png',
    `  ${graphics}`,
    `  if [ -f ($root)${theme} ]; then`,
    `    set theme=($root)${theme}`,
    '    export theme',
    ...(background === undefined ? [] : ['  else', ...backgroundLines(background).map((line) => `    ${line}`)]),
    '  fi',
    'else',
    `  ${console}`,
    'fi',
    '',
    "hiddenentry 'Text mode' --hotkey 't' {",
    `  ${console}`,
    '}',
    "hiddenentry 'GUI mode' --hotkey 'g' {",
    `  ${graphics}`,
    '}',
  ]
}

/** Black is transparent over a picture (GRUB, grub-core/term/gfxterm.c). */
function backgroundLines(background: string): string[] {
  return [
    ...(/\.jpe?g$/.test(background) ? ['insmod jpeg'] : []),
    'insmod gfxterm_background',
    `if background_image ($root)${quoted(background)}; then`,
    '  set menu_color_normal=white/black',
    '  set menu_color_highlight=black/white',
    'fi',
  ]
}

/** Shown only where GRUB can start it: its own image is for UEFI, that of another medium may be for a BIOS. */
function furtherLines({ title, start }: FurtherEntry, console: string): string[] {
  const entry = (indent: string, ...commands: readonly string[]): string[] =>
    [`menuentry ${quoted(title)} {`, `  ${console}`, ...commands.map((line) => `  ${line}`), '}'].map((line) => `${indent}${line}`)
  // By a status that is no success the firmware goes on to the next device (UEFI 2.10, 3.1.1); GRUB 2.06 ignores the number and
  // reports success, after which firmware shows its own menu.
  if (start.kind === 'nextDevice') return entry('', 'exit 1')
  const [efi, bios] = programCommands(start)
  if (efi !== undefined && bios !== undefined) {
    return entry('', 'if [ "$grub_platform" = efi ]; then', `  ${efi}`, 'else', `  ${bios}`, 'fi')
  }
  const [test, command] = efi === undefined ? ['!=', bios] : ['=', efi]
  return command === undefined ? [] : [`if [ "$grub_platform" ${test} efi ]; then`, ...entry('  ', command), 'fi']
}

function programCommands({ efi, linux }: FurtherProgram): readonly [efi: string | undefined, bios: string | undefined] {
  return [efi && `chainloader ${quoted(isoPathOf(efi))}`, linux && `linux ${quoted(isoPathOf(linux))}`]
}

function entryLines(entry: MenuEntry, variant: MenuVariant | undefined, indent: string, console: string): string[] {
  const words = commandLineWords(variant ? `${entry.parameters} ${variant.parameters}` : entry.parameters)
  for (const word of words) {
    const unchanged = word.replace(/\\x[0-9a-fA-F]{2}/g, '')
    if (/['\\]/.test(unchanged)) {
      throw new ImageError(
        'UNSUPPORTED',
        `grub: kernel parameter '${word}' holds a quote or backslash, which GRUB would change; use systemd-boot`,
      )
    }
  }
  const kernel = isoPathOf(entry.kernel)
  // GRUB puts words with blanks in double quotes.
  const commandLine = words.map((word) => (word.includes(' ') ? `"${word}"` : word)).join(' ')
  requireCommandLineFits(`BOOT_IMAGE=${kernel} ${commandLine}`, 'grub', entry.title)
  const { initrds, deviceTree } = entry
  const lines = [
    `menuentry ${quoted(entry.title)} --class installer {`,
    `  ${console}`,
    `  linux ${quoted(kernel)} \${isoboot} ${words.map(quoted).join(' ')}`,
  ]
  if (initrds.length > 0) lines.push(`  initrd ${initrds.map((path) => quoted(isoPathOf(path))).join(' ')}`)
  if (deviceTree !== undefined) lines.push(`  devicetree ${quoted(isoPathOf(deviceTree))}`)
  lines.push('}')
  return lines.map((line) => `${indent}${line}`)
}

/**
 * A word that GRUB reads as `text` (manual 6.1, quoting): as it is where no character is special, else
 * in single quotes, between which nothing is; a single quote itself is written outside of them.
 */
function quoted(text: string): string {
  if (/^[0-9A-Za-z_./:,=+@%-]+$/.test(text)) return text
  return `'${text.replaceAll("'", "'\\''")}'`
}
