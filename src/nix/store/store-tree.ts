/** The store of a closure as a tree: one entry a listed path, everything as Nix itself would have left it. */
import { lstatSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { utf8 } from '../../bytes/text.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import { checkJobs } from '../../io/image.ts'
import { Turns } from '../../io/turns.ts'
import { unreadableError } from '../../tree/host-file.ts'
import type { DirectoryNode, Entry, TreeNode } from '../../tree/tree.ts'
import type { Closure } from '../listing/closure.ts'
import { type NarDigest, narDigest } from '../nar/serialize.ts'
import { isWorthThreads, scanHere, scanInThreads } from './scan-paths.ts'
import { EXECUTABLE_MODE } from './store-policy.ts'

/** Trees of store paths by base name: of those whose files are not on the host, or not as they are to be. */
export type StoreOverlay = ReadonlyMap<string, TreeNode>

/** Where the files of a store are: a folder of the host that holds `nix/store`, and what lies over it. */
export type StoreFiles = string | { readonly root: string; readonly overlay?: StoreOverlay }

export interface StoreTreeOptions {
  /** The folder in which `nix/store` lies; `/` for the host's own store. */
  readonly root: string
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

/** Where a listed path lies on the host. */
export function hostStorePath(root: string, path: string): string {
  return `${root.replace(/\/+$/, '')}${path}`
}

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
  const { root, overlay = NO_OVERLAY, mtimeSeconds = 1, caseHack = false, jobs = availableParallelism(), signal } = options
  checkJobs(jobs)
  await checkPresent(closure, options, signal)
  const cancelled = 'cancelled while the store was scanned'
  const paths = closure.paths.filter(({ baseName }) => !overlay.has(baseName))
  const scan = isWorthThreads(paths) ? scanInThreads : scanHere
  const scanned = scan(
    paths.map(({ path, narSize = 0 }) => ({ path: hostStorePath(root, path), narSize })),
    { mtimeSeconds, caseHack, jobs, signal, cancelled },
  )
  const entries: Entry[] = []
  for (const { baseName } of closure.paths) {
    const node = overlay.get(baseName) ?? (await scanned.next()).value
    if (node === undefined) throw new RangeError(`${baseName}: was not scanned`)
    entries.push({ name: utf8(baseName), node })
  }
  await scanned.return()
  throwIfAborted(signal, cancelled)
  return { kind: 'directory', mode: EXECUTABLE_MODE, uid: 0, gid: 0, mtimeSeconds, entries }
}

/** The two parts of it. */
export function storeFiles(files: StoreFiles): { readonly root: string; readonly overlay: StoreOverlay } {
  return typeof files === 'string' ? { root: files, overlay: NO_OVERLAY } : { root: files.root, overlay: files.overlay ?? NO_OVERLAY }
}

const NO_OVERLAY: StoreOverlay = new Map()

/** Steps of a turn that a look at the host counts as. */
const LOOK_STEPS = 100

/** Throws NOT_FOUND for listed paths that have no files, all at once; ABORTED. */
export async function checkPresent(closure: Closure, files: StoreFiles, signal?: AbortSignal): Promise<void> {
  const { root, overlay } = storeFiles(files)
  const turns = new Turns(signal, 'cancelled while store paths were looked for')
  const missing: string[] = []
  for (const { path, baseName } of closure.paths) {
    if (!overlay.has(baseName) && !isPresent(hostStorePath(root, path))) missing.push(path)
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

function isPresent(hostPath: string): boolean {
  try {
    return lstatSync(hostPath, { throwIfNoEntry: false }) !== undefined
  } catch (cause) {
    throw unreadableError(hostPath, cause)
  }
}
