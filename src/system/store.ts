/** The store of a closure as a squashfs tree: what every live image carries. */
import { utf8 } from '../bytes/text.ts'
import { threadCarrier } from '../data/carrier.ts'
import { ImageError } from '../errors.ts'
import type { Closure } from '../nix/listing/closure.ts'
import { requireProvenance, withoutProvenance } from '../nix/listing/provenance.ts'
import { rebuildRegistration } from '../nix/listing/rebuild.ts'
import { formatRegistration } from '../nix/listing/registration.ts'
import type { ContentAddressScheme } from '../nix/store/address-scheme.ts'
import { hostStorePath, type StorePlaces } from '../nix/store/listed-tree.ts'
import type { NarFiles } from '../nix/store/nar-file.ts'
import { type StoreOverlay, storePathDigest, storeTree } from '../nix/store/store-tree.ts'
import { type StoreTrees, type StoreTreesOptions, storeTrees } from '../nix/store/store-trees.ts'
import type { DirectoryNode, Entry, FileNode, TreeDigest, TreeNode } from '../tree/tree.ts'
import { verifiedTree } from '../tree/verified.ts'
import type { LoadedToplevel } from './assemble/load.ts'
import type { OpenedSource, StoreInput } from './input.ts'
import type { ReplaceableStore } from './replaced-store.ts'
import { openSource } from './source.ts'

/** A listing with all hashes; the files may not have been looked at yet. */
export interface LoadedClosure {
  readonly closure: Closure
  /** The folder in which `nix/store` lies, with the files of paths that are in no NAR. */
  readonly root: string
  /** Where the NARs of paths are that are read from some. */
  readonly nars: NarFiles
  /** Full paths that were asked for, as they were before anything was replaced; empty for a listing. */
  readonly roots: readonly string[]
  /** Bytes of all NARs. */
  readonly narBytes: number
  /** What is read on the host: the listing's files and all store paths. */
  readonly inputs: readonly string[]
  /** The store directory, where the files had to be scanned to find the hashes. */
  readonly scanned: DirectoryNode | undefined
  /** Paths of the closure that are not below `root`, because they were rewritten. */
  readonly overlay: StoreOverlay
  /** Full paths that were replaced or rewritten, and what they became. */
  readonly mapping: ReadonlyMap<string, string>
  /** Full path of the toplevel that was assembled from a spec. */
  readonly assembled: string | undefined
  /** How paths that were made and refer to themselves were hashed; undefined where none could be. */
  readonly contentAddressScheme: ContentAddressScheme | undefined
  /** By which single files are taken, each store path proven when the first of it is. */
  readonly trees: StoreTrees
  /** To be called when nothing of it is read any more, unless `StoreInput.sources` has opened it. */
  close(): Promise<void>
}

export interface LoadedStore extends LoadedClosure {
  readonly scanned: DirectoryNode
  /** One a store path, unless `verify` is false. */
  readonly digests: readonly TreeDigest[]
}

/**
 * Who compares store paths with their NAR hashes. `inOrder`: the files themselves, which have to be read in the order of a NAR
 * and all of them. `byFormat`: the format, which is given the digests.
 */
export type StoreCheck = 'inOrder' | 'byFormat'

export interface CheckedTree {
  readonly root: DirectoryNode
  /** What the format has to check. */
  readonly digests: readonly TreeDigest[]
}

/** Nix gives every store file this time (`libstore/posix-fs-canonicalise.cc`). */
const STORE_TIME = 1

/** Throws USAGE where one is named and no path is made. */
function checkContentAddressScheme({ contentAddressScheme = 'auto', toplevelSpec, replacements }: StoreInput): void {
  if (contentAddressScheme === 'auto' || toplevelSpec !== undefined || replacements !== undefined) return
  throw new ImageError(
    'USAGE',
    (option) =>
      `${option('contentAddressScheme')} is ${contentAddressScheme}, but no store path is made here: that needs ${option('replacements')} or ${option('toplevelSpec')}`,
  )
}

