/** Every worker thread: opens the work of the modules that it is told, one after the other, and does the tasks that it is sent. */
import { getHeapStatistics } from 'node:v8'
import { parentPort } from 'node:worker_threads'
import { packError } from './errors.ts'
import type { FromThread, ThreadSetup, ToThread, Work, WorkModule } from './work.ts'

type AnyWork = Work<unknown, unknown, unknown>

const port = parentPort
let isStopped = (): boolean => true
let abort = new AbortController()
let work: AnyWork | undefined
let done = Promise.resolve()

port?.on('message', (message: ToThread) => {
  switch (message.kind) {
    case 'open':
      done = done.then(() => open(message.setup))
      return
    case 'task':
      done = done.then(() => run(message.id, message.task))
      return
    case 'close':
      abort.abort()
      done = done.then(() => {
        close()
        post({ kind: 'closed', heapBytes: getHeapStatistics().used_heap_size })
      })
      return
    case 'end':
      abort.abort()
      void done.then(() => {
        close()
        port.close()
      })
  }
})

async function open({ module, setup, stopFlag }: ThreadSetup): Promise<void> {
  const flag = new Int32Array(stopFlag)
  isStopped = () => Atomics.load(flag, 0) !== 0
  abort = new AbortController()
  try {
    const imported: { readonly work: WorkModule<unknown, unknown, unknown, unknown> } = await import(module)
    work = await imported.work.open(setup, { isStopped, signal: abort.signal })
  } catch (error) {
    post({ kind: 'unopened', error: packError(error) })
  }
}

async function run(id: number, task: unknown): Promise<void> {
  if (work === undefined || isStopped()) return
  try {
    const answer = work.run(task, (progress) => post({ kind: 'progress', id, progress }))
    const result = answer instanceof Promise ? await answer : answer
    post({ kind: 'result', id, result }, work.moved?.(result))
  } catch (error) {
    post({ kind: 'failure', id, error: packError(error) })
  }
}

function close(): void {
  work?.close?.()
  work = undefined
}

function post(message: FromThread, moved: ArrayBuffer[] = []): void {
  port?.postMessage(message, moved)
}
