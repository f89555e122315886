/**
 * Whether a closure is what its listing says: complete, and each path with its hash, size, references and content address.
 *
 * Not checked: signatures, derivers, registration times, and whether other paths lie in the store.
 */
import { availableParallelism } from 'node:os'
import { checkJobs } from '../../io/image.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { sortedInTurns, Turns } from '../../io/turns.ts'
import { Pool } from '../../threads/pool.ts'
import type { Closure, ClosurePath } from '../listing/closure.ts'
import type { ContentAddressScheme } from '../store/address-scheme.ts'
import { formatSha256 } from '../store/hash.ts'
import { listedPlace, type StorePlaces } from '../store/listed-tree.ts'
import { compareNames, STORE_DIRECTORY, storePath } from '../store/store-path.ts'
import { work } from './check-work.ts'
import type { CheckTask, FoundContents, TaskResult } from './protocol.ts'

export interface ClosureProblem {
  readonly path: string
  /**
   * `unlisted`: refers to a path that is not in the listing; `missing`, `unreadable`: on the host; `hash`, `size`,
   * `address`: not as listed; `reference`: listed, but not found in the contents.
   */
  readonly kind: 'unlisted' | 'missing' | 'unreadable' | 'hash' | 'size' | 'reference' | 'address'
  readonly message: string
}

/** Nothing that is wrong by itself. */
export interface ClosureNote {
  readonly path: string
  /**
   * `unregistered`: a reference is found and not listed, as for paths with `unsafeDiscardReferences` or of a fixed hash;
   * `unchecked`: something could not be compared.
   */
  readonly kind: 'unregistered' | 'unchecked'
  readonly message: string
}

export interface ClosureReport {
  readonly pathCount: number
  /** Of all NARs that were hashed. */
  readonly hashedBytes: number
  /** By path. */
  readonly problems: readonly ClosureProblem[]
  readonly notes: readonly ClosureNote[]
  /** Full paths that hold their own hash parts and have the content address that these versions of Nix give them, and no others. */
  readonly contentAddressSchemes: Readonly<Record<ContentAddressScheme, readonly string[]>>
}

export interface CheckOptions extends Partial<StorePlaces> {
  /** Read the store; default true. Without it only the listing is looked at. */
  readonly contents?: boolean
  /** Worker threads, 1 to 256. Default: one a CPU. */
  readonly jobs?: number
  /** The store was written by Nix on macOS: undo its case hack. */
  readonly caseHack?: boolean
  readonly signal?: AbortSignal
  readonly onProgress?: ProgressListener
}

/**
 * Check a closure that is read with `allowMissing`. What is wrong is in the report; throws USAGE, WORKER_DIED and ABORTED
 * only.
 */
