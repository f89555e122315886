/** Store paths of the host as trees, in their order: here, or, where there is much to look at, in threads. */
import { setImmediate } from 'node:timers/promises'
import { throwIfAborted } from '../../errors.ts'
import { Pool } from '../../threads/pool.ts'
import { unpackScans } from '../../tree/packed-scan.ts'
import { scanHost } from '../../tree/scan.ts'
import type { TreeNode } from '../../tree/tree.ts'
import { work } from './scan-work.ts'
import { storePolicy } from './store-policy.ts'

export interface ScannedPath {
  /** On the host. */
  readonly path: string
  /** As listed; 0 where that is not known. */
  readonly narSize: number
}

export interface ScanPathsOptions {
  readonly mtimeSeconds: number
  /** As `StoreTreeOptions` has it. */
  readonly caseHack: boolean
  readonly jobs: number
  readonly signal: AbortSignal | undefined
  /** The message of ABORTED. */
  readonly cancelled: string
}

/** NAR bytes of a store with so many files that looking at them takes longer than starting threads. */
const WORTH_THREADS = 256 << 20

/** How many files there are is not known yet. */
export function isWorthThreads(paths: readonly { readonly narSize?: number | undefined }[]): boolean {
  return paths.reduce((sum, { narSize = 0 }) => sum + narSize, 0) >= WORTH_THREADS
}

/** Throws what `scanHost` throws, and ABORTED. */
export async function* scanHere(
  paths: readonly ScannedPath[],
  { mtimeSeconds, caseHack, signal, cancelled }: ScanPathsOptions,
): AsyncGenerator<TreeNode, void, void> {
  const policy = storePolicy(mtimeSeconds, caseHack)
  for (const { path } of paths) {
    await setImmediate()
    throwIfAborted(signal, cancelled)
    yield scanHost(path, policy)
  }
}

/** The same, and WORKER_DIED. */
export async function* scanInThreads(
  paths: readonly ScannedPath[],
  { mtimeSeconds, caseHack, jobs, signal, cancelled }: ScanPathsOptions,
): AsyncGenerator<TreeNode, void, void> {
  const pool = new Pool(work, { mtimeSeconds }, { count: jobs, signal, cancelled, keepsThreads: true })
  try {
    const batches = batchesOf(paths, jobs).map((batch) => ({ batch, packed: pool.run({ paths: batch }) }))
    for (const { batch, packed } of batches) {
      const scans = await packed
      throwIfAborted(signal, cancelled)
      yield* unpackScans(scans, batch, caseHack)
    }
  } finally {
    await pool.close()
  }
}

/** So many batches a thread that none is left with much to do at the end. */
const BATCHES_A_THREAD = 8
/** Of a batch, however small the paths are. */
const PATHS_MAXIMUM = 256

function batchesOf(paths: readonly ScannedPath[], jobs: number): string[][] {
  const share = paths.reduce((sum, { narSize }) => sum + narSize, 0) / (BATCHES_A_THREAD * jobs)
  const batches: string[][] = []
  let batch: string[] = []
  let bytes = 0
  for (const { path, narSize } of paths) {
    batch.push(path)
    bytes += narSize
    if (bytes < share && batch.length < PATHS_MAXIMUM) continue
    batches.push(batch)
    batch = []
    bytes = 0
  }
  if (batch.length > 0) batches.push(batch)
  return batches
}
