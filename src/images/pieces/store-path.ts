/** The content of a piece: one store path, scanned, and what its NAR has to be. */
import { utf8 } from '../../bytes/text.ts'
import { listedTree } from '../../nix/store/listed-tree.ts'
import { storePathDigest } from '../../nix/store/store-tree.ts'
import type { DirectoryNode, TreeDigest } from '../../tree/tree.ts'
import type { BuildTask } from './protocol.ts'

/** Nix gives every store file this time, and the store's squashfs its root. */
const STORE_TIME = 1

export interface StorePathContent {
  /** A folder that holds the store path alone. */
  readonly root: DirectoryNode
  /** Over the store path; undefined where the NAR hash is not to be checked. */
  readonly digest: TreeDigest | undefined
}

/** Throws what `listedTree` throws, and HASH_MISMATCH when the NAR is not as long as registered. */
export function scanStorePath({ storePath, baseName, node: given, caseHack, nar, ...place }: BuildTask): StorePathContent {
  const node = given ?? listedTree(place, { mtimeSeconds: STORE_TIME, caseHack })
  const root: DirectoryNode = {
    kind: 'directory',
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtimeSeconds: STORE_TIME,
    entries: [{ name: utf8(baseName), node }],
  }
  return { root, digest: nar && storePathDigest(storePath, node, nar) }
}
