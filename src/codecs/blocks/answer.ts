/** The worker's side of a `BatchPool`: takes batches from the main thread and answers each. */
import { parentPort, workerData } from 'node:worker_threads'
import { ImageError } from '../../errors.ts'
import type { FromWorker, ToWorker, WorkerSetup } from './protocol.ts'

/** What the thread was started with. */
export function workerSetup<Setup>(): Setup {
  return (workerData as WorkerSetup).setup as Setup
}

/** Whether nobody wants results any more; asked between blocks, so that the end does not wait for a whole batch. */
export function isStopped(): boolean {
  return Atomics.load(new Int32Array((workerData as WorkerSetup).stopFlag), 0) !== 0
}

/** Answer every batch that comes, until the pool is closed. */
export function answerBatches<Batch, Result>(work: (batch: Batch) => Result): void {
  const port = parentPort
  port?.on('message', (message: ToWorker<Batch>) => {
    if (message.kind === 'stop') port.close()
    if (message.kind === 'stop' || isStopped()) return
    try {
      port.postMessage({ kind: 'batch', id: message.id, result: work(message.batch) } satisfies FromWorker<Result>)
    } catch (error) {
      port.postMessage(failure(error))
    }
  })
}

function failure(error: unknown): FromWorker<never> {
  if (error instanceof ImageError) return { kind: 'failure', code: error.code, message: error.message }
  return { kind: 'failure', code: 'WORKER_DIED', message: `worker: ${error instanceof Error ? error.stack : error}` }
}
