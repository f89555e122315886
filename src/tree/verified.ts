/** Contents that are checked against a digest while they are read, for formats that read files in its order. */
import { createHash, type Hash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { ImageError, throwIfAborted } from '../errors.ts'
import type { CarriedContent, CarriedGroup, CarriedPart, CarriedSource, Carrier, Extent, ImmediateReader } from '../io/image.ts'
import { Proof } from '../io/proven.ts'
import { imageSlice } from '../io/slice.ts'
import { imageChunks } from '../io/stream.ts'
import { contentExtents, openContent } from './content.ts'
import { patchedChunks } from './patch.ts'
import { type Content, type FileNode, sortedEntries, type TreeDigest, type TreeNode } from './tree.ts'

/**
 * The digest's node with other contents: whoever reads its files from the first to the last, in the order of the
 * digest, gets HASH_MISMATCH at the end of the last one when the whole is not what is expected. A file may be read in
 * parts, one after the other. The first file may be read again, which begins anew. A tree without file contents is
 * checked here and now. A carrier, if one is given, may bring all files to where they belong and check them itself.
 */
export function verifiedTree(digest: TreeDigest, carrier?: Carrier): TreeNode {
  const pass = new DigestPass(digest)
  const size = carrier === undefined ? undefined : carriedSize(digest.node)
  const group = carrier === undefined || size === undefined ? undefined : { digest, carrier, size }
  return withContents(digest.node, pass, group)
}

/** The files of a digest, for a carrier. */
export interface VerifiedGroup extends CarriedGroup {
  readonly digest: TreeDigest
}

export function isVerifiedGroup(group: CarriedGroup): group is VerifiedGroup {
  return 'digest' in group
}

/** A file of a digest, for a carrier, which brings all of it. */
export class VerifiedFile implements CarriedSource, CarriedContent {
  readonly group: VerifiedGroup
  readonly file: FileNode

  constructor(group: VerifiedGroup, file: FileNode) {
    this.group = group
    this.file = file
  }

  get size(): number {
    return this.file.size
  }

  parts(): readonly CarriedPart[] {
    return [{ start: 0, length: this.size, source: this, offset: 0 }]
  }

  rest(): readonly Extent[] {
    return []
  }
}

/** Bytes of all files; undefined where one is an image, which no thread can be told of. */
function carriedSize(node: TreeNode): number | undefined {
  if (node.kind === 'file') return node.content.kind === 'image' ? undefined : node.size
  if (node.kind !== 'directory') return 0
  let sum = 0
  for (const { node: below } of node.entries) {
    const size = carriedSize(below)
    if (size === undefined) return undefined
    sum += size
  }
  return sum
}

/** Bytes that are read before other work gets its turn. */
const TURN_SIZE = 16 << 20

/**
 * The digest's node once all its contents were read and found right, each with a proof of its bytes: whoever reads one of
 * them later, in whatever order, gets what was read here, or CHANGED. Throws HASH_MISMATCH, what reading throws, ABORTED.
 */
export async function provenTree(digest: TreeDigest, signal?: AbortSignal): Promise<TreeNode> {
  const hash = createHash(digest.algorithm)
  const proofs = new Map<FileNode, Proof>()
  const buffer = Buffer.allocUnsafeSlow(CHUNK_SIZE)
  let turn = 0
  for (const piece of digest.pieces()) {
    if (!('kind' in piece)) {
      hash.update(piece)
      continue
    }
    const own = createHash('sha256')
    for await (const chunk of patchedReading(piece, digest.name, { own, buffer, signal })) hash.update(chunk)
    proofs.set(piece, new Proof(own.digest(), piece.size))
    turn += piece.size
    if (turn < TURN_SIZE) continue
    turn = 0
    await setImmediate()
    throwIfAborted(signal)
  }
  checkDigest(digest, hash.digest())
  return withProofs(digest.node, proofs)
}

const CHUNK_SIZE = 1 << 20

interface OwnReading {
  /** Takes the bytes as they lie in the file. */
  readonly own: Hash
  readonly buffer: Uint8Array
  readonly signal: AbortSignal | undefined
}

async function* patchedReading(file: FileNode, where: string, { own, buffer, signal }: OwnReading): AsyncGenerator<Uint8Array> {
  const { content } = file
  const plain: FileNode = content.kind === 'patched' ? { ...file, content: { ...content, kind: 'hostFile' } } : file
  const chunks = imageChunks({ size: file.size, extents: contentExtents(plain, 0, where) }, { buffer, ...(signal && { signal }) })
  async function* seen(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      own.update(chunk)
      yield chunk
    }
  }
  yield* content.kind === 'patched' ? patchedChunks(seen(), content.patches, 0) : seen()
}

/** Whether all contents of the tree have proofs or are in memory. */
export function isProven(node: TreeNode): boolean {
  if (node.kind === 'directory') return node.entries.every((entry) => isProven(entry.node))
  if (node.kind !== 'file' || node.size === 0) return true
  return node.content.kind === 'bytes' || proofOf(node) !== undefined
}

/** What the bytes of the host file have to be in which a content lies. */
export function proofOf({ content }: FileNode): Proof | undefined {
  return content.kind === 'hostFile' || content.kind === 'patched' ? content.proof : undefined
}