/**
 * Open the closure. Scans and hashes the store where the listing has no hashes, and replaces paths; then what is replaced
 * and all that refers to it is read. Throws what `openSource`, `storeTree` and `replaceDependencies` throw, and USAGE for a
 * listing without the provenance that is to be kept, or for a `contentAddressScheme` where no path is made.
 */
export async function loadClosure(input: StoreInput): Promise<LoadedClosure> {
  checkContentAddressScheme(input)
  input.onProgress?.({ kind: 'stage', stage: 'scan' })
  if (input.sources !== undefined) return closureOf({ ...(await input.sources.open(input)), close: async () => undefined }, input)
  const source = await openSource(input)
  try {
    return await closureOf(source, input)
  } catch (error) {
    await source.close()
    throw error
  }
}

async function closureOf(source: OpenedSource, input: StoreInput): Promise<LoadedClosure> {
  const { signal } = input
  const { root, nars, roots } = source
  const places = { root, nars }
  const listed = listedClosure(source, input)
  noteUnregistered(listed, input)
  const scanned = listed.hashesKnown ? undefined : await scannedStore(listed, { places, input })
  const complete = scanned === undefined ? listed : await rebuildRegistration(listed, scanned, signal ? { signal } : {})
  const listedTrees = storeTrees(complete, { ...places, ...treesOptions(input), scanned })
  const place = { closure: complete, ...places, trees: listedTrees }
  // What few need is loaded when it is needed: it is a third of all that would be loaded here.
  const { toplevelSpec, replacements } = input
  const system =
    toplevelSpec === undefined ? undefined : await (await import('./assemble/load.ts')).loadToplevel(toplevelSpec, place, input)
  const replaceable = replacements && replaceableStore({ trees: listedTrees, scanned, places }, system, input)
  const replaced = replaceable && (await (await import('./replaced-store.ts')).replacedStore(replaceable, input))
  const closure = replaced?.closure ?? system?.closure ?? complete
  const overlay: StoreOverlay = new Map([...(system?.overlay ?? []), ...(replaced?.overlay ?? [])])
  const narBytes = closure.paths.reduce((sum, { narSize }) => sum + (narSize ?? 0), 0)
  const mapping = replaced?.mapping ?? new Map<string, string>()
  const storeInputs = complete.paths.filter(({ baseName }) => !nars.has(baseName)).map(({ path }) => hostStorePath(root, path))
  return {
    closure,
    root,
    nars,
    roots,
    narBytes,
    inputs: [...source.inputs, ...storeInputs, ...(system?.inputs ?? [])],
    scanned: closure === complete ? scanned : undefined,
    overlay,
    mapping,
    assembled: newPathOf(system?.toplevel, { mapping }),
    contentAddressScheme: replaced?.contentAddressScheme ?? system?.contentAddressScheme,
    trees: closure === complete ? listedTrees : storeTrees(closure, { ...places, ...treesOptions(input), overlay, before: listedTrees }),
    close: () => source.close(),
  }
}

/** Nothing where the kind of listing has no hashes at all. */
function noteUnregistered({ paths }: Closure, { onProgress }: StoreInput): void {
  const [first, ...others] = paths.filter(({ narHash }) => narHash === undefined)
  if (first === undefined || others.length + 1 === paths.length) return
  const which = others.length === 0 ? `${first.path} is` : `${first.path} and ${others.length} more are`
  const message = `${which} listed without hash and size, as Nix has paths that were registered without; what is found in the files is taken`
  onProgress?.({ kind: 'note', message })
}

function treesOptions({ verify = true, caseHack, signal }: StoreInput): Omit<StoreTreesOptions, keyof StorePlaces> {
  return { verify, caseHack, signal }
}

function listedClosure({ closure }: OpenedSource, { closure: name, paths = [], provenance = false }: StoreInput): Closure {
  if (!provenance) return withoutProvenance(closure)
  requireProvenance(closure, name ?? paths.join(' '))
  return closure
}

