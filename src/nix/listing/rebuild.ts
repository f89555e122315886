/**
 * What a plain list of paths does not say, found from the files: NAR hash and size, and references.
 *
 * Deriver, signatures and content addresses cannot be found. References are those a scan finds: of a path
 * built with `unsafeDiscardReferences` they may be more than Nix has registered.
 */
import { setImmediate } from 'node:timers/promises'
import { printable } from '../../bytes/text.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import { NarDigester } from '../nar/digest.ts'
import { narSize } from '../nar/serialize.ts'
import { referenceScanner } from '../store/reference-scan.ts'
import { compareNames, storePath } from '../store/store-path.ts'
import type { Closure, ClosurePath } from './closure.ts'
import { checkAcyclic } from './cycles.ts'

export interface RebuildOptions {
  readonly signal?: AbortSignal
  /** Bytes of NAR hashed so far. */
  readonly onBytes?: (doneBytes: number) => void
}

/**
 * The same closure with `narHash`, `narSize` and, where they were unknown, `references` of every path.
 * `store` is the tree that `storeTree` made of it. Throws UNREADABLE, CHANGED, BAD_INPUT (the references
 * found form a cycle), ABORTED.
 */
export async function rebuildRegistration(closure: Closure, store: DirectoryNode, options: RebuildOptions = {}): Promise<Closure> {
  const scanner = closure.referencesKnown ? undefined : referenceScanner(closure.paths.map((entry) => entry.baseName))
  const nodes = new Map(store.entries.map((entry) => [printable(entry.name), entry.node]))
  const digester = new NarDigester(scanner === undefined ? {} : { scanner })
  const paths: ClosurePath[] = []
  let doneBytes = 0
  for (const entry of closure.paths) {
    await setImmediate()
    throwIfAborted(options.signal, 'cancelled while the store was hashed')
    const node = nodes.get(entry.baseName)
    if (node === undefined) throw new ImageError('NOT_FOUND', `${entry.path}: is in the listing, but not in the tree`, { path: entry.path })
    const size = narSize(node, entry.path)
    const { hash, found } = digester.digest(node)
    const references = closure.referencesKnown ? entry.references : [...found].sort(compareNames).map(storePath)
    // What the listing has is what the files will be compared with.
    paths.push({ ...entry, narHash: entry.narHash ?? hash, narSize: entry.narSize ?? size, references })
    doneBytes += size
    options.onBytes?.(doneBytes)
  }
  await checkAcyclic(paths, 'references found in the files (list the closure with nix path-info -r --json to have the registered ones)')
  return { ...closure, paths, hashesKnown: true, referencesKnown: true }
}
