/** Replacing paths in a store that was loaded. */

import { printable } from '../bytes/text.ts'
import {
  planReplacement,
  type ReplacedClosure,
  type ReplaceOptions,
  replaceDependencies,
  replacementScheme,
} from '../nix/rewrite/replace.ts'
import type { ContentAddressScheme } from '../nix/store/address-scheme.ts'
import { listedPlace, listedTree, type StorePlaces } from '../nix/store/listed-tree.ts'
import { storePath } from '../nix/store/store-path.ts'
import type { StoreOverlay } from '../nix/store/store-tree.ts'
import { lookedOtherwise, type StoreTrees } from '../nix/store/store-trees.ts'
import type { DirectoryNode, TreeNode } from '../tree/tree.ts'
import type { StoreInput } from './input.ts'
import { BOOT_FILE, isSystem, systemInitrds, systemPaths } from './toplevel.ts'
import { warn } from './warnings.ts'

/** What is replaced in, and where its files are. */
export interface ReplaceableStore {
  /** All paths. */
  readonly trees: StoreTrees
  /** Paths that are not on the host. */
  readonly overlay: StoreOverlay
  /** The store directory, where it was scanned already. */
  readonly scanned: DirectoryNode | undefined
  readonly places: StorePlaces
  /** Full paths that the closure is of. Default: see `ReplaceOptions`. */
  readonly roots?: readonly string[]
}

/** Throws what `replaceDependencies` and `systemInitrds` throw. */
export async function replacedStore(store: ReplaceableStore, input: StoreInput): Promise<ReplacedClosure> {
  const { verify = true, caseHack, contentAddressScheme = 'auto', signal, onProgress } = input
  const { trees, overlay, scanned, places } = store
  const options = await replaceOptions(store, input)
  const systems = new Set(await systemPaths(trees, signal))
  const nodes = new Map((scanned?.entries ?? []).map(({ name, node }) => [printable(name), node]))
  const treeOf = (name: string): TreeNode => {
    const node = overlay.get(name) ?? nodes.get(name) ?? listedTree(listedPlace(name, places), { caseHack })
    // The cut-offs depend on which paths are systems, and this tree is compared with its hash.
    if (isSystem(node) !== systems.has(storePath(name))) throw lookedOtherwise(name, BOOT_FILE)
    return node
  }
  const replaced = await replaceDependencies(trees.closure, treeOf, {
    ...options,
    verify,
    contentAddressScheme,
    signal,
    onBegin: (totalBytes) => onProgress?.({ kind: 'stage', stage: 'replace', totalBytes }),
    onBytes: (doneBytes) => onProgress?.({ kind: 'bytes', stage: 'replace', doneBytes }),
  })
  warn(replaced.warnings, input)
  return replaced
}

/** What replacing would do, as plain data; all paths are full. */
export interface StoreReplacementPlan {
  readonly roots: readonly string[]
  readonly replaced: Readonly<Record<string, string>>
  readonly cutoffs: readonly string[]
  /** What a path refers to stands before it. Their new paths are known when they are read. */
  readonly rewritten: readonly string[]
  /** Bytes of their NARs. */
  readonly rewrittenBytes: number
  readonly keptCount: number
  /** How those that refer to themselves are hashed. */
  readonly contentAddressScheme: ContentAddressScheme
  readonly warnings: readonly string[]
}

/** Of all paths of `trees`. Throws what `planReplacement` and `systemInitrds` throw. */
export async function planStoreReplacement({ trees }: Pick<ReplaceableStore, 'trees'>, input: StoreInput): Promise<StoreReplacementPlan> {
  const { closure } = trees
  const options = await replaceOptions({ trees }, input)
  const plan = await planReplacement(closure, options)
  const { scheme, warnings } = replacementScheme(plan, input.contentAddressScheme)
  if (input.strict) warn(warnings, input)
  const rewritten = new Set(plan.rewritten)
  return {
    roots: plan.roots.map(storePath),
    replaced: Object.fromEntries([...plan.standIns].map(([from, to]) => [storePath(from), storePath(to)])),
    cutoffs: options.cutoffs ?? [],
    rewritten: plan.rewritten.map(storePath),
    rewrittenBytes: closure.paths.reduce((sum, { baseName, narSize }) => sum + (rewritten.has(baseName) ? (narSize ?? 0) : 0), 0),
    keptCount: plan.kept.length,
    contentAddressScheme: scheme,
    warnings,
  }
}

async function replaceOptions({ trees, roots }: Pick<ReplaceableStore, 'trees' | 'roots'>, input: StoreInput): Promise<ReplaceOptions> {
  const { replacements = [], signal } = input
  return { replacements, cutoffs: input.cutoffs ?? (await systemInitrds(trees, signal)), signal, ...(roots && { roots }) }
}
