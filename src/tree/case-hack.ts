/** What Nix does to names on file systems that ignore case (`use-case-hack`), undone. */
import { compareBytes } from '../bytes/order.ts'
import { printable } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import type { Entry } from './tree.ts'

const CASE_HACK = Buffer.from('~nix~case~hack~')

/**
 * Cut each name at the suffix and sort again (`libutil/archive.cc`). Throws BAD_INPUT, with `where` as the folder's name, when
 * two names become one.
 */
export function undoCaseHack(entries: readonly Entry[], where: string): Entry[] {
  const clean = entries.map(({ name, node }) => {
    const at = Buffer.from(name.buffer, name.byteOffset, name.length).indexOf(CASE_HACK)
    return { name: at === -1 ? name : name.subarray(0, at), node }
  })
  clean.sort((a, b) => compareBytes(a.name, b.name))
  for (const [index, entry] of clean.entries()) {
    const before = clean[index - 1]
    if (before !== undefined && compareBytes(before.name, entry.name) === 0) {
      throw new ImageError('BAD_INPUT', `${where}: two entries are named ${printable(entry.name)} once ~nix~case~hack~ is cut off`, {
        path: where,
      })
    }
  }
  return clean
}
