/** Scripts that nixpkgs generates for a toplevel, byte for byte. */
import { ImageError } from '../../errors.ts'

/** Environment variables and their values, in the order in which they are set. */
export type Variables = readonly (readonly [name: string, value: string])[]

/**
 * What `wrapProgram` makes of `program` (`pkgs/build-support/setup-hooks/make-wrapper.sh`, since nixpkgs 24.11): two blanks and
 * a last one stand where flags could. Throws UNSUPPORTED for a value with control characters.
 */
export function wrapperScript(shell: string, variables: Variables, program: string): string {
  const lines = [
    `#! ${shell} -e`,
    ...variables.map(([name, value]) => `export ${name}=${shellQuoted(value, name)}`),
    `exec -a "$0" "${program}"  "$@" `,
  ]
  return `${lines.join('\n')}\n`
}

/**
 * A script that runs all checks one after the other, each in a shell of its own with `set -e` and its output on standard error,
 * and ends at the first that fails: what `nixos/modules/system/activation/pre-switch-check.nix` of nixpkgs 26.11 does. The
 * text is not the same. The checks see the arguments of the script: the new toplevel and the action.
 */
export function preSwitchScript(shell: string, checks: ReadonlyMap<string, string>): string {
  const options = ['errexit', 'nounset', 'pipefail'].map((option) => `set -o ${option}\n`).join('')
  return `#!${shell}\n${options}${[...checks].map(([name, script]) => checkScript(name, script)).join('')}`
}

/** Within a condition `set -e` would have no effect, so the status is taken behind it. */
function checkScript(name: string, script: string): string {
  return `
# ${name}
set +e
(
set -e
${script}
) >&2
status=$?
set -e
if [ "$status" -ne 0 ]; then
  echo "Pre-switch check '${name}' failed" >&2
  exit 1
fi
`
}

/** `${value@Q}` of bash for text without control characters. */
function shellQuoted(value: string, name: string): string {
  if (/[^\x20-\x7e]/.test(value))
    throw new ImageError('UNSUPPORTED', `switchToConfiguration: ${name} holds other characters than printable ASCII`, { path: name })
  return `'${value.replaceAll("'", "'\\''")}'`
}
