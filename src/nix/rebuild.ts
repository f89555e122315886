/**
 * What a plain list of paths does not say, found from the files: NAR hash and size, and references.
 *
 * Deriver, signatures and content addresses cannot be found. References are those a scan finds: of a path
 * built with `unsafeDiscardReferences` they may be more than Nix has registered.
 */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { printable } from '../bytes/text.ts'
import { ImageError, throwIfAborted } from '../errors.ts'
import { changedError, HOST_FILE_FLAGS, readError } from '../tree/host-file.ts'
import type { DirectoryNode, FileNode, TreeNode } from '../tree/tree.ts'
import { type Closure, type ClosurePath, checkAcyclic } from './closure.ts'
import { narPieces, narSize } from './nar.ts'
import { type ReferenceScanner, referenceScanner, SCAN_OVERLAP } from './reference-scan.ts'
import { compareNames, storePath } from './store-path.ts'

export interface RebuildOptions {
  readonly signal?: AbortSignal
  /** Bytes of NAR hashed so far. */
  readonly onBytes?: (doneBytes: number) => void
}

/** Bytes read, hashed and scanned at once. */
const STAGE_SIZE = 1024 * 1024

/**
 * The same closure with `narHash`, `narSize` and, where they were unknown, `references` of every path.
 * `store` is the tree that `storeTree` made of it. Throws UNREADABLE, CHANGED, BAD_INPUT (the references
 * found form a cycle), ABORTED.
 */
export async function rebuildRegistration(closure: Closure, store: DirectoryNode, options: RebuildOptions = {}): Promise<Closure> {
  const scanner = closure.referencesKnown ? undefined : referenceScanner(closure.paths.map((entry) => entry.baseName))
  const nodes = new Map(store.entries.map((entry) => [printable(entry.name), entry.node]))
  const stage = new Stage(scanner)
  const paths: ClosurePath[] = []
  let doneBytes = 0
  for (const entry of closure.paths) {
    await setImmediate()
    throwIfAborted(options.signal, 'cancelled while the store was hashed')
    const node = nodes.get(entry.baseName)
    if (node === undefined) throw new ImageError('NOT_FOUND', `${entry.path}: is in the listing, but not in the tree`, { path: entry.path })
    const size = narSize(node, entry.path)
    const { narHash, found } = stage.digest(node)
    const references = closure.referencesKnown ? entry.references : [...found].sort(compareNames).map(storePath)
    paths.push({ ...entry, narHash, narSize: size, references })
    doneBytes += size
    options.onBytes?.(doneBytes)
  }
  checkAcyclic(paths, 'references found in the files (list the closure with nix path-info -r --json to have the registered ones)')
  return { ...closure, paths, hashesKnown: true, referencesKnown: true }
}

/** One buffer through which all bytes of a NAR pass; its first bytes are the end of what was scanned before. */
class Stage {
  readonly #buffer = Buffer.alloc(SCAN_OVERLAP + STAGE_SIZE)
  readonly #scanner: ReferenceScanner | undefined
  #hash = createHash('sha256')
  #found = new Set<string>()
  #kept = 0
  #end = SCAN_OVERLAP

  constructor(scanner: ReferenceScanner | undefined) {
    this.#scanner = scanner
  }

  digest(node: TreeNode): { narHash: Uint8Array; found: ReadonlySet<string> } {
    this.#hash = createHash('sha256')
    this.#found = new Set()
    this.#kept = 0
    this.#end = SCAN_OVERLAP
    for (const piece of narPieces(node)) {
      if ('kind' in piece) this.#addFile(piece)
      else this.#addBytes(piece)
    }
    this.#flush()
    return { narHash: new Uint8Array(this.#hash.digest()), found: this.#found }
  }

  #addBytes(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length; ) {
      const part = bytes.subarray(start, start + this.#buffer.length - this.#end)
      this.#buffer.set(part, this.#end)
      this.#advance(part.length)
      start += part.length
    }
  }

  #addFile(file: FileNode): void {
    const { content } = file
    if (content.kind === 'bytes') {
      this.#addBytes(content.bytes)
      return
    }
    if (content.kind === 'image') throw new ImageError('UNSUPPORTED', 'a file that is an image cannot be part of a store path')
    const { path } = content
    let read = 0
    try {
      const handle = openSync(Buffer.from(path), HOST_FILE_FLAGS)
      try {
        for (;;) {
          const count = readSync(handle, this.#buffer, this.#end, this.#buffer.length - this.#end, null)
          if (count === 0) break
          read += count
          if (read > file.size) throw changedError(path, `grew beyond its ${file.size} bytes`)
          this.#advance(count)
        }
      } finally {
        closeSync(handle)
      }
    } catch (error) {
      throw readError(path, error)
    }
    if (read !== file.size) throw changedError(path, `ended at byte ${read} of ${file.size}`)
  }

  #advance(count: number): void {
    this.#end += count
    if (this.#end === this.#buffer.length) this.#flush()
  }

  #flush(): void {
    this.#hash.update(this.#buffer.subarray(SCAN_OVERLAP, this.#end))
    if (this.#scanner !== undefined) {
      const start = SCAN_OVERLAP - this.#kept
      this.#scanner.scan(this.#buffer.subarray(start, this.#end), this.#found)
      this.#kept = Math.min(SCAN_OVERLAP, this.#end - start)
      this.#buffer.copy(this.#buffer, SCAN_OVERLAP - this.#kept, this.#end - this.#kept, this.#end)
    }
    this.#end = SCAN_OVERLAP
  }
}
