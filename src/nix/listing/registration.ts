/**
 * The registration of a closure as `pkgs.closureInfo` writes it and `nix-store --load-db` reads it: what
 * makes the store paths of an image valid in the Nix database of the running system.
 */
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { formatSha256 } from '../store/hash.ts'
import type { Closure } from './closure.ts'

/**
 * Records without separators: path, `sha256:<nix32>`, NAR size, an empty deriver line, number of references,
 * references; each line ends in LF; paths and references sorted by base name. Throws USAGE where hashes are
 * not known (`rebuildRegistration` finds them).
 */
export function formatRegistration(closure: Closure): Uint8Array {
  const lines: string[] = []
  for (const { path, narHash, narSize, references } of closure.paths) {
    if (narHash === undefined || narSize === undefined || !closure.referencesKnown) {
      throw new ImageError(
        'USAGE',
        `${path}: the listing (${closure.kind}) has no hash, size or references for it; rebuild the registration first`,
        { path },
      )
    }
    lines.push(path, formatSha256(narHash), String(narSize), '', String(references.length))
    for (const reference of references) lines.push(reference)
  }
  return utf8(`${lines.join('\n')}\n`)
}
