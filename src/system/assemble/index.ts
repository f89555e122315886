/**
 * The system directory that nixpkgs builds as `config.system.build.toplevel`, from a spec and the parts in a closure, without a
 * builder. Its store path is content-addressed, so Nix takes it without a signature.
 *
 * Not supported: evaluating NixOS modules (the spec is what comes out of that), shell commands of `systemBuilderCommands`
 * (entries can be given as `files`), `replaceDependencies` (that is a step of its own), specialisations of specialisations.
 */

import { createHash } from 'node:crypto'
import type { ExtendedRegex } from '../../extended-regex/index.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { type Closure, type ClosurePath, listedPath } from '../../nix/listing/closure.ts'
import { reachable } from '../../nix/listing/reachable.ts'
import { NarDigester } from '../../nix/nar/digest.ts'
import { type ContentAddressChoice, type ContentAddressScheme, chosenScheme } from '../../nix/store/address-scheme.ts'
import { contentAddressed } from '../../nix/store/content-address.ts'
import { formatNix32 } from '../../nix/store/hash.ts'
import { referenceScanner } from '../../nix/store/reference-scan.ts'
import { compareNames, hashPart, storePath } from '../../nix/store/store-path.ts'
import { type StoreTrees, type StoreTreesOptions, storeTrees } from '../../nix/store/store-trees.ts'
import type { DirectoryNode, TreeNode } from '../../tree/tree.ts'
import { checkAssertions, checkForbidden, forbiddenExpressions, noteMissingExtensions, noteUnknownPaths } from './checks.ts'
import { loadParts, readyDocument } from './parts.ts'
import type { SpecPlace } from './sources.ts'
import type { SpecialisationSpec, ToplevelSpec } from './spec.ts'
import { EXTRA_DEPENDENCIES, type ToplevelParts, toplevelDocument, toplevelTree } from './tree.ts'

export interface AssembleOptions {
  readonly spec: ToplevelSpec
  /** Names the spec in messages. */
  readonly where: string
  /** From which the paths in the spec count that are on the host. */
  readonly folder: string
  /** The closure in which the parts are, with hashes and references. What is read of it is compared with the hashes. */
  readonly store: PartsStore
  /** How the toplevel, which refers to itself, is hashed; default `auto`: as the newest Nix in the closure of the parts does it. */
  readonly contentAddressScheme?: ContentAddressChoice
  readonly signal?: AbortSignal
  readonly onProgress?: ProgressListener
}

export interface PartsStore extends Pick<StoreTreesOptions, 'overlay' | 'verify' | 'caseHack'> {
  readonly closure: Closure
  /** Where the store is, on the host. */
  readonly root: string
  /** Of the same closure; default: new ones. */
  readonly trees?: StoreTrees
}

/** A store path that was made. */
export interface MadePath extends ClosurePath {
  readonly ca: string
  readonly narHash: Uint8Array
  readonly narSize: number
  readonly tree: TreeNode
}

export interface AssembledToplevel {
  /** Full store path. */
  readonly toplevel: string
  /** All paths that were made, those first that others refer to. */
  readonly made: readonly MadePath[]
  /** All paths of the store, and those that were made. */
  readonly available: Closure
  /** The toplevel and all that it refers to. */
  readonly closure: Closure
  /** How paths that refer to themselves were hashed. */
  readonly contentAddressScheme: ContentAddressScheme
  /** Files of the host that the spec names. */
  readonly inputs: readonly string[]
}

/**
 * Assemble the toplevel of `spec`. Throws BAD_INPUT (assertions that failed, forbidden dependencies, a spec that contradicts
 * itself), NOT_FOUND (what the spec names is not in the closure), UNSUPPORTED, LIMIT, UNREADABLE, ABORTED.
 */
export async function assembleToplevel(options: AssembleOptions): Promise<AssembledToplevel> {
  const { spec, where, onProgress } = options
  checkAssertions(spec, where, onProgress)
  noteMissingExtensions(spec, onProgress)
  const expressions = new Map<SpecialisationSpec, ExtendedRegex[]>()
  for (const system of [spec, ...spec.specialisations.values()]) {
    if (typeof system !== 'string') expressions.set(system, forbiddenExpressions(system, where))
  }
  const draft = new Draft(options)
  const specialisations = new Map<string, { path: string; document: ToplevelDocument }>()
  for (const [name, child] of spec.specialisations) {
    const childWhere = `${where}.specialisations.${name}`
    if (typeof child === 'string') {
      specialisations.set(name, { path: child, document: await readyDocument(child, childWhere, draft.place) })
    } else {
      specialisations.set(name, await draft.addSystem(child, childWhere, new Map()))
      checkForbidden(draft.needed(), specialisations.get(name)?.path ?? '', expressions.get(child) ?? [])
    }
  }
  const { path: toplevel } = await draft.addSystem(spec, where, specialisations)
  checkForbidden(draft.needed(), toplevel, expressions.get(spec) ?? [])
  const available = draft.available()
  const found = reachable(available.paths, [toplevel])
  return {
    toplevel,
    made: draft.made,
    available,
    closure: { ...available, paths: available.paths.filter(({ path }) => found.has(path)) },
    contentAddressScheme: draft.scheme,
    inputs: draft.place.inputs,
  }
}

