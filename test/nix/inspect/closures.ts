/** Closures out of a few words: `a > b c` is a path that refers to two others. */

import type { Closure } from '../../../src/nix/listing/closure.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { chunksOf } from '../nar/words.ts'

/** The path of a name: its digits are those of the name, as far as they can be. */
export function pathOf(name: string): string {
  const digits = [...name].map((letter) => (/[0-9a-df-np-sv-z]/.test(letter) ? letter : '0')).join('')
  return `/nix/store/${digits.padEnd(32, '0').slice(0, 32)}-${name}`
}

/** Lines of `name size > references`, as a registration. */
export function registrationOf(lines: readonly string[]): string {
  return lines
    .map((line) => {
      const [left = '', right = ''] = line.split('>')
      const [name = '', size = '96'] = left.trim().split(' ')
      const references = right.split(' ').filter((one) => one !== '')
      const hash = `sha256:${'0'.repeat(52)}`
      return [pathOf(name), hash, size, '', String(references.length), ...references.map(pathOf)].map((one) => `${one}\n`).join('')
    })
    .join('')
}

export function closureOf(...lines: readonly string[]): Promise<Closure> {
  return readClosure('-', { stdin: chunksOf(Buffer.from(registrationOf(lines))) })
}
