/**
 * Content-addressed store paths, as `nix store make-content-addressed` makes them of any path
 * (`libstore/make-content-addressed.cc`, `libstore/references.cc`, class HashModuloSink; Nix manual, "Store Path
 * Specification").
 *
 * The hash cannot be part of what is hashed, so occurrences of the path's own hash part count as zeros; whether the places
 * where they stand are hashed as well depends on the version of Nix (`address-scheme.ts`). What the path refers to is part of
 * its name's fingerprint.
 */
import type { Hash } from 'node:crypto'
import { compareBytes } from '../../bytes/order.ts'
import { ImageError } from '../../errors.ts'
import type { Proof } from '../../io/proven.ts'
import type { FileNode, Patch, TreeNode } from '../../tree/tree.ts'
import { checkDigest, provenTree, withProofs } from '../../tree/verified.ts'
import { narSize } from '../nar/serialize.ts'
import {
  OWN_HASH,
  type RewritePassOptions,
  type Rewrites,
  rewriteContents,
  rewriteFinder,
  rewriteNames,
  rewrittenNar,
} from '../rewrite/rewrite.ts'
import type { ContentAddressScheme } from './address-scheme.ts'
import { fingerprintHashPart } from './fingerprint.ts'
import { formatSha256 } from './hash.ts'
import { checkBaseName, compareNames, HASH_PART_LENGTH, hashPart, parseStorePath, storePath } from './store-path.ts'
import { storePathDigest } from './store-tree.ts'

export interface ContentAddressedInput {
  /** What stands behind hash part and `-` in the new path. */
  readonly name: string
  readonly tree: TreeNode
  /** Full paths that the result refers to, without itself; in any order. */
  readonly references: readonly string[]
  /** Base name by which the tree refers to itself, if it does; its hash part becomes that of the new path. */
  readonly selfReference?: string
  /** Register the path as one that refers to itself. Default: where the hash part of `selfReference` is found in it. */
  readonly refersToItself?: boolean
  /** How the path is hashed where it holds its own hash part; default `positions`. */
  readonly scheme?: ContentAddressScheme
  /** Other paths that are replaced on the way; `references` are those afterwards. */
  readonly rewrites?: Rewrites
  /** As which path the tree is registered: it is compared with that in the same reading. */
  readonly registered?: { readonly path: string; readonly hash: Uint8Array; readonly size: number }
}

export interface ContentAddressedPath {
  /** `/nix/store/<base name>` */
  readonly path: string
  readonly baseName: string
  /** As it is registered: `fixed:r:sha256:<nix32>`. */
  readonly ca: string
  /** SHA-256 of the NAR, 32 bytes. */
  readonly narHash: Uint8Array
  /** Bytes of the NAR. */
  readonly narSize: number
  /** The tree as it is at its new path. Contents in which something was replaced are read from where they were, with patches. */
  readonly tree: TreeNode
  /** Full paths, sorted, with the path itself where it refers to itself. */
  readonly references: readonly string[]
}

/**
 * Names that hold the hash decide the order of the NAR, and thereby the hash. Where the hash puts them in another order than
 * the one it was made with, it is made again, with names that hold the last hash, or one as good as any where that leads in
 * a circle. There may be no order that gives itself.
 */
const ORDER_ATTEMPTS = 64

/**
 * The content-addressed path of `tree`, and the tree rewritten to it. Contents are read once, and once more where the
 * path refers to itself. With `registered` the files of that tree have proofs: they are read later as they were read here.
 *
 * Throws BAD_INPUT (a name that no store path can have, entries that get equal names), LIMIT, UNSUPPORTED, HASH_MISMATCH
 * for a tree that is not as it is registered, what reading throws, and ABORTED.
 */
export async function contentAddressed(input: ContentAddressedInput, options: RewritePassOptions = {}): Promise<ContentAddressedPath> {
  const { name, selfReference: own, scheme = 'positions', rewrites = new Map() } = input
  checkBaseName(`${'0'.repeat(HASH_PART_LENGTH)}-${name}`, `the name '${name}'`)
  const references = otherReferences(input)
  const contents = rewriteFinder(rewrites, own)
  const registered = input.registered && storePathDigest(input.registered.path, input.tree, input.registered)
  let tree = rewriteNames(input.tree, rewriteFinder(rewrites))
  const isCheckedOnTheWay = registered !== undefined && isOrderKept(input.tree, tree) && !hasPatches(input.tree)
  // What is read again later has to be what was compared.
  if (registered !== undefined && !isCheckedOnTheWay)
    tree = rewriteNames(await provenTree(registered, options.signal), rewriteFinder(rewrites))
  let proofs: ReadonlyMap<FileNode, Proof> = new Map()
  /** By which the names in `tree` refer to it. */
  let current = own
  const tried = new Set<string>()
  for (let attempt = 0; attempt < ORDER_ATTEMPTS; attempt++) {
    const size = narSize(tree, storePath(own ?? name))
    const original = isCheckedOnTheWay && attempt === 0 ? input.tree : undefined
    const framing = rewriteFinder(new Map(), current)
    const pass = await rewrittenNar({ tree, original, contents, framing, name }, options)
    const { hash, patches, ownPositions } = pass
    if (registered !== undefined && pass.originalHash !== undefined) {
      checkDigest(registered, pass.originalHash.digest())
      proofs = pass.proofs
      options.onProven?.(proofs)
    }
    const modulo = moduloHash(hash, scheme === 'positions' ? ownPositions : [])
    const refersToItself = input.refersToItself ?? ownPositions.length > 0
    const baseName = `${sourceHashPart(name, modulo, references, refersToItself)}-${name}`
    const renamed = current === undefined ? tree : rewriteNames(tree, rewriteFinder(new Map([[sameHash(current, name), baseName]])))
    if (current !== undefined && !isOrderKept(tree, renamed)) {
      const next = tried.has(baseName) ? `${anyHashPart(attempt)}-${name}` : baseName
      tried.add(baseName)
      tree = rewriteNames(withProofs(tree, proofs), rewriteFinder(new Map([[sameHash(current, name), next]])))
      proofs = new Map()
      current = next
      continue
    }
    const rewritten = rewriteContents(renamed, withOwnHash(patches, baseName), proofs)
    const narHash = ownPositions.length === 0 ? modulo : await narHashOf(rewritten, name, options)
    const path = storePath(baseName)
    return {
      path,
      baseName,
      ca: `fixed:r:${formatSha256(modulo)}`,
      narHash,
      narSize: size,
      tree: rewritten,
      references: (refersToItself ? [...references, path] : references).sort(compareNames),
    }
  }
  throw new ImageError(
    'UNSUPPORTED',
    `${storePath(own ?? name)}: names of files in it hold its own hash part, and no hash was found with which they keep their order in ${ORDER_ATTEMPTS} attempts`,
    { path: storePath(own ?? name) },
  )
}

