/** The listing of a closure as `nix path-info --json` prints it (Nix 2.19 and later, format 1), which carries content addresses. */
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { formatSri } from '../store/hash.ts'
import type { Closure } from './closure.ts'

/** Paths as keys, sorted; `ca` and `deriver` are null where the closure has none. Throws USAGE where hashes or references are not known. */
export function formatPathInfo(closure: Closure): Uint8Array {
  const entries = closure.paths.map(({ path, narHash, narSize, references, ca = null, deriver = null }) => {
    if (narHash === undefined || narSize === undefined || !closure.referencesKnown) {
      throw new ImageError(
        'USAGE',
        `${path}: the listing (${closure.kind}) has no hash, size or references for it; rebuild the registration first`,
        {
          path,
        },
      )
    }
    return [path, { ca, deriver, narHash: formatSri(narHash), narSize, references }] as const
  })
  return utf8(`${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`)
}
