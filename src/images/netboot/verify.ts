/** Store paths whose files are taken as they are, where pieces that were there already have kept them from being read as a whole. */
import { createHash } from 'node:crypto'
import { imageChunks } from '../../io/stream.ts'
import { listedPath } from '../../nix/closure.ts'
import { resolveInStore } from '../../nix/resolve.ts'
import { STORE_DIRECTORY } from '../../nix/store-path.ts'
import { hostStorePath, storePathDigest, storePolicy } from '../../nix/store-tree.ts'
import { contentExtents } from '../../tree/content.ts'
import { scanHost } from '../../tree/scan.ts'
import type { TreeDigest } from '../../tree/tree.ts'
import { checkDigest } from '../../tree/verified.ts'
import type { LoadedClosure } from '../store.ts'

/**
 * Compare the NAR hash of the store paths that hold `files`, by name and behind links, with the listing. Throws
 * HASH_MISMATCH, what reading throws, and ABORTED.
 */
export async function verifyHolders(
  files: readonly string[],
  { closure, root }: LoadedClosure,
  { caseHack = false, signal }: { readonly caseHack?: boolean; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const places = files.flatMap((file) => [file, Buffer.from(resolveInStore(file, closure, root).path).toString('latin1')])
  for (const baseName of new Set(places.map(holderOf))) {
    const listed = listedPath(closure, baseName)
    if (listed?.narHash === undefined || listed.narSize === undefined) throw new RangeError(`${baseName}: is not listed with its hash`)
    const node = scanHost(hostStorePath(root, listed.path), storePolicy(1, caseHack))
    await checkNar(storePathDigest(listed.path, node, { hash: listed.narHash, size: listed.narSize }), signal)
  }
}

/** Base name of the store path. */
function holderOf(path: string): string {
  return path.slice(STORE_DIRECTORY.length + 1).split('/', 1)[0] ?? ''
}

async function checkNar(digest: TreeDigest, signal: AbortSignal | undefined): Promise<void> {
  const hash = createHash(digest.algorithm)
  for (const piece of digest.pieces()) {
    if (!('kind' in piece)) {
      hash.update(piece)
      continue
    }
    const image = { size: piece.size, extents: contentExtents(piece, 0, digest.name) }
    for await (const chunk of imageChunks(image, signal ? { signal } : {})) hash.update(chunk)
  }
  checkDigest(digest, hash.digest())
}
