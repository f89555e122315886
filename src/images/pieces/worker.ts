/** A thread that builds and checks pieces, one task at a time. */
import { parentPort, workerData } from 'node:worker_threads'
import { Compressors } from './compressors.ts'
import type { PieceTask, ThreadMessage, ThreadRequest, ThreadSetup } from './protocol.ts'
import { runTask } from './work.ts'

const port = parentPort
const flag = new Int32Array((workerData as ThreadSetup).stopFlag)
const stop = new AbortController()
const compressors = new Compressors()

const post = (message: ThreadMessage): void => port?.postMessage(message)

/** The task in hand. */
let work = Promise.resolve()

port?.on('message', async (request: ThreadRequest) => {
  if (request.kind !== 'stop') {
    work = run(request)
    return
  }
  stop.abort()
  await work
  compressors.close()
  port.close()
})

async function run(task: PieceTask): Promise<void> {
  const control = {
    signal: stop.signal,
    compressors,
    isStopped: () => Atomics.load(flag, 0) !== 0,
    onProgress: (doneBytes: number) => post({ kind: 'progress', doneBytes }),
  }
  post(await runTask(task, control))
}
