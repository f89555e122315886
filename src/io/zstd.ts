/**
 * A zstd stream whose bytes depend on its content alone, by Node's documented stream.
 *
 * That stream announces the end to libzstd with the last bytes if it knows by then that they are the last, and what libzstd is
 * given at a time is what was written at a time: both would depend on who is faster. So the content is cut into blocks of
 * one size, each is written when the one before is through, and the end is announced after all of them, by itself.
 */
import { createZstdCompress, type ZstdOptions } from 'node:zlib'
import { equalBlocks } from './equal-blocks.ts'

/** Bytes that libzstd is given at a time; part of what decides the bytes of the result. */
const BLOCK_SIZE = 1 << 20

/**
 * The stream of all `chunks`. One block is read while the one before is compressed, in one of libuv's threads. Throws what
 * `chunks` throws, and what Node throws for options that libzstd does not take.
 */
export async function* zstdChunks(chunks: AsyncIterable<Uint8Array>, options: ZstdOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const stream = createZstdCompress({ ...options, chunkSize: BLOCK_SIZE })
  let ready: Uint8Array[] = []
  const taken = (): Uint8Array[] => {
    const pieces = ready
    ready = []
    return pieces
  }
  const ended = new Promise<void>((resolve, reject) => {
    stream.on('data', (piece: Uint8Array) => ready.push(piece))
    stream.on('end', resolve)
    stream.on('error', reject)
  })
  ended.catch(() => undefined)
  const write = (block: Uint8Array): Promise<void> =>
    new Promise((resolve, reject) => stream.write(block, (error) => (error ? reject(error) : resolve())))
  let writing = Promise.resolve()
  try {
    for await (const block of equalBlocks(chunks, BLOCK_SIZE)) {
      await writing
      yield* taken()
      writing = write(block)
      // An error counts when the next block is there, or the end.
      writing.catch(() => undefined)
    }
    await writing
    stream.end()
    await ended
    yield* taken()
  } finally {
    stream.destroy()
  }
}