/** The same tree with proofs for contents on the host that had none. */
export function withProofs(node: TreeNode, proofs: ReadonlyMap<FileNode, Proof>): TreeNode {
  if (node.kind === 'directory') {
    return { ...node, entries: node.entries.map(({ name, node: below }) => ({ name, node: withProofs(below, proofs) })) }
  }
  const proof = node.kind === 'file' ? proofs.get(node) : undefined
  return node.kind === 'file' && proof !== undefined ? { ...node, content: provenContent(node.content, proof) } : node
}

/** The content with a proof, unless it has one or needs none. */
export function provenContent(content: Content, proof: Proof | undefined): Content {
  if (proof === undefined) return content
  // What a scan gives has its path from a getter.
  if (content.kind === 'hostFile') return { kind: 'hostFile', path: content.path, range: content.range, proof: content.proof ?? proof }
  return content.kind === 'patched' ? { ...content, proof: content.proof ?? proof } : content
}

/** Throws HASH_MISMATCH when `actual` is not what `digest` expects. */
export function checkDigest(digest: TreeDigest, actual: Uint8Array): void {
  if (Buffer.compare(actual, digest.expected) === 0) return
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
  throw new ImageError(
    'HASH_MISMATCH',
    `${digest.name}: its files hash to sha256:${hex(actual)}, the listing has sha256:${hex(digest.expected)}; ` +
      `the store is damaged or the listing is of another one: try nix-store --verify-path ${digest.name}`,
    { path: digest.name },
  )
}

function withContents(node: TreeNode, pass: DigestPass, group: VerifiedGroup | undefined): TreeNode {
  if (node.kind === 'directory') {
    return { ...node, entries: sortedEntries(node).map((entry) => ({ name: entry.name, node: withContents(entry.node, pass, group) })) }
  }
  if (node.kind !== 'file' || node.size === 0) return node
  const readRange = (start: number, length: number, buffer?: Uint8Array): AsyncIterable<Uint8Array> =>
    pass.read(node, start, length, buffer)
  const extent: Extent = {
    start: 0,
    length: node.size,
    read: () => pass.read(node, 0, node.size),
    readRange,
    openNow: () => pass.open(node),
    ...(group && { carried: new VerifiedFile(group, node) }),
  }
  return { ...node, content: { kind: 'image', image: { size: node.size, extents: [extent] } } }
}

/** What the digest covers need not be hashed twice. */
function withoutProof(file: FileNode): FileNode {
  const { content } = file
  return proofOf(file) === undefined ? file : { ...file, content: { ...content, proof: undefined } as Content }
}

/** Hashes framing and files; knows which file has to come next. */
class DigestPass {
  readonly #digest: TreeDigest
  readonly #first: FileNode | undefined
  #pieces: Iterator<Uint8Array | FileNode>
  #hash: Hash
  #next: FileNode | undefined
  /** Bytes of the next file that are hashed. */
  #position = 0

  constructor(digest: TreeDigest) {
    this.#digest = digest
    this.#pieces = digest.pieces()[Symbol.iterator]()
    this.#hash = createHash(digest.algorithm)
    this.#advance()
    this.#first = this.#next
  }

  async *read(file: FileNode, start: number, length: number, buffer?: Uint8Array): AsyncGenerator<Uint8Array> {
    this.#expect(file, start)
    const whole = { size: file.size, extents: contentExtents(withoutProof(file), 0, this.#digest.name) }
    const wanted = length === file.size ? whole : imageSlice(whole, start, start + length)
    for await (const chunk of imageChunks(wanted, buffer ? { buffer } : {})) {
      this.#take(file, chunk)
      yield chunk
    }
  }

  open(file: FileNode): ImmediateReader | undefined {
    const reader = openContent(withoutProof(file), this.#digest.name)
    if (reader === undefined) return undefined
    let start = 0
    return {
      read: (bytes) => {
        this.#expect(file, start)
        reader.read(bytes)
        start += bytes.length
        this.#take(file, bytes)
      },
      close: () => reader.close(),
    }
  }

  #expect(file: FileNode, start: number): void {
    if (file === this.#first && start === 0) this.#restart()
    if (file !== this.#next || start !== this.#position) {
      throw new RangeError(`${this.#digest.name}: files are not read in the order of the digest`)
    }
  }

  #take(file: FileNode, bytes: Uint8Array): void {
    this.#hash.update(bytes)
    this.#position += bytes.length
    // Before the last bytes are handed over: a reader that has all it wants does not ask again.
    if (this.#position === file.size) this.#advance()
  }

  #restart(): void {
    this.#pieces = this.#digest.pieces()[Symbol.iterator]()
    this.#hash = createHash(this.#digest.algorithm)
    this.#advance()
  }

  /** Hash framing up to the next file, or to the end, where the result has to be the right one. */
  #advance(): void {
    this.#position = 0
    for (let piece = this.#pieces.next(); !piece.done; piece = this.#pieces.next()) {
      if ('kind' in piece.value) {
        this.#next = piece.value
        return
      }
      this.#hash.update(piece.value)
    }
    this.#next = undefined
    checkDigest(this.#digest, this.#hash.digest())
  }
}
