/** The store of a closure as a tree: one entry a listed path, everything as Nix itself would have left it. */
import { availableParallelism } from 'node:os'
import { utf8 } from '../../bytes/text.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import { checkJobs } from '../../io/image.ts'
import { Turns } from '../../io/turns.ts'
import type { DirectoryNode, Entry, TreeNode } from '../../tree/tree.ts'
import type { Closure } from '../listing/closure.ts'
import { type NarDigest, narDigest } from '../nar/serialize.ts'
import { hostStorePath, isPresent, listedPlace, type StorePlaces } from './listed-tree.ts'
import { narFileTree } from './nar-file.ts'
import { isWorthThreads, scanHere, scanInThreads } from './scan-paths.ts'
import { EXECUTABLE_MODE } from './store-policy.ts'

/** Trees of store paths by base name: of those whose files are not on the host, or not as they are to be. */
export type StoreOverlay = ReadonlyMap<string, TreeNode>

/** Where the files of a store are, and what lies over them. */
export interface StoreFiles extends StorePlaces {
  readonly overlay?: StoreOverlay
}

export interface StoreTreeOptions extends StorePlaces {
  /** Taken as they are, and not looked for below `root`. */
  readonly overlay?: StoreOverlay
  /** Of every node. 1 as Nix has it (the default), 0 as nixpkgs' squashfs images have it. */
  readonly mtimeSeconds?: number
  /** The store was written by Nix on a file system that ignores case (macOS): cut `~nix~case~hack~N` off names. */
  readonly caseHack?: boolean
  /** Threads that scan a large store; default one a core. */
  readonly jobs?: number
  readonly signal?: AbortSignal
}

/** Missing paths that a message names; the others are counted. */
const NAMED_MISSING = 10

/**
 * The NAR of a scanned store path, to be checked while its files pass. Throws HASH_MISMATCH when it is not as long as
 * the listing has it, and what `narDigest` throws.
 */
export function storePathDigest(path: string, node: TreeNode, listed: { readonly hash: Uint8Array; readonly size: number }): NarDigest {
  const digest = narDigest(path, node, listed.hash)
  if (digest.narSize === listed.size) return digest
  throw new ImageError(
    'HASH_MISMATCH',
    `${path}: its NAR is ${digest.narSize} bytes, the listing has ${listed.size}; the store is damaged or the listing is of another one`,
    { path },
  )
}

/**
 * Scan the listed paths, and nothing else, below `root`. The result is the store directory (mode 0555)
 * with base names as names, sorted; each path of the host is a node of its own, whatever its link count.
 *
 * Throws USAGE for a number of jobs that is none, NOT_FOUND before scanning if listed paths are missing, and what `scanHost` throws: of several paths for the first.
 * Lets the event loop run between store paths.
 */
export async function storeTree(closure: Closure, options: StoreTreeOptions): Promise<DirectoryNode> {
  const { root, nars, overlay = NO_OVERLAY, mtimeSeconds = 1, caseHack = false, jobs = availableParallelism(), signal } = options
  checkJobs(jobs)
  await checkPresent(closure, options, signal)
  const cancelled = 'cancelled while the store was scanned'
  const paths = closure.paths.filter(({ baseName }) => !overlay.has(baseName) && !nars?.has(baseName))
  const scan = isWorthThreads(paths) ? scanInThreads : scanHere
  const scanned = scan(
    paths.map(({ path, narSize = 0 }) => ({ path: hostStorePath(root, path), narSize })),
    { mtimeSeconds, caseHack, jobs, signal, cancelled },
  )
  const turns = new Turns(signal, cancelled)
  const entries: Entry[] = []
  for (const { baseName } of closure.paths) {
    const narFile = nars?.get(baseName)
    let node = overlay.get(baseName)
    if (node === undefined && narFile !== undefined) {
      node = narFileTree(narFile, { mtimeSeconds })
      if (turns.isOver(NAR_STEPS)) await turns.next()
    }
    node ??= (await scanned.next()).value ?? undefined
    if (node === undefined) throw new RangeError(`${baseName}: was not scanned`)
    entries.push({ name: utf8(baseName), node })
  }
  await scanned.return()
  throwIfAborted(signal, cancelled)
  return { kind: 'directory', mode: EXECUTABLE_MODE, uid: 0, gid: 0, mtimeSeconds, entries }
}

const NO_OVERLAY: StoreOverlay = new Map()

/** Steps of a turn that reading the structure of a NAR counts as. */
const NAR_STEPS = 1000
/** Steps of a turn that a look at the host counts as. */
const LOOK_STEPS = 100

/** Throws NOT_FOUND for listed paths that have no files, all at once; ABORTED. */
export async function checkPresent(closure: Closure, files: StoreFiles, signal?: AbortSignal): Promise<void> {
  const { root, overlay = NO_OVERLAY } = files
  const turns = new Turns(signal, 'cancelled while store paths were looked for')
  const missing: string[] = []
  for (const { path, baseName } of closure.paths) {
    if (!overlay.has(baseName) && !isPresent(listedPlace(baseName, files))) missing.push(path)
    if (turns.isOver(LOOK_STEPS)) await turns.next()
  }
  const [first] = missing
  if (first === undefined) return
  const names = missing.slice(0, NAMED_MISSING).join('\n  ')
  const more = missing.length > NAMED_MISSING ? `\n  and ${missing.length - NAMED_MISSING} more` : ''
  throw new ImageError(
    'NOT_FOUND',
    (option) =>
      `${missing.length} of ${closure.paths.length} listed paths are not below ${root}; give the folder that holds nix/store as ${option('root')}:\n  ${names}${more}`,
    { path: first },
  )
}
