/**
 * Compresses the blocks of an image, each by itself, by a pool of threads. Batches of blocks are read in order,
 * compressed wherever a thread is free, and handed on in order: nothing depends on the number of threads.
 *
 * Memory is bounded by the slots: two batches in and out for every thread, and two more.
 */

import { throwIfAborted } from '../../errors.ts'
import type { BlockReader } from '../../io/blocks.ts'
import type { BuildContext } from '../../io/image.ts'
import { Pool } from '../../threads/pool.ts'
import { type BlockCodec, type BlockLengths, type BlockSetup, blockRoom, STORED } from './protocol.ts'
import { work } from './work.ts'

export type { BlockCodec } from './protocol.ts'

/** Bytes of a batch, unless one block is larger. */
const BATCH_SIZE = 256 << 10

export interface BlockCompression {
  readonly codec: BlockCodec
  /** Bytes: a power of two, 512 to 2 MiB. */
  readonly blockSize: number
  /** Whether a block that does not become smaller is kept as it is; else it is compressed all the same. */
  readonly storeIncompressible: boolean
}

/** What became of one block. `bytes` are shared memory that holds until the consumer of the batch returns. */
export interface CompressedBlock {
  /** Which of all blocks that were read. */
  readonly index: number
  readonly kind: 'zeros' | 'stored' | 'compressed'
  readonly bytes: Uint8Array
}

/**
 * Compress the `count` blocks of `reader`, and call `consume` with batches of results, in order, one call at a time.
 * Tells the stage `compress`. Throws what `reader` and `consume` throw, WORKER_DIED, and ABORTED.
 */
export async function compressBlocks(
  reader: BlockReader,
  count: number,
  request: BlockCompression,
  context: BuildContext,
  consume: (blocks: readonly CompressedBlock[]) => Promise<void>,
): Promise<void> {
  const { jobs, threads, signal, onProgress } = context
  throwIfAborted(signal)
  const { blockSize } = request
  const batchBlocks = Math.max(1, Math.floor(BATCH_SIZE / blockSize))
  // The caller's own thread does one thing at a time.
  const slotCount = threads === 'none' ? 1 : Math.max(1, Math.min(2 * jobs + 2, Math.ceil(count / batchBlocks)))
  const inputSlotSize = batchBlocks * blockSize
  const outputSlotSize = batchBlocks * blockRoom(blockSize)
  const input = new SharedArrayBuffer(slotCount * inputSlotSize)
  const output = new SharedArrayBuffer(slotCount * outputSlotSize)
  const zeros = Buffer.alloc(inputSlotSize)
  const setup: BlockSetup = { ...request, inputSlotSize, outputSlotSize, input, output }
  onProgress?.({ kind: 'stage', stage: 'compress', totalBytes: count * blockSize })
  const pool = new Pool(work, setup, { count: Math.min(jobs, slotCount), threads, signal })
  const free = Array.from({ length: slotCount }, (_, slot) => slot)
  const sent: { readonly slot: number; readonly first: number; readonly result: Promise<BlockLengths> }[] = []
  try {
    for (let first = 0; first < count || sent.length > 0; ) {
      for (let slot = first < count ? free.pop() : undefined; slot !== undefined; slot = first < count ? free.pop() : undefined) {
        const blocks = Math.min(batchBlocks, count - first)
        const bytes = Buffer.from(input, slot * inputSlotSize, blocks * blockSize)
        await reader.next(bytes)
        // Nothing but zeros is not worth a message.
        const result = bytes.equals(zeros.subarray(0, bytes.length))
          ? Promise.resolve(new Int32Array(blocks))
          : pool.run({ slot, blockCount: blocks })
        sent.push({ slot, first, result })
        first += blocks
      }
      const head = sent.shift()
      if (head === undefined) break
      const lengths = await head.result
      await consume(blocksOf(lengths, head.first, blockSize, new Uint8Array(output, head.slot * outputSlotSize, outputSlotSize)))
      free.push(head.slot)
      onProgress?.({ kind: 'bytes', stage: 'compress', doneBytes: (head.first + lengths.length) * blockSize })
    }
    throwIfAborted(signal)
  } finally {
    await pool.close()
    await reader.close()
  }
}

function blocksOf(lengths: BlockLengths, first: number, blockSize: number, output: Uint8Array): CompressedBlock[] {
  let at = 0
  return Array.from(lengths, (length, index) => {
    const size = length === STORED ? blockSize : length
    const bytes = output.subarray(at, at + size)
    at += size
    return { index: first + index, kind: length === 0 ? 'zeros' : length === STORED ? 'stored' : 'compressed', bytes }
  })
}
