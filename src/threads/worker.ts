/** Every worker thread: opens the work of the module that it is told, and does the tasks that it is sent. */
import { parentPort, workerData } from 'node:worker_threads'
import { packError } from './errors.ts'
import type { FromThread, ThreadSetup, ToThread, Work, WorkModule } from './work.ts'

type AnyWork = Work<unknown, unknown, unknown>

const port = parentPort
const { module, setup, stopFlag } = workerData as ThreadSetup
const flag = new Int32Array(stopFlag)
const isStopped = (): boolean => Atomics.load(flag, 0) !== 0
const abort = new AbortController()

let work: AnyWork | undefined
let done = open()

port?.on('message', (message: ToThread) => {
  if (message.kind === 'task') {
    done = done.then(() => run(message.id, message.task))
    return
  }
  abort.abort()
  void done.then(() => {
    work?.close?.()
    port.close()
  })
})

async function open(): Promise<void> {
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

function post(message: FromThread, moved: ArrayBuffer[] = []): void {
  port?.postMessage(message, moved)
}
