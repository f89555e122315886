/** A worker thread: encodes one block after another. */
import { parentPort, workerData } from 'node:worker_threads'
import { ImageError } from '../../errors.ts'
import type { Encoder } from './format.ts'
import { streamFormat } from './formats.ts'
import type { BlockTask, Result, Task, WorkerSetup } from './protocol.ts'

const setup = workerData as WorkerSetup
const slots = new Uint8Array(setup.slots)
const stopFlag = new Int32Array(setup.stopFlag)
const port = parentPort
const opened = open()

port?.on('message', (task: Task) => {
  void opened.then((encoder) => {
    if (task.kind === 'stop') {
      encoder?.close()
      port.close()
    } else if (encoder !== undefined && Atomics.load(stopFlag, 0) === 0) {
      answer(encoder, task)
    }
  })
})

async function open(): Promise<Encoder | undefined> {
  try {
    return await streamFormat(setup.codec)?.openEncoder(setup.encoder)
  } catch (error) {
    fail(error)
    return undefined
  }
}

function answer(encoder: Encoder, { start, length, historyLength, isLast }: BlockTask): void {
  try {
    const encoded = encoder.encode(slots.subarray(start, start + length), slots.subarray(start - historyLength, start), isLast)
    const bytes = new Uint8Array(encoded)
    port?.postMessage({ kind: 'encoded', bytes } satisfies Result, [bytes.buffer])
  } catch (error) {
    fail(error)
  }
}

function fail(error: unknown): void {
  const failure: Result =
    error instanceof ImageError
      ? { kind: 'failure', code: error.code, message: error.message }
      : { kind: 'failure', code: 'WORKER_DIED', message: `worker: ${error instanceof Error ? error.stack : error}` }
  port?.postMessage(failure)
}
