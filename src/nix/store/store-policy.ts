/** How Nix leaves the files of a store. */
import type { ScanPolicy } from '../../tree/scan.ts'
import type { Attributes } from '../../tree/tree.ts'

/** Modes of canonical store files (`libstore/posix-fs-canonicalise.cc`): no write bits; x for all or for none. */
const FILE_MODE = 0o444
export const EXECUTABLE_MODE = 0o555

/** Attributes as Nix writes them: owner 0:0, 0444 or 0555 by the owner's execute bit, one time for all. */
export function storePolicy(mtimeSeconds = 1, caseHack = false): ScanPolicy {
  const shared = { uid: 0, gid: 0, mtimeSeconds }
  const plain: Attributes = { ...shared, mode: FILE_MODE }
  const executable: Attributes = { ...shared, mode: EXECUTABLE_MODE }
  const symlink: Attributes = { ...shared, mode: 0o777 }
  return {
    caseHack,
    attributes: (kind, host) => {
      if (kind === 'symlink') return symlink
      return kind === 'directory' || (host.mode & 0o100) !== 0 ? executable : plain
    },
  }
}
