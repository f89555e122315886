/** A worker thread: it does the tasks that it is sent. */
import { parentPort, workerData } from 'node:worker_threads'
import type { Task, WorkSetup } from './protocol.ts'
import { openWork } from './work.ts'

const work = await openWork(workerData as WorkSetup)
const port = parentPort

port?.on('message', (task: Task) => {
  if (task.kind === 'stop') {
    port.close()
    work.close()
    return
  }
  const result = work.run(task)
  if (result !== undefined) port.postMessage(result)
})
