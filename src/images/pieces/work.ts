/** What is done with a task, in a thread or, where the work is tiny, in the caller's own. */
import { ImageError } from '../../errors.ts'
import { buildCpio } from './build-cpio.ts'
import { buildSquashfs } from './build-squashfs.ts'
import { checkPiece } from './check.ts'
import type { Compressors } from './compressors.ts'
import type { Failure, PieceResult, PieceTask } from './protocol.ts'
import { scanStorePath } from './store-path.ts'

/** How a task hears that it is to end, and where it tells how far it is. */
export interface TaskControl {
  readonly signal: AbortSignal | undefined
  /** Known at once, where `signal` needs a turn of the event loop. */
  isStopped(): boolean
  readonly compressors: Compressors
  /** Bytes of files that have been read so far, for a build. */
  onProgress(doneBytes: number): void
}

/** Never rejects: errors are results. */
export async function runTask(task: PieceTask, control: TaskControl): Promise<PieceResult> {
  try {
    if (task.kind === 'check') return await checkPiece(task, control)
    const content = scanStorePath(task)
    const { settings } = task
    switch (settings.kind) {
      case 'squashfs':
        return await buildSquashfs(task, settings, content, control)
      case 'cpio':
        return await buildCpio(task, settings, content, control)
    }
  } catch (error) {
    return failure(error)
  }
}

function failure(error: unknown): Failure {
  if (error instanceof ImageError) return { kind: 'failure', code: error.code, message: error.message, path: error.path }
  return { kind: 'failure', code: 'WORKER_DIED', message: `worker: ${error instanceof Error ? error.stack : error}`, path: undefined }
}
