/**
 * kexec-boot, a script that replaces the running Linux by the system whose kernel and initrd lie beside it,
 * with kexec-tools (kexec(8)). It needs a POSIX shell, `id`, and `readlink` where it is called by a link.
 *
 * Not supported: a choice between kexec's two system calls, which is left to kexec-tools; shutting down the
 * running system's services first.
 */
import { ImageError } from '../errors.ts'
import { commandLineWords, requireCommandLineFits, requirePlainText } from './command-line.ts'

export interface KexecScript {
  /** Names of the files beside the script. */
  readonly kernel: string
  readonly initrd: string
  /** The kernel command line. */
  readonly parameters: string
}

/**
 * The text of kexec-boot. What it is called with is appended to the kernel command line.
 *
 * Throws USAGE for a file name that no folder can hold, BAD_INPUT for parameters that no kernel command line
 * can hold, LIMIT for more of them than the kernel takes.
 */
export function kexecScript({ kernel, initrd, parameters }: KexecScript): string {
  for (const name of [kernel, initrd]) requireFileName(name)
  requirePlainText(parameters, 'kernel parameters')
  commandLineWords(parameters)
  requireCommandLineFits(parameters, 'kexec', kernel)
  return `#!/bin/sh
# Starts the system beside this script in place of the one that runs now, without shutting that down.
# Arguments are appended to the kernel command line.

fail() {
  printf 'kexec-boot: %s\\n' "$1" >&2
  exit 1
}

case $0 in
  /*) script=$0 ;;
  *) script=./$0 ;;
esac
while [ -L "$script" ]; do
  link=$(readlink -- "$script") || fail "cannot read the link $script"
  case $link in
    /*) script=$link ;;
    *) script=\${script%/*}/$link ;;
  esac
done
folder=\${script%/*}
kernel=$folder/${quoted(kernel)}
initrd=$folder/${quoted(initrd)}
parameters=${quoted(parameters)}

command -v kexec >/dev/null || fail 'there is no kexec program; install kexec-tools'
[ "$(id -u)" = 0 ] || fail 'only root can load another kernel; run this as root'
for file in "$kernel" "$initrd"; do
  [ -r "$file" ] || fail "$file is missing; it belongs beside this script"
done

[ $# = 0 ] || parameters="$parameters $*"
kexec --load "$kernel" --initrd="$initrd" --command-line="$parameters" || fail 'the kernel could not be loaded'
kexec --exec || fail 'the loaded kernel could not be started'
`
}

/** A word of the shell that stands for `text` (POSIX.1-2024, Shell Command Language, 2.2.2 Single-Quotes). */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function requireFileName(name: string): void {
  requirePlainText(name, 'file name')
  if (name === '' || name === '.' || name === '..' || name.includes('/')) {
    throw new ImageError('USAGE', `kexec: '${name}' cannot be the name of a file beside the script`, { path: name })
  }
}
