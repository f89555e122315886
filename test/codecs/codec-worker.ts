/** Compresses the blocks it is sent, in a thread of its own. */
import { parentPort } from 'node:worker_threads'
import { openCodec, parseCodecSpec } from '../../src/codecs/open.ts'

parentPort?.once('message', async (task: { spec: string; blockSize: number; blocks: Uint8Array[] }) => {
  const codec = await openCodec(parseCodecSpec(task.spec), task.blockSize)
  parentPort?.postMessage(task.blocks.map((block) => new Uint8Array(codec.compress(block))))
})
