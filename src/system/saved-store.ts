/**
 * A store in a folder, with the listings of its closure: what replacing paths or making them leaves, fit for `--root` and
 * `--closure`, and for Nix.
 *
 * ```
 * OUT/nix/store/...       files 0444 and 0555, folders 0555, all of time 1
 * OUT/closure-info/       store-paths, registration, total-nar-size: the whole closure
 * OUT/closure.json        the same as `nix path-info --json` has it, with content addresses
 * ```
 *
 * Not supported: a Nix database; `nix-store --load-db < OUT/closure-info/registration` makes one.
 */
import { utimesSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { utf8 } from '../bytes/text.ts'
import type { ProgressListener } from '../io/progress.ts'
import { checkReplaceable, stage } from '../io/staging.ts'
import { SyncQueue } from '../io/sync-queue.ts'
import { writeError } from '../io/write-error.ts'
import type { Closure } from '../nix/listing/closure.ts'
import { formatPathInfo } from '../nix/listing/path-info.ts'
import { CLOSURE_INFO_FILES } from '../nix/listing/read.ts'
import { formatRegistration } from '../nix/listing/registration.ts'
import { listedPlace, listedTree } from '../nix/store/listed-tree.ts'
import { STORE_DIRECTORY } from '../nix/store/store-path.ts'
import { storePathDigest } from '../nix/store/store-tree.ts'
import { writeTree } from '../tree/host-write.ts'
import { treeAt } from '../tree/merge.ts'
import type { Attributes, DirectoryNode, Entry, FileNode, TreeNode } from '../tree/tree.ts'
import { verifiedTree } from '../tree/verified.ts'
import type { StoreInput } from './input.ts'
import type { LoadedClosure } from './store.ts'

export interface SaveStoreOptions extends Pick<StoreInput, 'verify' | 'caseHack' | 'signal' | 'onProgress'> {
  /** `made`: the paths that are not in the store which the closure was read from; `all`: every path of the closure. */
  readonly paths: 'made' | 'all'
  /** Replace what is at the folder, whatever it is. Default: that is EXISTS. */
  readonly force?: boolean
}

export interface SavedStore {
  /** Full paths of what was written. */
  readonly written: readonly string[]
  /** Bytes of their NARs. */
  readonly narBytes: number
}

/** The listing, and where the files are. */
export type StoreToSave = Pick<LoadedClosure, 'closure' | 'root' | 'overlay'> & Partial<Pick<LoadedClosure, 'nars'>>

/**
 * Write the store to the folder `out`, which appears whole or not at all. Every path is compared with its NAR hash while
 * it is written. Throws EXISTS, WRITE_FAILED, NOT_FOUND, HASH_MISMATCH, what reading throws, and ABORTED.
 */
export async function saveStore(store: StoreToSave, out: string, options: SaveStoreOptions): Promise<SavedStore> {
  const { closure, overlay } = store
  const wanted = closure.paths.filter(({ baseName }) => options.paths === 'all' || overlay.has(baseName))
  const narBytes = wanted.reduce((sum, { narSize }) => sum + (narSize ?? 0), 0)
  const listings = listingTree(closure)
  const { force = false, onProgress } = options
  checkReplaceable(out, { force, onProgress })
  onProgress?.({ kind: 'stage', stage: 'write', totalBytes: narBytes })
  await stage(out, { force, onProgress }, async (folder) => {
    // Entries are made while they are written: no more than one path's tree is in memory.
    await writeTree({ ...FOLDER, entries: [...listings.entries, { name: utf8('nix'), node: EMPTY }] }, folder, { label: out })
    await writeTree(EMPTY, `${folder}${STORE_DIRECTORY}`, { label: `${out}${STORE_DIRECTORY}` })
    let before = 0
    for (const path of wanted) {
      await setImmediate()
      const place = path.path
      await writeTree(checkedTree(path, store, options), `${folder}${place}`, {
        label: `${out}${place}`,
        signal: options.signal,
        onBytes: progressOf(onProgress, before),
      })
      before += path.narSize ?? 0
    }
    for (const path of [STORE_DIRECTORY, '/nix', '']) await finishFolder(`${folder}${path}`, out)
    checkReplaceable(out, { force })
  })
  return { written: wanted.map(({ path }) => path), narBytes }
}

/** Entries were added since it was written. */
async function finishFolder(path: string, label: string): Promise<void> {
  const queue = new SyncQueue(label)
  try {
    utimesSync(path, 1, 1)
    queue.addFolder(path)
  } catch (error) {
    throw writeError(label, error)
  }
  await queue.finish()
}

function progressOf(onProgress: ProgressListener | undefined, before: number): (doneBytes: number) => void {
  return (doneBytes) => onProgress?.({ kind: 'bytes', stage: 'write', doneBytes: before + doneBytes })
}

const ATTRIBUTES: Attributes = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 1 }
const FOLDER = { kind: 'directory', ...ATTRIBUTES } as const
const EMPTY: DirectoryNode = { ...FOLDER, entries: [] }

function checkedTree(path: Closure['paths'][number], store: StoreToSave, { verify = true, caseHack }: SaveStoreOptions): TreeNode {
  const node = store.overlay.get(path.baseName) ?? listedTree(listedPlace(path.baseName, store), { caseHack })
  if (!verify || path.narHash === undefined || path.narSize === undefined) return node
  return verifiedTree(storePathDigest(path.path, node, { hash: path.narHash, size: path.narSize }))
}

function listingTree(closure: Closure): DirectoryNode {
  const total = closure.paths.reduce((sum, { narSize }) => sum + (narSize ?? 0), 0)
  const texts = {
    [CLOSURE_INFO_FILES.paths]: utf8(closure.paths.map(({ path }) => `${path}\n`).join('')),
    [CLOSURE_INFO_FILES.registration]: formatRegistration(closure),
    [CLOSURE_INFO_FILES.size]: utf8(`${total}\n`),
  }
  const entries = Object.entries(texts).map(([name, bytes]): Entry => ({ name: utf8(name), node: listing(bytes) }))
  const info = treeAt('closure-info', { ...FOLDER, entries }, ATTRIBUTES)
  return { ...info, entries: [...info.entries, { name: utf8('closure.json'), node: listing(formatPathInfo(closure)) }] }
}

function listing(bytes: Uint8Array): FileNode {
  return { kind: 'file', ...ATTRIBUTES, mode: 0o644, size: bytes.length, content: { kind: 'bytes', bytes } }
}
