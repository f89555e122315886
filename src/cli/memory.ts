/** How many worker threads fit into an amount of memory. */
import { availableParallelism } from 'node:os'
import type { Given, Rows } from './row.ts'

/**
 * Bytes of the process with one thread less than it has, and of each thread with a codec that needs much: zstd:19 and xz:6 in
 * blocks of 1 MiB, measured as 219 to 224 MiB with one and 563 to 592 MiB with eight threads.
 */
const PROCESS_SIZE = 176 << 20
const THREAD_SIZE = 52 << 20

/** One always works. */
export function threadsWithin(memory: number): number {
  return Math.max(1, Math.floor((memory - PROCESS_SIZE) / THREAD_SIZE))
}

/** With `jobs` no more than fit into `memory`, where that is given. */
export function withMemory(given: Given<Rows>): Given<Rows> {
  const { memory, jobs = availableParallelism() } = given as { readonly memory?: number; readonly jobs?: number }
  return memory === undefined ? given : { ...given, jobs: Math.min(jobs, threadsWithin(memory)) }
}
