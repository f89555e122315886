/**
 * Replacing the store paths that a tree refers to by others of the same length, in contents, link targets and names,
 * wherever their hash parts stand: that is what Nix counts as a reference.
 *
 * Not supported: references that are written in another way, such as in compressed content or in UTF-16.
 */
import { createHash, type Hash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { compareBytes } from '../../bytes/order.ts'
import { throwIfAborted } from '../../errors.ts'
import { Proof } from '../../io/proven.ts'
import { imageChunks } from '../../io/stream.ts'
import { contentExtents } from '../../tree/content.ts'
import { hostFileOf, readHostFile } from '../../tree/host-file.ts'
import { applyPatches, patchedContent } from '../../tree/patch.ts'
import type { FileNode, Patch, TreeNode } from '../../tree/tree.ts'
import { provenContent } from '../../tree/verified.ts'
import { narPieces } from '../nar/serialize.ts'
import { hashPartScanner } from '../store/reference-scan.ts'
import { HASH_PART_LENGTH, hashPart } from '../store/store-path.ts'

/** Base name to base name, of equal lengths. */
export type Rewrites = ReadonlyMap<string, string>

/** What stands for the hash part of the path itself until that is known: the zeros that Nix hashes in its place. */
export const OWN_HASH = new Uint8Array(HASH_PART_LENGTH)

interface Rule {
  /** `-` and the old name, where it becomes another. */
  readonly name: Uint8Array | undefined
  readonly hashPart: Uint8Array
  readonly baseName: Uint8Array
}

/** Finds what is to be replaced. */
export interface RewriteFinder {
  /** Bytes of the longest match. */
  readonly longest: number
  /** Call `add` for each match in `bytes`, in order, with the replacement; of matches that overlap the first counts. */
  find(bytes: Buffer, add: (patch: Patch) => void): void
}

/**
 * A finder for `rewrites`, and for the hash part of `own`, which becomes `ownHash`. Where a base name has another name
 * behind its hash part, the whole is replaced, or the hash part alone where that stands alone.
 */
export function rewriteFinder(rewrites: Rewrites, own?: string, ownHash: Uint8Array = OWN_HASH): RewriteFinder {
  const rules = new Map<string, Rule>()
  let longest = HASH_PART_LENGTH
  for (const [from, to] of rewrites) {
    if (from.length !== to.length) throw new RangeError(`${from} cannot become ${to} in place`)
    const isRenamed = from.slice(HASH_PART_LENGTH) !== to.slice(HASH_PART_LENGTH)
    if (isRenamed) longest = Math.max(longest, from.length)
    const name = isRenamed ? latin1(from.slice(HASH_PART_LENGTH)) : undefined
    rules.set(hashPart(from), { name, hashPart: latin1(hashPart(to)), baseName: latin1(to) })
  }
  if (own !== undefined) rules.set(hashPart(own), { name: undefined, hashPart: ownHash, baseName: ownHash })
  if (rules.size === 0) return { longest: 1, find: () => undefined }
  const scanner = hashPartScanner(rules.keys())
  const find: RewriteFinder['find'] = (bytes, add) => {
    let end = 0
    scanner.scan(bytes, (hash, position) => {
      const rule = rules.get(hash)
      if (rule === undefined || position < end) return
      const replacement = rule.name !== undefined && standsAt(rule.name, bytes, position + HASH_PART_LENGTH) ? rule.baseName : rule.hashPart
      end = position + replacement.length
      add({ position, bytes: replacement })
    })
  }
  return { longest, find }
}

/** The same tree with names and link targets rewritten; nodes in which nothing is found stay what they are. */
export function rewriteNames(node: TreeNode, finder: RewriteFinder): TreeNode {
  if (node.kind === 'symlink') {
    const target = rewriteBytes(node.target, finder)
    return target === node.target ? node : { ...node, target }
  }
  if (node.kind !== 'directory') return node
  let isChanged = false
  const entries = node.entries.map((entry) => {
    const name = rewriteBytes(entry.name, finder)
    const below = rewriteNames(entry.node, finder)
    if (name === entry.name && below === entry.node) return entry
    isChanged = true
    return { name, node: below }
  })
  return isChanged ? { ...node, entries } : node
}

/** The same tree with patches over its contents, and proofs of what lies below them. */
export function rewriteContents(
  node: TreeNode,
  patches: ReadonlyMap<FileNode, readonly Patch[]>,
  proofs: ReadonlyMap<FileNode, Proof> = new Map(),
): TreeNode {
  if (node.kind === 'file') {
    const own = patches.get(node)
    const proof = proofs.get(node)
    if (own === undefined && proof === undefined) return node
    const content = provenContent(node.content, proof)
    return { ...node, content: own === undefined ? content : patchedContent(content, own) }
  }
  if (node.kind !== 'directory') return node
  let isChanged = false
  const entries = node.entries.map((entry) => {
    const below = rewriteContents(entry.node, patches, proofs)
    if (below === entry.node) return entry
    isChanged = true
    return { name: entry.name, node: below }
  })
  return isChanged ? { ...node, entries } : node
}

function rewriteBytes(bytes: Uint8Array, finder: RewriteFinder): Uint8Array {
  if (bytes.length < HASH_PART_LENGTH) return bytes
  const patches: Patch[] = []
  finder.find(asBuffer(bytes), (patch) => patches.push(patch))
  if (patches.length === 0) return bytes
  const copy = Uint8Array.from(bytes)
  applyPatches(copy, 0, patches)
  return copy
}

export interface RewritePassOptions {
  readonly signal?: AbortSignal | undefined
  /** Bytes of the NAR that have passed. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined
  /** Called with each file and what it begins with: `HEAD_SIZE` bytes, or all of it. */
  readonly onFile?: ((file: FileNode, head: Uint8Array) => void) | undefined
  /** Called once the tree is what it is registered as, with proofs of its files on the host. */
  readonly onProven?: ((proofs: ReadonlyMap<FileNode, Proof>) => void) | undefined
}

/** Bytes of a file that `onFile` sees. */
export const HEAD_SIZE = 16

export interface RewrittenNar {
  /** SHA-256 of the NAR with everything replaced. */
  readonly hash: Hash
  /** For each file in which something was found. */
  readonly patches: ReadonlyMap<FileNode, readonly Patch[]>
  /** Where in the NAR the path's own hash part stands. */
  readonly ownPositions: readonly number[]
  /** SHA-256 of the NAR as it was read, where that was asked for. */
  readonly originalHash: Hash | undefined
  /** With it: of each file on the host that had no proof, what was read. */
  readonly proofs: ReadonlyMap<FileNode, Proof>
}

/** Bytes that are read at a time, and after which other work gets its turn. */
const STAGE_SIZE = 1 << 20
const TURN_SIZE = 16 << 20

export interface RewrittenInput {
  /** Names and link targets are rewritten, but for the path's own hash part. */
  readonly tree: TreeNode
  /** The tree as it was before, with its entries in the same order, if its hash is wanted as well. */
  readonly original?: TreeNode | undefined
  /** What is to be replaced in contents, and in names and link targets. */
  readonly contents: RewriteFinder
  readonly framing: RewriteFinder
  /** Names the tree in messages. */
  readonly name: string
}

/** Read all contents of a tree once, find what is to be replaced in them, and hash the NAR as it is afterwards. */
export async function rewrittenNar(input: RewrittenInput, options: RewritePassOptions = {}): Promise<RewrittenNar> {
  const { tree, original, name } = input
  const pass = new RewritePass(input, options)
  // Replacing changes no length, so that both are cut into the same pieces.
  const before = original === undefined || original === tree ? undefined : narPieces(original)
  let turn = 0
  for (const piece of narPieces(tree)) {
    const asItWas = before?.next().value ?? piece
    if ('kind' in piece) await pass.addFile(piece, name)
    else pass.addFraming(piece, 'kind' in asItWas ? piece : asItWas)
    if (pass.position - turn < TURN_SIZE) continue
    turn = pass.position
    options.onBytes?.(turn)
    await setImmediate()
    throwIfAborted(options.signal)
  }
  options.onBytes?.(pass.position)
  return pass
}

class RewritePass implements RewrittenNar {
  readonly hash = createHash('sha256')
  readonly patches = new Map<FileNode, Patch[]>()
  readonly ownPositions: number[] = []
  readonly proofs = new Map<FileNode, Proof>()
  /** Bytes of the NAR that are hashed. */
  position = 0
  readonly originalHash: Hash | undefined
  readonly #finder: RewriteFinder
  readonly #framing: RewriteFinder
  readonly #options: RewritePassOptions
  /** What a match may need of the bytes before comes first, then what was read. */
  readonly #stage: Buffer
  readonly #overlap: number

  constructor({ contents, framing, original }: RewrittenInput, options: RewritePassOptions) {
    this.originalHash = original && createHash('sha256')
    this.#finder = contents
    this.#framing = framing
    this.#options = options
    this.#overlap = contents.longest - 1
    this.#stage = Buffer.allocUnsafeSlow(this.#overlap + STAGE_SIZE)
  }

  /** No match can begin in one string of a NAR and end in another: the eight bytes of a length lie between them. */
  addFraming(bytes: Uint8Array, asItWas: Uint8Array): void {
    this.originalHash?.update(asItWas)
    const copy = asBuffer(Uint8Array.from(bytes))
    const found: Patch[] = []
    this.#framing.find(copy, (patch) => found.push(patch))
    applyPatches(copy, 0, found)
    this.#addOwn(found, this.position)
    this.#pass(copy)
  }

  async addFile(file: FileNode, name: string): Promise<void> {
    const { signal, onFile } = this.#options
    const found: Patch[] = []
    const { content, size } = file
    const start = this.position
    const stage = this.#stage.subarray(this.#overlap)
    const own = this.originalHash !== undefined && content.kind === 'hostFile' && content.proof === undefined && createHash('sha256')
    if (content.kind === 'hostFile' && size <= stage.length) {
      readHostFile(hostFileOf(content, size), stage.subarray(0, size))
      if (own) own.update(stage.subarray(0, size))
      onFile?.(file, stage.subarray(0, Math.min(size, HEAD_SIZE)))
      this.#passWindow(this.#overlap, this.#overlap + size, true, start, found)
    } else {
      let kept = 0
      let isFirst = true
      const image = { size, extents: contentExtents(file, 0, name) }
      for await (const chunk of imageChunks(image, { buffer: stage, ...(signal && { signal }) })) {
        for (let at = 0; at < chunk.length; at += STAGE_SIZE) {
          const part = chunk.subarray(at, at + STAGE_SIZE)
          if (part.buffer !== stage.buffer || part.byteOffset !== stage.byteOffset) stage.set(part)
          if (own) own.update(part)
          if (isFirst) onFile?.(file, stage.subarray(0, Math.min(part.length, HEAD_SIZE)))
          isFirst = false
          const begin = this.#overlap - kept
          kept = this.#passWindow(begin, this.#overlap + part.length, false, start, found)
        }
      }
      this.#passWindow(this.#overlap - kept, this.#overlap, true, start, found)
    }
    if (found.length > 0) this.patches.set(file, found)
    if (own) this.proofs.set(file, new Proof(own.digest(), size))
  }

  /**
   * Hash what lies in the stage, replaced, as far as no match can still begin there. Returns how many bytes are kept;
   * they then lie before what is read next.
   */
  #passWindow(begin: number, end: number, isLast: boolean, fileStart: number, found: Patch[]): number {
    const window = this.#stage.subarray(begin, end)
    const offset = this.position - fileStart
    const here: Patch[] = []
    // A match that begins later may be longer than what is there of it.
    const limit = isLast ? window.length : Math.max(0, window.length - this.#overlap)
    this.#finder.find(window, (patch) => {
      if (patch.position < limit) here.push(patch)
    })
    const last = here.at(-1)
    const done = Math.max(limit, last === undefined ? 0 : last.position + last.bytes.length)
    const kept = window.length - done
    const head = window.subarray(0, done)
    this.#addOwn(here, this.position)
    for (const { position, bytes } of here) found.push({ position: offset + position, bytes })
    this.originalHash?.update(head)
    applyPatches(head, 0, here)
    this.#pass(head)
    if (kept > 0) this.#stage.copyWithin(this.#overlap - kept, end - kept, end)
    return kept
  }

  #addOwn(found: readonly Patch[], start: number): void {
    for (const { position, bytes } of found) if (bytes === OWN_HASH) this.ownPositions.push(start + position)
  }

  #pass(bytes: Uint8Array): void {
    this.hash.update(bytes)
    this.position += bytes.length
  }
}

/** Whether `what` stands at `position` of `bytes`. */
function standsAt(what: Uint8Array, bytes: Buffer, position: number): boolean {
  return compareBytes(bytes.subarray(position, position + what.length), what) === 0
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** In memory of its own: a patch may go to another thread, and its memory with it. */
function latin1(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'latin1'))
}