/** What replaces a path need not be part of the system. */
function replaceableStore(
  { trees, scanned, places }: Pick<ReplaceableStore, 'trees' | 'scanned' | 'places'>,
  system: LoadedToplevel | undefined,
  input: StoreInput,
): ReplaceableStore {
  if (system === undefined) return { trees, overlay: new Map(), scanned, places }
  const { available, overlay, toplevel } = system
  const assembled = storeTrees(available, { ...places, ...treesOptions(input), overlay, before: trees })
  return { trees: assembled, overlay, scanned, places, roots: [toplevel] }
}

/** What a store path that the user names has become. */
export function newPathOf<T extends string | undefined>(path: T, { mapping }: Pick<LoadedClosure, 'mapping'>): T | string {
  return path === undefined ? path : (mapping.get(path.replace(/\/+$/, '')) ?? path)
}

/**
 * Read the listing and scan the files. Throws what `loadClosure` and `storeTree` throw, and
 * HASH_MISMATCH for a path whose size is not the registered one.
 */
export async function loadStore(input: StoreInput): Promise<LoadedStore> {
  const loaded = await loadClosure(input)
  try {
    return await scanStore(loaded, input)
  } catch (error) {
    await loaded.close()
    throw error
  }
}

/** The same for a listing that is read already. */
export async function scanStore(loaded: LoadedClosure, input: StoreInput): Promise<LoadedStore> {
  const { closure, root, nars, overlay } = loaded
  const places = { root, nars }
  const scanned = loaded.scanned ?? (await scannedStore(closure, { places, overlay, input }))
  const nodes = new Map(scanned.entries.map((entry) => [Buffer.from(entry.name).toString('latin1'), entry.node]))
  const digests: TreeDigest[] = []
  for (const path of closure.paths) {
    const node = nodes.get(path.baseName)
    if (node === undefined || path.narHash === undefined || path.narSize === undefined) {
      throw new ImageError('BAD_INPUT', `${path.path}: has no hash or no files`, { path: path.path })
    }
    if (input.verify === false) continue
    digests.push(storePathDigest(path.path, node, { hash: path.narHash, size: path.narSize }))
  }
  const trees = storeTrees(closure, { ...places, ...treesOptions(input), overlay, scanned, before: loaded.trees })
  return { ...loaded, scanned, digests, trees }
}

/** The store directory, one entry a store path. */
export function checkedStore({ scanned, digests }: LoadedStore, check: StoreCheck): CheckedTree {
  if (check === 'byFormat') return { root: scanned, digests }
  const verified = new Map<TreeNode, TreeNode>(digests.map((digest) => [digest.node, verifiedTree(digest, threadCarrier)]))
  const entries = scanned.entries.map(({ name, node }) => ({ name, node: verified.get(node) ?? node }))
  return { root: { ...scanned, entries }, digests: [] }
}

interface Scanning {
  readonly places: StorePlaces
  readonly overlay?: StoreOverlay
  readonly input: StoreInput
}

function scannedStore(closure: Closure, { places, overlay, input }: Scanning): Promise<DirectoryNode> {
  const { caseHack = false, jobs, signal } = input
  return storeTree(closure, {
    ...places,
    mtimeSeconds: STORE_TIME,
    caseHack,
    ...(overlay && { overlay }),
    ...(jobs !== undefined && { jobs }),
    ...(signal && { signal }),
  })
}

/** `nix-path-registration`, which NixOS loads into its database at the first boot. */
export function registrationEntry(closure: Closure): Entry {
  return { name: utf8('nix-path-registration'), node: storeFile(formatRegistration(closure)) }
}

/** A file with the attributes of those in the store. */
export function storeFile(bytes: Uint8Array): FileNode {
  return { kind: 'file', mode: 0o444, uid: 0, gid: 0, mtimeSeconds: STORE_TIME, size: bytes.length, content: { kind: 'bytes', bytes } }
}
