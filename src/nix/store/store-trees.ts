/**
 * The one way to single files of a store: by the tree of their store path, which is read once as a whole and compared with
 * the listing before anything of it is used. Contents of such a tree have proofs, so every later reading is checked too.
 */
import { lstatSync } from 'node:fs'
import { printable } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { unreadableError } from '../../tree/host-file.ts'
import type { DirectoryNode, TreeNode } from '../../tree/tree.ts'
import { isProven, provenTree } from '../../tree/verified.ts'
import { type Closure, type ClosurePath, listedPath } from '../listing/closure.ts'
import { listedPlace, listedTree, type StorePlaces } from './listed-tree.ts'
import { storePath } from './store-path.ts'
import { type StoreOverlay, storePathDigest } from './store-tree.ts'

export interface StoreTreesOptions extends StorePlaces {
  /** Trees that are in neither. Those without proofs are compared with the listing too. */
  readonly overlay?: StoreOverlay
  /** The store directory, where it was scanned already. Whoever gives it compares all of it with the listing himself. */
  readonly scanned?: DirectoryNode | undefined
  /** Compare with the listing; default true. */
  readonly verify?: boolean
  /** The store was written by Nix on macOS: undo its case hack. */
  readonly caseHack?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  /** Of a closure that lists the same paths of the host: what it has proven need not be read again. */
  readonly before?: StoreTrees
}

/** Trees of the listed paths, each scanned and proven when it is asked for, and once. */
export interface StoreTrees {
  readonly closure: Closure
  /** The tree of a listed path, which nobody has compared with the listing. Throws what `scanHost` throws. */
  seen(baseName: string): TreeNode
  /** The same, proven. Throws HASH_MISMATCH, CHANGED, UNREADABLE, ABORTED too. */
  tree(baseName: string): Promise<TreeNode>
  /** Whether a listed path looks like a folder with an entry `name`; never through a link. Throws UNREADABLE. */
  seemsToHave(baseName: string, name: string): boolean
  /** Prove what `seemsToHave` said. Throws what `tree` throws, and CHANGED when it is not so. */
  confirm(baseName: string, name: string): Promise<void>
  /** Of paths on the host. */
  readonly proven: Map<string, Promise<TreeNode>>
}

export function storeTrees(closure: Closure, options: StoreTreesOptions): StoreTrees {
  const { overlay = new Map(), verify = true, caseHack, signal, before } = options
  const given = new Map((options.scanned?.entries ?? []).map(({ name, node }) => [printable(name), node]))
  const scans = new Map<string, TreeNode>()
  const proven = before?.proven ?? new Map<string, Promise<TreeNode>>()
  const found = (baseName: string): TreeNode | undefined => overlay.get(baseName) ?? given.get(baseName) ?? scans.get(baseName)
  const seen = (baseName: string): TreeNode => {
    const known = found(baseName)
    if (known !== undefined) return known
    const node = listedTree(listedPlace(baseName, options), { caseHack })
    scans.set(baseName, node)
    return node
  }
  const prove = async (baseName: string): Promise<TreeNode> => {
    const listed = requireListed(closure, baseName)
    const { path, narHash, narSize } = listed
    const node = seen(baseName)
    if (!verify || narHash === undefined || narSize === undefined) return node
    // What was made of proven files has its hash from them.
    if (overlay.has(baseName) && isProven(node)) return node
    return provenTree(storePathDigest(path, node, { hash: narHash, size: narSize }), signal)
  }
  const tree = (baseName: string): Promise<TreeNode> => {
    if (overlay.has(baseName)) return prove(baseName)
    const known = proven.get(baseName) ?? prove(baseName)
    proven.set(baseName, known)
    return known
  }
  const seemsToHave = (baseName: string, name: string): boolean => {
    const { hostPath, narFile } = listedPlace(baseName, options)
    const node = narFile === undefined ? found(baseName) : seen(baseName)
    return node === undefined ? hostHas(hostPath, name, baseName) : hasEntry(node, name)
  }
  return {
    closure,
    seen,
    tree,
    seemsToHave,
    async confirm(baseName, name) {
      if (!verify || overlay.has(baseName) || given.has(baseName)) return
      const said = seemsToHave(baseName, name)
      if (hasEntry(await tree(baseName), name) !== said) throw lookedOtherwise(baseName, name)
    },
    proven,
  }
}

/** The same trees without a proof: for questions whose answer is an error or nothing. */
export function unproven(trees: StoreTrees): StoreTrees {
  return { ...trees, tree: async (baseName) => trees.seen(baseName) }
}

/** CHANGED for a store path that was looked at before its tree was proven. */
export function lookedOtherwise(baseName: string, name: string): ImageError {
  const path = storePath(baseName)
  return new ImageError('CHANGED', `${path}: ${name} came or went while the store was read; build again when nothing writes there`, {
    path,
  })
}

export function hasEntry(node: TreeNode, name: string): boolean {
  return node.kind === 'directory' && node.entries.some((entry) => printable(entry.name) === name)
}

function hostHas(hostPath: string, name: string, baseName: string): boolean {
  try {
    if (lstatSync(hostPath, { throwIfNoEntry: false })?.isDirectory() !== true) return false
    return lstatSync(`${hostPath}/${name}`, { throwIfNoEntry: false }) !== undefined
  } catch (cause) {
    throw unreadableError(storePath(baseName), cause)
  }
}

function requireListed(closure: Closure, baseName: string): ClosurePath {
  const listed = listedPath(closure, baseName)
  if (listed === undefined) throw new RangeError(`${baseName}: is not listed`)
  return listed
}
