/** A worker thread: compresses batches of blocks from slot to slot. It decides nothing. */
import { openDeflate } from '../deflate.ts'
import { isSlow, probablyIncompressible } from '../incompressible.ts'
import { openCodec } from '../open.ts'
import { answerBatches, isStopped, workerSetup } from './answer.ts'
import type { BlockBatch, BlockLengths, BlockWorkerSetup } from './protocol.ts'
import { STORED } from './protocol.ts'

const setup = workerSetup<BlockWorkerSetup>()
const { codec, blockSize, storeIncompressible } = setup
const input = Buffer.from(setup.input)
const output = Buffer.from(setup.output)
const zeros = Buffer.alloc(blockSize)
const compress = codec.name === 'deflate' ? openDeflate(codec, blockSize) : await blockCodec(codec)
const isTried = storeIncompressible && codec.name !== 'deflate' && isSlow(codec)

answerBatches(batch)

async function blockCodec(spec: Exclude<typeof codec, { name: 'deflate' }>): Promise<(block: Uint8Array) => Uint8Array> {
  const opened = await openCodec(spec, blockSize)
  return (block) => opened.compress(block)
}

function batch({ slot, blockCount }: BlockBatch): BlockLengths {
  const lengths = new Int32Array(blockCount)
  const from = slot * setup.inputSlotSize
  let at = slot * setup.outputSlotSize
  for (let index = 0; index < blockCount && !isStopped(); index++) {
    const block = input.subarray(from + index * blockSize, from + (index + 1) * blockSize)
    if (isZero(block)) continue
    const packed = isTried && probablyIncompressible(block) ? block : compress(block)
    const isStored = storeIncompressible && packed.length >= blockSize
    const bytes = isStored ? block : packed
    output.set(bytes, at)
    at += bytes.length
    lengths[index] = isStored ? STORED : bytes.length
  }
  return lengths
}

function isZero(block: Buffer): boolean {
  return block[0] === 0 && block[blockSize - 1] === 0 && block.equals(zeros)
}
