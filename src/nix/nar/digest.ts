/** Hashes of the NARs of trees of the host, and the references in them, in one reading. */
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { ImageError, throwIfAborted } from '../../errors.ts'
import { HostReader, hostFileOf } from '../../tree/host-file.ts'
import type { FileNode, TreeNode } from '../../tree/tree.ts'
import { type ReferenceScanner, SCAN_OVERLAP } from '../store/reference-scan.ts'
import { narPieces, narSize } from './serialize.ts'

/** Algorithms that Nix knows. */
export const NAR_HASHES = ['sha256', 'sha512', 'sha1', 'md5'] as const

export type NarHashAlgorithm = (typeof NAR_HASHES)[number]

export interface NarDigesterOptions {
  /** Default sha256, the one that is registered. */
  readonly algorithm?: NarHashAlgorithm
  /** Look for references in the same reading. */
  readonly scanner?: ReferenceScanner
}

/**
 * The hash and length of the NAR of `node`. Lets the event loop run after each mebibyte. Throws what `narSize` and
 * `NarDigester.digest` throw, and ABORTED; `name` names the node.
 */
export async function hashNar(
  node: TreeNode,
  name: string,
  options: Pick<NarDigesterOptions, 'algorithm'> & { readonly signal?: AbortSignal } = {},
): Promise<{ readonly hash: Uint8Array; readonly size: number }> {
  const size = narSize(node, name)
  const digester = new NarDigester(options)
  for (const _bytes of digester.steps(node)) {
    await setImmediate()
    throwIfAborted(options.signal, 'cancelled while a NAR was hashed')
  }
  return { hash: digester.result().hash, size }
}

/** Bytes read, hashed and scanned at once. */
const STAGE_SIZE = 1024 * 1024

/**
 * One buffer through which all bytes of a NAR pass, and the next NAR after it; its first bytes are the end of what was
 * scanned before. Synchronous: for a thread of its own, or for trees of bounded size.
 */
export class NarDigester {
  readonly #buffer = Buffer.alloc(SCAN_OVERLAP + STAGE_SIZE)
  readonly #options: NarDigesterOptions
  #hash = createHash('sha256')
  #found = new Set<string>()
  #kept = 0
  #end = SCAN_OVERLAP

  constructor(options: NarDigesterOptions = {}) {
    this.#options = options
  }

  /**
   * The hash of the NAR of `node`, whose files are in memory or on the host, and the base names that the scanner found.
   * Throws CHANGED, UNREADABLE, UNSUPPORTED, and what `narPieces` throws.
   */
  digest(node: TreeNode): { readonly hash: Uint8Array; readonly found: ReadonlySet<string> } {
    for (const _bytes of this.steps(node));
    return this.result()
  }

  /** The same in steps of a mebibyte, each of which yields how many bytes it took; `result` is there after the last. */
  *steps(node: TreeNode): Generator<number, void, undefined> {
    this.#hash = createHash(this.#options.algorithm ?? 'sha256')
    this.#found = new Set()
    this.#kept = 0
    this.#end = SCAN_OVERLAP
    for (const piece of narPieces(node)) {
      if ('kind' in piece) yield* this.#addFile(piece)
      else yield* this.#addBytes(piece)
    }
    yield this.#flush()
  }

  result(): { readonly hash: Uint8Array; readonly found: ReadonlySet<string> } {
    return { hash: new Uint8Array(this.#hash.digest()), found: this.#found }
  }

  *#addBytes(bytes: Uint8Array): Generator<number> {
    for (let start = 0; start < bytes.length; ) {
      const part = bytes.subarray(start, start + this.#buffer.length - this.#end)
      this.#buffer.set(part, this.#end)
      if (this.#isFullAfter(part.length)) yield this.#flush()
      start += part.length
    }
  }

  *#addFile(file: FileNode): Generator<number> {
    const { content } = file
    if (content.kind === 'bytes') {
      yield* this.#addBytes(content.bytes)
      return
    }
    if (content.kind === 'image') throw new ImageError('UNSUPPORTED', 'a file that is an image cannot be part of a store path')
    const reader = new HostReader(hostFileOf(content, file.size))
    try {
      for (let left = file.size; left > 0; ) {
        const part = this.#buffer.subarray(this.#end, this.#end + left)
        reader.read(part)
        left -= part.length
        if (this.#isFullAfter(part.length)) yield this.#flush()
      }
    } finally {
      reader.close()
    }
  }

  #isFullAfter(count: number): boolean {
    this.#end += count
    return this.#end === this.#buffer.length
  }

  /** How many bytes were hashed and scanned. */
  #flush(): number {
    const { scanner } = this.#options
    const count = this.#end - SCAN_OVERLAP
    this.#hash.update(this.#buffer.subarray(SCAN_OVERLAP, this.#end))
    if (scanner !== undefined) {
      const start = SCAN_OVERLAP - this.#kept
      scanner.scan(this.#buffer.subarray(start, this.#end), this.#found)
      this.#kept = Math.min(SCAN_OVERLAP, this.#end - start)
      this.#buffer.copy(this.#buffer, SCAN_OVERLAP - this.#kept, this.#end - this.#kept, this.#end)
    }
    this.#end = SCAN_OVERLAP
    return count
  }
}
