/** The store of a closure as a squashfs tree: what every live image carries. */
import { join } from 'node:path'
import { utf8 } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import type { ProgressListener } from '../io/progress.ts'
import { CLOSURE_INFO_FILES, type Closure, readClosure } from '../nix/closure.ts'
import { narDigest } from '../nix/nar.ts'
import { rebuildRegistration } from '../nix/rebuild.ts'
import { formatRegistration } from '../nix/registration.ts'
import { hostStorePath, storeTree } from '../nix/store-tree.ts'
import type { DirectoryNode, FileNode, TreeDigest } from '../tree/tree.ts'

export interface StoreInput {
  /** A closure listing: a folder or file as `readClosure` takes it, or `-` for `stdin`. */
  readonly closure: string
  /** Files are read from `<root>/nix/store`; default `/`. */
  readonly root?: string
  /** Compare the NAR hash of every path with the listing while its bytes pass; default true. */
  readonly verify?: boolean
  /** The store was written by Nix on macOS: undo its case hack. */
  readonly caseHack?: boolean
  readonly stdin?: AsyncIterable<Uint8Array>
  readonly signal?: AbortSignal
  readonly onProgress?: ProgressListener
}

export interface LoadedStore {
  readonly closure: Closure
  readonly root: string
  /** The root of the squashfs: `nix-path-registration` and one entry a store path. */
  readonly tree: DirectoryNode
  readonly digests: readonly TreeDigest[]
  /** Bytes of all NARs. */
  readonly narBytes: number
  /** What is read on the host: the listing's files and all store paths. */
  readonly inputs: readonly string[]
}

/** Nix gives every store file this time (`libstore/posix-fs-canonicalise.cc`). */
const STORE_TIME = 1

/**
 * Read the listing and scan the files. Throws what `readClosure` and `storeTree` throw, and
 * HASH_MISMATCH for a path whose size is not the registered one.
 */
export async function loadStore(input: StoreInput): Promise<LoadedStore> {
  const { root = '/', verify = true, signal } = input
  input.onProgress?.({ kind: 'stage', stage: 'scan' })
  const listed = await readClosure(input.closure, input.stdin === undefined ? {} : { stdin: input.stdin })
  const scanned = await storeTree(listed, {
    root,
    mtimeSeconds: STORE_TIME,
    caseHack: input.caseHack ?? false,
    ...(signal && { signal }),
  })
  const nodes = new Map(scanned.entries.map((entry) => [Buffer.from(entry.name).toString('latin1'), entry.node]))
  const closure = listed.hashesKnown ? listed : await rebuildRegistration(listed, scanned, signal ? { signal } : {})
  const digests: TreeDigest[] = []
  let narBytes = 0
  for (const path of closure.paths) {
    const node = nodes.get(path.baseName)
    if (node === undefined || path.narHash === undefined || path.narSize === undefined) {
      throw new ImageError('BAD_INPUT', `${path.path}: has no hash or no files`, { path: path.path })
    }
    narBytes += path.narSize
    if (!verify) continue
    const digest = narDigest(path.path, node, path.narHash)
    if (digest.narSize !== path.narSize) {
      throw new ImageError(
        'HASH_MISMATCH',
        `${path.path}: its NAR is ${digest.narSize} bytes, the listing has ${path.narSize}; the store is damaged or the listing is of another one`,
        { path: path.path },
      )
    }
    digests.push(digest)
  }
  const registration = registrationFile(formatRegistration(closure))
  const tree = { ...scanned, mode: 0o755, entries: [...scanned.entries, { name: utf8('nix-path-registration'), node: registration }] }
  const inputs = [...listingFiles(input.closure, listed), ...closure.paths.map(({ path }) => hostStorePath(root, path))]
  return { closure, root, tree, digests, narBytes, inputs }
}

function listingFiles(path: string, { kind }: Closure): string[] {
  if (path === '-') return []
  return kind === 'closure-info' ? Object.values(CLOSURE_INFO_FILES).map((name) => join(path, name)) : [path]
}

function registrationFile(bytes: Uint8Array): FileNode {
  return { kind: 'file', mode: 0o444, uid: 0, gid: 0, mtimeSeconds: STORE_TIME, size: bytes.length, content: { kind: 'bytes', bytes } }
}