export async function checkClosure(closure: Closure, options: CheckOptions = {}): Promise<ClosureReport> {
  const { root = '/', nars, contents = true, jobs = availableParallelism(), caseHack = false, signal, onProgress: listener } = options
  checkJobs(jobs)
  const turns = new Turns(signal, 'cancelled while the closure was checked')
  const problems: ClosureProblem[] = await unlistedReferences(closure, turns)
  const notes: ClosureNote[] = []
  const schemes: Record<ContentAddressScheme, string[]> = { positions: [], zeros: [] }
  let hashedBytes = 0
  if (contents) {
    const totalBytes = closure.paths.reduce((sum, { narSize = 0 }) => sum + narSize, 0)
    listener?.({ kind: 'stage', stage: 'hash', ...(closure.hashesKnown && { totalBytes }) })
    // The largest first, so that no thread is left with one at the end.
    const paths = await sortedInTurns(closure.paths, (a, b) => (b.narSize ?? 0) - (a.narSize ?? 0), turns)
    const tasks = paths.map(
      ({ baseName, references, ca }): CheckTask => ({ baseName, ...listedPlace(baseName, { root, nars }), references, ca }),
    )
    // References that are not listed are looked for as well.
    const names = closure.paths.flatMap(({ path, references }) => [path, ...references])
    const baseNames = [...new Set(names)].map((path) => path.slice(STORE_DIRECTORY.length + 1))
    const onProgress = (count: number): void => {
      hashedBytes += count
      listener?.({ kind: 'bytes', stage: 'hash', doneBytes: hashedBytes })
    }
    const pool = new Pool(
      work,
      { baseNames, caseHack },
      { count: jobs, inHand: 1, signal, cancelled: 'cancelled while the store was hashed' },
    )
    let results: readonly TaskResult[]
    try {
      results = await Promise.all(tasks.map((task) => pool.run(task, { onProgress })))
    } finally {
      await pool.close()
    }
    for (const [index, result] of results.entries()) {
      const path = paths[index]
      if (path === undefined) continue
      compare(path, result, closure, problems, notes)
      const address = result.kind === 'found' ? result.address : undefined
      if (address?.kind === 'right' && address.scheme !== undefined) schemes[address.scheme].push(path.path)
    }
  }
  const byPath = (a: { path: string }, b: { path: string }): number => compareNames(a.path, b.path)
  return {
    pathCount: closure.paths.length,
    hashedBytes,
    problems: await sortedInTurns(problems, byPath, turns),
    notes: await sortedInTurns(notes, byPath, turns),
    contentAddressSchemes: {
      positions: await sortedInTurns(schemes.positions, compareNames, turns),
      zeros: await sortedInTurns(schemes.zeros, compareNames, turns),
    },
  }
}

async function unlistedReferences(closure: Closure, turns: Turns): Promise<ClosureProblem[]> {
  const listed = new Set<string>()
  for (const { path } of closure.paths) {
    listed.add(path)
    if (turns.isOver(4)) await turns.next()
  }
  const problems: ClosureProblem[] = []
  for (const { path, references } of closure.paths) {
    for (const reference of references) {
      if (!listed.has(reference)) problems.push({ path, kind: 'unlisted', message: `refers to ${reference}, which is not in the listing` })
      if (turns.isOver(4)) await turns.next()
    }
  }
  return problems
}

function compare(path: ClosurePath, result: TaskResult, closure: Closure, problems: ClosureProblem[], notes: ClosureNote[]): void {
  const problem = (kind: ClosureProblem['kind'], message: string): unknown => problems.push({ path: path.path, kind, message })
  const note = (kind: ClosureNote['kind'], message: string): unknown => notes.push({ path: path.path, kind, message })
  if (result.kind === 'failure') {
    problem(result.code === 'NOT_FOUND' ? 'missing' : 'unreadable', result.message)
    return
  }
  const { narHash, narSize } = path
  if (narSize !== undefined && narSize !== result.narSize)
    problem('size', `its NAR has ${result.narSize} bytes, the listing has ${narSize}`)
  if (narHash === undefined) note('unchecked', `the listing (${closure.kind}) has no hash for it`)
  else if (Buffer.compare(narHash, result.narHash) !== 0)
    problem('hash', `its NAR has ${formatSha256(result.narHash)}, the listing has ${formatSha256(narHash)}`)
  if (closure.referencesKnown) compareReferences(path, result, problem, note)
  if (result.address?.kind === 'wrong') problem('address', result.address.message)
  if (result.address?.kind === 'unknown') note('unchecked', result.address.message)
}

function compareReferences(
  { references }: ClosurePath,
  result: FoundContents,
  problem: (kind: 'reference', message: string) => unknown,
  note: (kind: 'unregistered', message: string) => unknown,
): void {
  const found = new Set(result.references.map(storePath))
  const listed = new Set(references)
  for (const reference of references) {
    if (!found.has(reference)) problem('reference', `${reference} is listed as a reference, but stands nowhere in it`)
  }
  for (const reference of found) {
    if (!listed.has(reference)) note('unregistered', `${reference} stands in it, but is not listed as a reference`)
  }
}
