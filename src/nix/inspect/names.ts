/** Names of packages in store paths, and store paths by what people call them. */

import { quote } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { Closure, ClosurePath } from '../listing/closure.ts'
import { HASH_PART_LENGTH, hashPart, STORE_DIRECTORY } from '../store/store-path.ts'

export interface PackageName {
  readonly name: string
  /** Empty where the name has none. */
  readonly version: string
}

/**
 * Package and version of a base name, as `nix store diff-closures` takes them (`nix/diff-closures.cc`): a last part of
 * lower-case letters is an output, and the version begins after the first `-` that no letter follows (`libstore/names.cc`).
 */
export function packageName(baseName: string): PackageName {
  const whole = baseName.slice(HASH_PART_LENGTH + 1)
  const text = /^(.*)-(?:[a-z]+|lib32|lib64)$/.exec(whole)?.[1] ?? whole
  const cut = /-(?![A-Za-z])(?=.)/.exec(text)?.index
  return cut === undefined ? { name: text, version: '' } : { name: text.slice(0, cut), version: text.slice(cut + 1) }
}

/** Candidates that a message names; the others are counted. */
const NAMED_CANDIDATES = 5

/**
 * The path that `text` means: in full (also a file within it), its base name, its hash part, what stands behind that, a
 * package name, or the beginning of one, if only one path has it. Throws NOT_FOUND; USAGE where several have it.
 */
export function pathByName(closure: Closure, text: string): ClosurePath {
  const below = text.startsWith(`${STORE_DIRECTORY}/`) ? text.slice(STORE_DIRECTORY.length + 1) : undefined
  const wanted = below === undefined ? text : (below.split('/')[0] ?? '')
  // Whichever way it is meant, it stands in the base name.
  const candidates = wanted === '' ? [] : closure.paths.filter(({ baseName }) => baseName.includes(wanted))
  const tests: ((baseName: string) => boolean)[] = [(baseName) => baseName === wanted]
  if (below === undefined) {
    tests.push(
      (baseName) => hashPart(baseName) === wanted,
      (baseName) => baseName.slice(HASH_PART_LENGTH + 1) === wanted,
      (baseName) => packageName(baseName).name === wanted,
      (baseName) => baseName.startsWith(wanted, HASH_PART_LENGTH + 1),
    )
  }
  for (const test of tests) {
    const found = candidates.filter(({ baseName }) => test(baseName))
    const [first] = found
    if (first === undefined) continue
    if (found.length === 1) return first
    const shown = found.slice(0, NAMED_CANDIDATES).map(({ path }) => `\n  ${path}`)
    const more = found.length <= NAMED_CANDIDATES ? '' : `\n  and ${found.length - NAMED_CANDIDATES} more`
    throw new ImageError('USAGE', `${quote(text)} may be one of ${found.length} paths; write it in full:${shown.join('')}${more}`)
  }
  throw new ImageError('NOT_FOUND', `${quote(text)} is no path of the closure`, { path: text })
}
