/** A worker thread: compresses batches of blocks from slot to slot. It decides nothing. */
import { parentPort, workerData } from 'node:worker_threads'
import { ImageError } from '../../errors.ts'
import { openDeflate } from '../deflate.ts'
import { isSlow, probablyIncompressible } from '../incompressible.ts'
import { openCodec } from '../open.ts'
import type { BatchFailure, BatchResult, BatchTask, BlockWorkerSetup, StopTask } from './protocol.ts'
import { STORED } from './protocol.ts'

const setup = workerData as BlockWorkerSetup
const { codec, blockSize, storeIncompressible } = setup
const input = Buffer.from(setup.input)
const output = Buffer.from(setup.output)
const stopFlag = new Int32Array(setup.stopFlag)
const zeros = Buffer.alloc(blockSize)
const compress = codec.name === 'deflate' ? openDeflate(codec, blockSize) : await blockCodec(codec)
const isTried = storeIncompressible && codec.name !== 'deflate' && isSlow(codec)
const port = parentPort

port?.on('message', (task: BatchTask | StopTask) => {
  if (task.kind === 'stop') port.close()
  if (task.kind === 'stop' || isStopped()) return
  try {
    port.postMessage(batch(task))
  } catch (error) {
    port.postMessage(failure(error))
  }
})

async function blockCodec(spec: Exclude<typeof codec, { name: 'deflate' }>): Promise<(block: Uint8Array) => Uint8Array> {
  const opened = await openCodec(spec, blockSize)
  return (block) => opened.compress(block)
}

function isStopped(): boolean {
  return Atomics.load(stopFlag, 0) !== 0
}

function failure(error: unknown): BatchFailure {
  if (error instanceof ImageError) return { kind: 'failure', code: error.code, message: error.message }
  return { kind: 'failure', code: 'WORKER_DIED', message: `worker: ${error instanceof Error ? error.stack : error}` }
}

function batch(task: BatchTask): BatchResult {
  const lengths = new Int32Array(task.blockCount)
  const from = task.slot * setup.inputSlotSize
  let at = task.slot * setup.outputSlotSize
  for (let index = 0; index < task.blockCount && !isStopped(); index++) {
    const block = input.subarray(from + index * blockSize, from + (index + 1) * blockSize)
    if (isZero(block)) continue
    const packed = isTried && probablyIncompressible(block) ? block : compress(block)
    const isStored = storeIncompressible && packed.length >= blockSize
    const bytes = isStored ? block : packed
    output.set(bytes, at)
    at += bytes.length
    lengths[index] = isStored ? STORED : bytes.length
  }
  return { kind: 'batch', id: task.id, lengths }
}

function isZero(block: Buffer): boolean {
  return block[0] === 0 && block[blockSize - 1] === 0 && block.equals(zeros)
}
