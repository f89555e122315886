/** The one way to the tree of a listed path as it lies on the host: in a folder, or in a NAR. */
import { lstatSync } from 'node:fs'
import { unreadableError } from '../../tree/host-file.ts'
import { scanHost } from '../../tree/scan.ts'
import type { TreeNode } from '../../tree/tree.ts'
import { type NarFile, type NarFiles, narFileTree } from './nar-file.ts'
import { storePath } from './store-path.ts'
import { storePolicy } from './store-policy.ts'

/** Where the files of listed paths are. */
export interface StorePlaces {
  /** The folder in which `nix/store` lies, `/` for the host's own store: of paths that are in no NAR. */
  readonly root: string
  readonly nars?: NarFiles | undefined
}

/** Where one of them is. */
export interface ListedPlace {
  /** Where it lies on the host, if in no NAR. */
  readonly hostPath: string
  readonly narFile: NarFile | undefined
}

export interface ListedTreeOptions {
  /** Of every node. Default 1, as Nix has it. */
  readonly mtimeSeconds?: number | undefined
  /** The store was written by Nix on a file system that ignores case. NARs have the names as they are. */
  readonly caseHack?: boolean | undefined
}

/** Where a listed path lies in a folder of the host. */
export function hostStorePath(root: string, path: string): string {
  return `${root.replace(/\/+$/, '')}${path}`
}

export function listedPlace(baseName: string, { root, nars }: StorePlaces): ListedPlace {
  return { hostPath: hostStorePath(root, storePath(baseName)), narFile: nars?.get(baseName) }
}

/** Throws what `scanHost` and `narFileTree` throw. */
export function listedTree({ hostPath, narFile }: ListedPlace, { mtimeSeconds = 1, caseHack }: ListedTreeOptions = {}): TreeNode {
  return narFile === undefined ? scanHost(hostPath, storePolicy(mtimeSeconds, caseHack)) : narFileTree(narFile, { mtimeSeconds })
}

/** Whether there are files of a listed path; whether they are what is listed shows when they are read. Throws UNREADABLE. */
export function isPresent({ hostPath, narFile }: ListedPlace): boolean {
  if (narFile !== undefined) return true
  try {
    return lstatSync(hostPath, { throwIfNoEntry: false }) !== undefined
  } catch (cause) {
    throw unreadableError(hostPath, cause)
  }
}
