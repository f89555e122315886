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
import { type BootMenu, isoPathOf, type MenuEntry, type MenuVariant } from './menu.ts'

/** An empty file in the ISO by which GRUB knows the medium; the name nixpkgs uses. */
export const GRUB_MARKER_PATH = '/EFI/nixos-installer-image'

export interface GrubOptions {
  /** Path of an empty file by which GRUB knows this medium from others; default `GRUB_MARKER_PATH`, which many have. */
  readonly marker?: string
  /** Paths in the ISO; what is missing at boot time is done without. */
  readonly font?: string
  readonly theme?: string
}

export const GRUB_DEFAULTS = { font: '/EFI/BOOT/unicode.pf2', theme: '/EFI/BOOT/grub-theme/theme.txt' } as const

const GRAPHICS_MODES = '1920x1200,1920x1080,1366x768,1280x800,1280x720,1200x1920,1024x768,800x1280,800x600,auto'

/** The text of grub.cfg. Throws LIMIT for a command line the kernel would cut, UNSUPPORTED for one GRUB would change. */
export function grubConfig(menu: BootMenu, options: GrubOptions = {}): string {
  const lines = [...preamble(menu, options), '']
  for (const entry of menu.entries) lines.push(...entryLines(entry, undefined, ''))
  lines.push('', "submenu 'Options' --class submenu {")
  for (const variant of menu.variants) {
    lines.push(`  submenu ${quoted(variant.title)} --class ${variant.className} {`)
    for (const entry of menu.entries) lines.push(...entryLines(entry, variant, '    '))
    lines.push('  }')
  }
  lines.push('}', '')
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
  const font = quoted(options.font ?? GRUB_DEFAULTS.font)
  const theme = quoted(options.theme ?? GRUB_DEFAULTS.theme)
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
    `if loadfont ($root)${font}; then`,
    '  insmod gfxterm',
    '  insmod png',
    '  terminal_output gfxterm',
    `  if [ -f ($root)${theme} ]; then`,
    `    set theme=($root)${theme}`,
    '    export theme',
    '  fi',
    'else',
    '  terminal_output console',
    'fi',
    '',
    "hiddenentry 'Text mode' --hotkey 't' {",
    '  terminal_output console',
    '}',
    "hiddenentry 'GUI mode' --hotkey 'g' {",
    '  terminal_output gfxterm',
    '}',
  ]
}

function entryLines(entry: MenuEntry, variant: MenuVariant | undefined, indent: string): string[] {
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
    '  terminal_output console',
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
