/** Contents that are checked against a digest while they are read, for formats that read files in its order. */
import { createHash, type Hash } from 'node:crypto'
import { ImageError } from '../errors.ts'
import { imageChunks } from '../io/stream.ts'
import { contentExtents } from './content.ts'
import { type FileNode, sortedEntries, type TreeDigest, type TreeNode } from './tree.ts'

/**
 * The digest's node with other contents: whoever reads its files from the first to the last, in the order of the
 * digest, gets HASH_MISMATCH at the end of the last one when the whole is not what is expected. The first file may
 * be read again, which begins anew. A tree without file contents is checked here and now.
 */
export function verifiedTree(digest: TreeDigest): TreeNode {
  const pass = new DigestPass(digest)
  return withContents(digest.node, digest.name, pass)
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
  const extent = { start: 0, length: node.size, read: () => pass.read(node) }
  return { ...node, content: { kind: 'image', image: { size: node.size, extents: [extent] } } }
}

/** Hashes framing and files; knows which file has to come next. */
class DigestPass {
  readonly #digest: TreeDigest
  readonly #first: FileNode | undefined
  #pieces: Iterator<Uint8Array | FileNode>
  #hash: Hash
  #next: FileNode | undefined

  constructor(digest: TreeDigest) {
    this.#digest = digest
    this.#pieces = digest.pieces()[Symbol.iterator]()
    this.#hash = createHash(digest.algorithm)
    this.#advance()
    this.#first = this.#next
  }

  async *read(file: FileNode): AsyncGenerator<Uint8Array> {
    if (file === this.#first) this.#restart()
    if (file !== this.#next) throw new RangeError(`${this.#digest.name}: files are not read in the order of the digest`)
    for await (const chunk of imageChunks({ size: file.size, extents: contentExtents(file, 0, this.#digest.name) })) {
      this.#hash.update(chunk)
      yield chunk
    }
    this.#advance()
  }

  #restart(): void {
    this.#pieces = this.#digest.pieces()[Symbol.iterator]()
    this.#hash = createHash(this.#digest.algorithm)
    this.#advance()
  }

  /** Hash framing up to the next file, or to the end, where the result has to be the right one. */
  #advance(): void {
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
