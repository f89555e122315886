/** Contents that are checked against a digest while they are read, for formats that read files in its order. */
import { createHash, type Hash } from 'node:crypto'
import { ImageError } from '../errors.ts'
import type { ImmediateReader } from '../io/image.ts'
import { imageSlice } from '../io/slice.ts'
import { imageChunks } from '../io/stream.ts'
import { contentExtents, openContent } from './content.ts'
import { type FileNode, sortedEntries, type TreeDigest, type TreeNode } from './tree.ts'

/**
 * The digest's node with other contents: whoever reads its files from the first to the last, in the order of the
 * digest, gets HASH_MISMATCH at the end of the last one when the whole is not what is expected. A file may be read in
 * parts, one after the other. The first file may be read again, which begins anew. A tree without file contents is
 * checked here and now.
 */
export function verifiedTree(digest: TreeDigest): TreeNode {
  const pass = new DigestPass(digest)
  return withContents(digest.node, digest.name, pass)
}

/** Read all contents and compare; for formats that read in an order of their own. Throws HASH_MISMATCH, what reading throws, ABORTED. */
export async function checkContents(digest: TreeDigest, signal?: AbortSignal): Promise<void> {
  const hash = createHash(digest.algorithm)
  for (const piece of digest.pieces()) {
    if (!('kind' in piece)) {
      hash.update(piece)
      continue
    }
    const image = { size: piece.size, extents: contentExtents(piece, 0, digest.name) }
    for await (const chunk of imageChunks(image, signal ? { signal } : {})) hash.update(chunk)
  }
  checkDigest(digest, hash.digest())
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

function withContents(node: TreeNode, name: string, pass: DigestPass): TreeNode {
  if (node.kind === 'directory') {
    return { ...node, entries: sortedEntries(node).map((entry) => ({ name: entry.name, node: withContents(entry.node, name, pass) })) }
  }
  if (node.kind !== 'file' || node.size === 0) return node
  const readRange = (start: number, length: number, buffer?: Uint8Array): AsyncIterable<Uint8Array> =>
    pass.read(node, start, length, buffer)
  const extent = { start: 0, length: node.size, read: () => pass.read(node, 0, node.size), readRange, openNow: () => pass.open(node) }
  return { ...node, content: { kind: 'image', image: { size: node.size, extents: [extent] } } }
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
    const whole = { size: file.size, extents: contentExtents(file, 0, this.#digest.name) }
    const wanted = length === file.size ? whole : imageSlice(whole, start, start + length)
    for await (const chunk of imageChunks(wanted, buffer ? { buffer } : {})) {
      this.#take(file, chunk)
      yield chunk
    }
  }

  open(file: FileNode): ImmediateReader | undefined {
    const reader = openContent(file, this.#digest.name)
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
