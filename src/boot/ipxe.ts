/**
 * netboot.ipxe, the script by which iPXE fetches a kernel and its initrds from where it fetched the script
 * (src/image/script.c, src/core/exec.c and src/core/settings.c of iPXE; https://ipxe.org/scripting).
 *
 * iPXE knows neither quotes nor escapes: it splits a line at blanks, takes a word that begins with `#` for a
 * comment and the words `;`, `&&` and `||` for ends of commands, then replaces `${name}` in each word, and
 * joins the words by single blanks. A setting without a name is always empty and is replaced after all the
 * rest has been looked at, so `${}` stands before such a word, and for the empty word between two blanks.
 *
 * Not supported: parameters that hold `${...}`, which iPXE would replace whatever stands around it, or
 * characters other than ASCII, which it does not hand over on UEFI; signatures (`imgverify`); iPXE of before
 * April 2011, which replaces settings before it splits.
 */
import { ImageError } from '../errors.ts'
import { commandLineWords, requireCommandLineFits, requirePlainText } from './command-line.ts'

export interface IpxeScript {
  /** Names of the files beside the script. */
  readonly kernel: string
  /** In the order in which the kernel unpacks them. */
  readonly initrds: readonly string[]
  /** The kernel command line, `init=` first. */
  readonly parameters: string
}

/** A setting that cannot be set. */
const NOTHING = `\${}`

/**
 * The text of netboot.ipxe. The kernel sees `parameters` to the byte, but for blanks around words.
 *
 * Throws USAGE for a file name that is not made of letters, digits and `.-_+`; BAD_INPUT for parameters that
 * iPXE cannot hand over; LIMIT for a command line that iPXE or the kernel would cut.
 */
export function ipxeScript({ kernel, initrds, parameters }: IpxeScript): string {
  for (const name of [kernel, ...initrds]) requireFileName(name)
  requireParameters(parameters)
  const words = parameters.trim().split(' ')
  // Where nixpkgs has them; behind a `--` the kernel would give them to init.
  words.splice(/^init=[^"]*$/.test(words[0] ?? '') ? 1 : 0, 0, ...initrds.map((name) => `initrd=${name}`))
  requireFits(kernel, words)
  return [
    '#!ipxe',
    '# A script that chains to this one can add kernel parameters: set cmdline to them.',
    `kernel ${kernel} ${words.map(escapedWord).join(' ')} \${cmdline}`,
    ...initrds.map((name) => `initrd ${name}`),
    'boot',
    '',
  ].join('\n')
}

/** A word as it has to stand in a script so that iPXE passes it on. */
function escapedWord(word: string): string {
  return word === '' || word.startsWith('#') || [';', '&&', '||'].includes(word) ? `${NOTHING}${word}` : word
}

/**
 * On UEFI the command line begins with the kernel's name (src/image/efi_image.c), on BIOS it has a byte less
 * than the kernel takes (src/arch/x86/image/bzimage.c), so that what fits the one fits the other. A blank
 * stays where `${cmdline}` is empty.
 */
function requireFits(kernel: string, words: readonly string[]): void {
  requireCommandLineFits(`${kernel} ${words.join(' ')} `, 'ipxe', kernel)
}

function requireParameters(parameters: string): void {
  requirePlainText(parameters, 'kernel parameters')
  commandLineWords(parameters)
  const wide = /[^\x20-\x7e]/u.exec(parameters)
  if (wide !== null) {
    throw new ImageError(
      'BAD_INPUT',
      `ipxe: the kernel parameters hold '${wide[0]}', iPXE hands over ASCII only; leave it out or start the kernel by another loader`,
    )
  }
  const setting = /\$\{[^ ]*\}/.exec(parameters)
  if (setting !== null) {
    throw new ImageError(
      'BAD_INPUT',
      `ipxe: the kernel parameters hold '${setting[0]}', which iPXE takes for a setting of its own and replaces; leave it out`,
    )
  }
}

/** iPXE takes it for a URI, and UEFI for a path. */
function requireFileName(name: string): void {
  if (/^[0-9A-Za-z_][0-9A-Za-z._+-]*$/.test(name)) return
  throw new ImageError('USAGE', `ipxe: '${name}' cannot be the name of a file beside the script; use letters, digits and '.-_+'`, {
    path: name,
  })
}
