/** What is done with a task, in whatever thread: a piece is checked or built. */
import type { WorkModule } from '../../threads/work.ts'
import { buildCpio } from './build-cpio.ts'
import { buildSquashfs } from './build-squashfs.ts'
import { checkPiece } from './check.ts'
import { Compressors } from './compressors.ts'
import type { PieceTask, TaskAnswer, TaskControl } from './protocol.ts'
import { scanStorePath } from './store-path.ts'

/** Tells of a build the bytes of files that have been read so far. */
export const work: WorkModule<undefined, PieceTask, TaskAnswer, number> = {
  module: import.meta.url,
  open(_setup, stop) {
    const compressors = new Compressors()
    return {
      run: (task, onProgress) => runTask(task, { ...stop, compressors, onProgress }),
      close: () => compressors.close(),
    }
  },
}

async function runTask(task: PieceTask, control: TaskControl): Promise<TaskAnswer> {
  if (task.kind === 'check') return checkPiece(task, control)
  const content = scanStorePath(task)
  const { settings } = task
  switch (settings.kind) {
    case 'squashfs':
      return buildSquashfs(task, settings, content, control)
    case 'cpio':
      return buildCpio(task, settings, content, control)
  }
}