export interface ModuloHashes extends Readonly<Record<ContentAddressScheme, Uint8Array>> {
  /** How often the hash part was found; without any both hashes are that of the NAR. */
  readonly ownCount: number
}

/** The hashes of a tree that is at `baseName`, modulo the hash part of that. Throws what reading throws, and ABORTED. */
export async function moduloHashes(tree: TreeNode, baseName: string, options: RewritePassOptions = {}): Promise<ModuloHashes> {
  const own = rewriteFinder(new Map(), baseName)
  const { hash, ownPositions } = await rewrittenNar({ tree, contents: own, framing: own, name: baseName }, options)
  return { positions: moduloHash(hash.copy(), ownPositions), zeros: moduloHash(hash, []), ownCount: ownPositions.length }
}

/** What HashModuloSink's `finish` gives: the hash of the NAR with zeros, and of where they are. */
function moduloHash(hash: Hash, positions: readonly number[]): Uint8Array {
  for (const position of positions) hash.update(`|${position}`)
  return new Uint8Array(hash.digest())
}

/** The type of the fingerprint is `source`, references, `self` (`StoreDirConfig::makeFixedOutputPath`). */
function sourceHashPart(name: string, modulo: Uint8Array, references: readonly string[], refersToItself: boolean): string {
  return fingerprintHashPart(['source', ...references, ...(refersToItself ? ['self'] : [])].join(':'), modulo, name)
}

/** Contents that are a host file with other bytes, whose own bytes the NAR does not tell. */
function hasPatches(node: TreeNode): boolean {
  if (node.kind === 'directory') return node.entries.some((entry) => hasPatches(entry.node))
  return node.kind === 'file' && node.content.kind === 'patched'
}

function anyHashPart(attempt: number): string {
  return fingerprintHashPart('attempt', OWN_HASH, String(attempt))
}

function otherReferences({ references, selfReference, name }: ContentAddressedInput): string[] {
  const names = references.map((path) => parseStorePath(path, `a reference of '${name}'`))
  return [...new Set(names)]
    .filter((reference) => reference !== selfReference)
    .sort(compareNames)
    .map(storePath)
}

/** The patches with the hash part that is known now. */
function withOwnHash(patches: ReadonlyMap<FileNode, readonly Patch[]>, baseName: string): Map<FileNode, Patch[]> {
  const own = Uint8Array.from(Buffer.from(hashPart(baseName), 'latin1'))
  const final = (patch: Patch): Patch => (patch.bytes === OWN_HASH ? { position: patch.position, bytes: own } : patch)
  return new Map([...patches].map(([file, list]) => [file, list.map(final)]))
}

async function narHashOf(tree: TreeNode, name: string, options: RewritePassOptions): Promise<Uint8Array> {
  const nothing = rewriteFinder(new Map())
  const { hash } = await rewrittenNar({ tree, contents: nothing, framing: nothing, name }, { signal: options.signal })
  return new Uint8Array(hash.digest())
}

/** Only the hash part is replaced, whatever name stood behind it. */
function sameHash(baseName: string, name: string): string {
  return `${hashPart(baseName)}-${name}`
}

/** Whether entries that got other names stand where they stood. `renamed` has its entries in the order of `tree`. */
function isOrderKept(tree: TreeNode, renamed: TreeNode): boolean {
  if (tree === renamed || tree.kind !== 'directory' || renamed.kind !== 'directory') return true
  const places = (names: readonly Uint8Array[]): number[] =>
    names.map((_, index) => index).sort((a, b) => compareBytes(names[a] ?? OWN_HASH, names[b] ?? OWN_HASH))
  const before = places(tree.entries.map((entry) => entry.name))
  const after = places(renamed.entries.map((entry) => entry.name))
  if (before.some((place, index) => place !== after[index])) return false
  return tree.entries.every(({ node }, index) => isOrderKept(node, renamed.entries[index]?.node ?? node))
}
