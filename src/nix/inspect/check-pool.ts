/** Threads that hash and scan the store paths of one closure. */

import type { Worker } from 'node:worker_threads'
import { ImageError } from '../../errors.ts'
import { startWorker, workerError, workerFile } from '../../io/worker-file.ts'
import type { CheckTask, TaskResult, ThreadMessage, ThreadSetup } from './protocol.ts'

const WORKER_FILE = workerFile(import.meta.url, 'check-worker')

export interface PoolOptions {
  /** Threads at most. */
  readonly jobs: number
  readonly setup: Omit<ThreadSetup, 'stopFlag'>
  readonly signal?: AbortSignal | undefined
  /** Bytes of NARs that were hashed since the last call. */
  readonly onBytes: (count: number) => void
}

/**
 * The results of `tasks`, in their order; they begin in it as well. Throws WORKER_DIED, ABORTED. All threads have ended
 * when this returns.
 */
export async function runTasks(tasks: readonly CheckTask[], { jobs, setup, signal, onBytes }: PoolOptions): Promise<TaskResult[]> {
  const stopFlag = new SharedArrayBuffer(4)
  const results: TaskResult[] = new Array(tasks.length)
  const workerData: ThreadSetup = { ...setup, stopFlag }
  let next = 0
  let error: unknown
  const fail = (cause: unknown): void => {
    error ??= cause
    Atomics.store(new Int32Array(stopFlag), 0, 1)
  }
  const onAbort = (): void => fail(new ImageError('ABORTED', 'cancelled while the store was hashed', { cause: signal?.reason }))
  if (signal?.aborted) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })

  const runThread = async (number: number): Promise<void> => {
    const died = (cause: unknown): void => fail(workerError(number, 'died', cause))
    let thread: Worker
    try {
      thread = startWorker(WORKER_FILE, { workerData, name: `kilnix-check-${number}` })
    } catch (cause) {
      died(cause)
      return
    }
    let current: number | undefined
    const advance = (): void => {
      current = error === undefined && next < tasks.length ? next++ : undefined
      thread.postMessage(current === undefined ? 'stop' : tasks[current])
    }
    thread.on('message', (message: ThreadMessage) => {
      try {
        if (message.kind === 'bytes') return onBytes(message.count)
      } catch (cause) {
        return fail(cause)
      }
      if (current !== undefined) results[current] = message
      advance()
    })
    thread.on('error', died)
    const exit = new Promise<number>((resolve) => thread.once('exit', resolve))
    advance()
    const code = await exit
    if (code !== 0 || current !== undefined) died(new Error(`exit code ${code}`))
  }
  try {
    await Promise.all(Array.from({ length: Math.min(jobs, tasks.length) }, (_, index) => runThread(index + 1)))
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
  if (error !== undefined) throw error
  return results
}