type ToplevelDocument = ReturnType<typeof toplevelDocument> | undefined

/** The store with the paths that are made. */
class Draft {
  readonly made: MadePath[] = []
  readonly place: SpecPlace
  readonly scheme: ContentAddressScheme
  readonly #signal: AbortSignal | undefined
  readonly #onProgress: ProgressListener | undefined
  /** References of the toplevels that were made, without what only their extra dependencies refer to. */
  readonly #needed = new Map<string, readonly string[]>()

  constructor({ store, folder, contentAddressScheme = 'auto', signal, onProgress }: AssembleOptions) {
    const { scheme, warning } = chosenScheme(
      contentAddressScheme,
      store.closure.paths.map(({ baseName }) => baseName),
    )
    if (warning !== undefined) onProgress?.({ kind: 'note', message: warning })
    this.scheme = scheme
    this.place = { trees: store.trees ?? storeTrees(store.closure, { ...store, signal }), folder, inputs: [] }
    this.#signal = signal
    this.#onProgress = onProgress
  }

  /** Every path with the references that count for forbidden dependencies. */
  needed(): Pick<ClosurePath, 'path' | 'references'>[] {
    return [...this.place.trees.closure.paths, ...this.made].map(({ path, references }) => ({
      path,
      references: this.#needed.get(path) ?? references,
    }))
  }

  /** All paths, by name; one that was made may have been there. */
  available(): Closure {
    const { closure } = this.place.trees
    const made = this.made.filter(({ baseName }) => listedPath(closure, baseName) === undefined).map(({ tree, ...path }) => path)
    return { ...closure, paths: [...closure.paths, ...made].sort((a, b) => compareNames(a.baseName, b.baseName)) }
  }

  async addSystem(
    spec: SpecialisationSpec,
    where: string,
    specialisations: ToplevelParts['specialisations'],
  ): Promise<{ path: string; document: ToplevelDocument }> {
    const add = async (name: string, node: TreeNode): Promise<string> => (await this.#add(name, node, this.#references(node))).path
    const parts = await loadParts(spec, where, specialisations, this.place, add)
    const name = spec.storeName ?? `nixos-system-${spec.name}-${spec.nixosLabel}`
    const standIn = standInName(name)
    const tree = toplevelTree(parts, storePath(standIn))
    noteUnknownPaths(tree, new Set([...this.#names(), standIn].map(hashPart)), where, this.#onProgress)
    const needed = this.#references(withoutExtraDependencies(tree))
    const { path, references } = await this.#add(name, tree, this.#references(tree), standIn)
    const isOwn = references.includes(path)
    this.#needed.set(path, isOwn ? [...needed, path] : needed)
    return { path, document: spec.kernel === undefined ? undefined : toplevelDocument(parts, path) }
  }

  async #add(name: string, tree: TreeNode, references: readonly string[], selfReference?: string): Promise<MadePath> {
    const input = { name, tree, references, scheme: this.scheme, ...(selfReference !== undefined && { selfReference }) }
    const made = await contentAddressed(input, { signal: this.#signal })
    if (!this.made.some(({ path }) => path === made.path)) this.made.push(made)
    return made
  }

  /** Full paths of what `tree` refers to, sorted. */
  #references(tree: TreeNode): string[] {
    const { found } = new NarDigester({ scanner: referenceScanner(this.#names()) }).digest(tree)
    return [...found].sort(compareNames).map(storePath)
  }

  #names(): string[] {
    return [...this.place.trees.closure.paths, ...this.made].map(({ baseName }) => baseName)
  }
}

/** By which a toplevel refers to itself until its hash is known; any 32 digits do that nothing else has. */
function standInName(name: string): string {
  const digest = createHash('sha256').update(`kilnix toplevel ${name}`).digest()
  return `${formatNix32(digest.subarray(0, 20))}-${name}`
}

function withoutExtraDependencies(tree: DirectoryNode): DirectoryNode {
  return { ...tree, entries: tree.entries.filter(({ name }) => Buffer.from(name).toString() !== EXTRA_DEPENDENCIES) }
}
