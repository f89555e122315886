/** Store paths whose files are taken as they are, where pieces that were there already have kept them from being read as a whole. */
import { listedPath } from '../../nix/closure.ts'
import { resolveInStore } from '../../nix/resolve.ts'
import { STORE_DIRECTORY } from '../../nix/store-path.ts'
import { hostStorePath, storePathDigest, storePolicy } from '../../nix/store-tree.ts'
import { scanHost } from '../../tree/scan.ts'
import { checkContents } from '../../tree/verified.ts'
import type { LoadedClosure } from '../store.ts'

/**
 * Compare the NAR hash of the store paths that hold `files`, by name and behind links, with the listing. Throws
 * HASH_MISMATCH, what reading throws, and ABORTED.
 */
export async function verifyHolders(
  files: readonly string[],
  loaded: LoadedClosure,
  { caseHack = false, signal }: { readonly caseHack?: boolean; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const { closure, root, overlay } = loaded
  const places = files.flatMap((file) => [file, Buffer.from(resolveInStore(file, closure, loaded).path).toString('latin1')])
  for (const baseName of new Set(places.map(holderOf))) {
    const listed = listedPath(closure, baseName)
    if (listed?.narHash === undefined || listed.narSize === undefined) throw new RangeError(`${baseName}: is not listed with its hash`)
    const node = overlay.get(baseName) ?? scanHost(hostStorePath(root, listed.path), storePolicy(1, caseHack))
    await checkContents(storePathDigest(listed.path, node, { hash: listed.narHash, size: listed.narSize }), signal)
  }
}

/** Base name of the store path. */
function holderOf(path: string): string {
  return path.slice(STORE_DIRECTORY.length + 1).split('/', 1)[0] ?? ''
}
