/** Work for the tests of the pool: each task is one way in which work may behave. */
import { setTimeout as pause } from 'node:timers/promises'
import { threadId } from 'node:worker_threads'
import { ImageError } from '../../src/errors.ts'
import type { WorkModule } from '../../src/threads/work.ts'

export interface ExampleSetup {
  /** `throws`: the work cannot be opened. */
  readonly open: 'works' | 'throws'
  /** One 32-bit word a thing that is counted: 0 tasks that ran, 1 calls of `close`, 2 signals that came. */
  readonly counts: SharedArrayBuffer
}

export type ExampleTask =
  | { readonly kind: 'double'; readonly value: number; readonly milliseconds?: number }
  | { readonly kind: 'where' | 'imageError' | 'plainError' | 'exit' | 'untilStopped' | 'untilSignal' | 'tell' }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array<ArrayBuffer> }

export type ExampleResult = number | Uint8Array<ArrayBuffer>

export const work: WorkModule<ExampleSetup, ExampleTask, ExampleResult, string> = {
  module: import.meta.url,
  async open({ open, counts: memory }, { isStopped, signal }) {
    if (open === 'throws') throw new ImageError('UNSUPPORTED', 'no such work', { path: '/work' })
    const counts = new Int32Array(memory)
    signal.addEventListener('abort', () => Atomics.add(counts, 2, 1))
    return {
      async run(task, tell) {
        Atomics.add(counts, 0, 1)
        switch (task.kind) {
          case 'double':
            if (task.milliseconds !== undefined) await pause(task.milliseconds)
            return task.value * 2
          case 'where':
            return threadId
          case 'imageError':
            throw new ImageError('LIMIT', 'too large', {
              path: '/a/b',
              neededBytes: 77,
              cause: Object.assign(new Error('why'), { code: 'EFBIG' }),
            })
          case 'plainError':
            throw new RangeError('nobody expects it')
          case 'exit':
            return process.exit(3)
          case 'untilStopped':
            while (!isStopped());
            return 0
          case 'untilSignal':
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
            return 0
          case 'tell':
            tell('one')
            tell('two')
            return 2
          case 'bytes':
            return task.bytes.map((byte) => byte + 1)
        }
      },
      moved: (result) => (typeof result === 'number' ? [] : [result.buffer]),
      close: () => void Atomics.add(counts, 1, 1),
    }
  },
}
