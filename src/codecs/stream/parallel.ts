/**
 * An image into a compressed stream: this thread cuts it into blocks and writes the results in order, threads encode them.
 * Where the cuts are depends on nothing but the format, so the bytes do not depend on the threads. The slots bound the memory:
 * a block keeps its slot until its result is written.
 */
import type { BuildContext, Image } from '../../io/image.ts'
import { imageChunks } from '../../io/stream.ts'
import type { Target } from '../../io/target.ts'
import { Pool } from '../../threads/pool.ts'
import type { StreamFormat } from './format.ts'
import type { BlockTask } from './protocol.ts'
import { Slots } from './slots.ts'
import { work } from './work.ts'

/** From here on, in bytes, a block takes so long that a thread need not have the next one in hand. */
const LARGE_BLOCK = 4 << 20

/**
 * Write the stream of `image` to `target` from `start` on; returns its size. Throws what the image and the target throw,
 * WORKER_DIED, ABORTED, and UNSUPPORTED for xz without its package.
 */
export async function compressBlocks(
  image: Image,
  target: Target,
  start: number,
  format: StreamFormat,
  context: BuildContext,
): Promise<number> {
  const { signal, onProgress } = context
  const isOwnThread = context.threads === 'none' || image.size < format.ownThreadLimit
  const threadCount = format.isSequential ? 1 : Math.min(context.jobs, Math.ceil(image.size / format.blockSize))
  const slotSize = format.historySize + Math.min(format.blockSize, image.size)
  const slots = new Slots(isOwnThread ? 1 : slotCount(format, threadCount))
  const memory = new SharedArrayBuffer(slots.count * slotSize)
  const content = new Uint8Array(memory)
  const encoder = { contentSize: image.size, jobs: isOwnThread ? 1 : context.jobs }
  const frame = format.startFrame()
  let end = start
  let doneBytes = 0

  const append = async (bytes: Uint8Array): Promise<void> => {
    slots.throwIfFailed()
    if (bytes.length > 0) await target.write(end, bytes)
    end += bytes.length
  }
  const finish = async ({ slot, task }: CutBlock, encoding: Promise<Uint8Array>): Promise<void> => {
    const encoded = await encoding
    await append(frame.add(content.subarray(task.start, task.start + task.length), encoded))
    await append(encoded)
    // Memory that was moved here would lie about until the collector looks.
    if (encoded.buffer instanceof ArrayBuffer) encoded.buffer.transfer(0)
    slots.release(slot)
    doneBytes += task.length
    onProgress?.({ kind: 'bytes', stage: 'compress', doneBytes })
  }

  onProgress?.({ kind: 'stage', stage: 'compress', totalBytes: image.size })
  const pool = new Pool(
    work,
    { codec: format.spec, encoder, slots: memory },
    {
      count: threadCount,
      threads: isOwnThread ? 'none' : 'workers',
      inHand: inHand(format),
      isTerminable: format.isTerminable,
      signal,
      onFailure: (error) => slots.fail(error),
    },
  )
  let writing = Promise.resolve()
  try {
    await append(frame.head)
    for await (const block of cutBlocks(image, slots, content, slotSize, format, signal)) {
      const encoding = pool.run(block.task)
      writing = writing.then(() => finish(block, encoding))
      // Failures are heard of where a slot is taken, and at the end.
      writing.catch((error: unknown) => slots.fail(error))
    }
    await Promise.race([writing, slots.failed])
    await append(frame.end())
    return end - start
  } catch (error) {
    slots.fail(error)
    throw error
  } finally {
    await pool.close()
    // Once this has settled, nothing is written any more.
    await writing.catch(() => undefined)
  }
}

/** Slots that keep `threadCount` threads busy while others are filled and written. */
function slotCount(format: StreamFormat, threadCount: number): number {
  return format.isSequential ? 8 : threadCount * inHand(format) + Math.min(threadCount, 4) + 1
}

/** Blocks that a thread has in hand. */
function inHand(format: StreamFormat): number {
  if (format.isSequential) return 6
  return format.blockSize >= LARGE_BLOCK ? 1 : 2
}

interface CutBlock {
  readonly slot: number
  readonly task: BlockTask
}

/** The blocks of an image, each in a slot of its own with the end of the one before it as history. */
async function* cutBlocks(
  image: Image,
  slots: Slots,
  content: Uint8Array,
  slotSize: number,
  { blockSize, historySize, isSequential }: StreamFormat,
  signal: AbortSignal | undefined,
): AsyncGenerator<CutBlock> {
  let slot = await slots.take()
  let start = slot * slotSize + historySize
  let length = 0
  let historyLength = 0
  let position = 0
  const cut = (isLast: boolean): CutBlock => ({ slot, task: { start, length, historyLength, isLast } })
  for await (const chunk of imageChunks(image, signal ? { signal } : {})) {
    for (let at = 0; at < chunk.length; ) {
      const count = Math.min(blockSize - length, chunk.length - at)
      content.set(chunk.subarray(at, at + count), start + length)
      at += count
      length += count
      position += count
      if (position === image.size) {
        yield cut(true)
      } else if (length === blockSize) {
        yield cut(false)
        const end = start + length
        slot = await slots.take()
        start = slot * slotSize + historySize
        // Only this function takes slots, so what a slot held is still there, even if it is the same one again.
        content.copyWithin(start - historySize, end - historySize, end)
        historyLength = historySize
        length = 0
      }
    }
  }
  if (isSequential && image.size === 0) yield cut(true)
}
