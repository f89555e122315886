/** What is done with a batch of blocks, in whatever thread: they are compressed from slot to slot. Nothing is decided here. */
import type { WorkModule } from '../../threads/work.ts'
import { openDeflate } from '../deflate.ts'
import { isSlow, probablyIncompressible } from '../incompressible.ts'
import { openCodec } from '../open.ts'
import type { BlockBatch, BlockCodec, BlockLengths, BlockSetup } from './protocol.ts'
import { STORED } from './protocol.ts'

export const work: WorkModule<BlockSetup, BlockBatch, BlockLengths> = {
  module: import.meta.url,
  async open(setup, { isStopped }) {
    const { codec, blockSize, storeIncompressible } = setup
    const input = Buffer.from(setup.input)
    const output = Buffer.from(setup.output)
    const zeros = Buffer.alloc(blockSize)
    const compress = await blockCompressor(codec, blockSize)
    const skipsIncompressible = storeIncompressible && codec.name !== 'deflate' && isSlow(codec)
    return {
      run({ slot, blockCount }) {
        const lengths = new Int32Array(blockCount)
        const from = slot * setup.inputSlotSize
        let at = slot * setup.outputSlotSize
        for (let index = 0; index < blockCount && !isStopped(); index++) {
          const block = input.subarray(from + index * blockSize, from + (index + 1) * blockSize)
          if (block[0] === 0 && block[blockSize - 1] === 0 && block.equals(zeros)) continue
          const packed = skipsIncompressible && probablyIncompressible(block) ? block : compress(block)
          const isStored = storeIncompressible && packed.length >= blockSize
          const bytes = isStored ? block : packed
          output.set(bytes, at)
          at += bytes.length
          lengths[index] = isStored ? STORED : bytes.length
        }
        return lengths
      },
    }
  },
}

async function blockCompressor(codec: BlockCodec, blockSize: number): Promise<(block: Uint8Array) => Uint8Array> {
  if (codec.name === 'deflate') return openDeflate(codec, blockSize)
  const opened = await openCodec(codec, blockSize)
  return (block) => opened.compress(block)
}
