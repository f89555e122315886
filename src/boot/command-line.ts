/** The kernel command line: its words, its quoting and its length. */
import { ImageError } from '../errors.ts'

/**
 * Bytes of a command line without its final zero: COMMAND_LINE_SIZE is 2048 on x86
 * (arch/x86/include/asm/setup.h) and on arm64, and syslinux' menu has a buffer of the same size
 * (MAX_CMDLINE_LEN in com32/menu/menu.h). Loader and kernel cut what is longer without a word.
 */
export const COMMAND_LINE_LIMIT = 2047

/** Throws BAD_INPUT when `text` holds a control character: no menu format can quote a line break. */
export function requirePlainText(text: string, what: string): void {
  for (const character of text) {
    const code = character.charCodeAt(0)
    if (code < 0x20 || code === 0x7f) {
      const shown = JSON.stringify(text)
      throw new ImageError(
        'BAD_INPUT',
        `${what} ${shown} holds the control character 0x${code.toString(16).padStart(2, '0')}; boot menus are lines of plain text`,
      )
    }
  }
}

/**
 * Throws LIMIT when the command line, as the boot loader completes it, is longer than the kernel takes.
 * `loader` and `title` say where; the remedy is the user's.
 */
export function requireCommandLineFits(commandLine: string, loader: string, title: string): void {
  const length = Buffer.byteLength(commandLine)
  if (length > COMMAND_LINE_LIMIT) {
    throw new ImageError(
      'LIMIT',
      `${loader}: the kernel command line of '${title}' is ${length} bytes, the kernel takes ${COMMAND_LINE_LIMIT}; leave out kernel parameters`,
    )
  }
}

/**
 * The words of a command line as the kernel splits it (next_arg in lib/cmdline.c): blanks separate,
 * a double quote opens and closes a stretch in which they do not, and nothing escapes a quote.
 * The quotes are taken out. Throws BAD_INPUT when a quote stays open.
 */
export function commandLineWords(parameters: string): string[] {
  const words: string[] = []
  let word = ''
  let begun = false
  let quoted = false
  for (const character of parameters) {
    if (character === '"') {
      quoted = !quoted
      begun = true
    } else if (character === ' ' && !quoted) {
      if (begun) words.push(word)
      word = ''
      begun = false
    } else {
      word += character
      begun = true
    }
  }
  if (quoted) throw new ImageError('BAD_INPUT', `kernel parameters: a double quote is not closed in '${parameters}'`)
  if (begun) words.push(word)
  return words
}

/**
 * A volume id as it stands in `root=LABEL=`: udev names the link in /dev/disk/by-label with every byte
 * outside its list as `\xNN` (encode_devnode_name in systemd, blkid_encode_string in util-linux).
 */
export function encodedLabel(volumeId: string): string {
  let out = ''
  for (const byte of Buffer.from(volumeId)) {
    const character = String.fromCharCode(byte)
    out += /[0-9A-Za-z#+\-.:=@_]/.test(character) ? character : `\\x${byte.toString(16).padStart(2, '0')}`
  }
  return out
}

/** The bytes, one character each, that stand for `\xNN` in what `encodedLabel` makes. */
export function decodedLabelBytes(label: string): string {
  return label.replace(/\\x([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}
