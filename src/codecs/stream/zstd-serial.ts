/** zstd by the documented stream of Node, for a Node whose libzstd has no threads within reach. */
import { Readable } from 'node:stream'
import { createZstdCompress } from 'node:zlib'
import type { BuildContext, Image } from '../../io/image.ts'
import { imageChunks } from '../../io/stream.ts'
import type { Target } from '../../io/target.ts'
import type { StreamFormat } from './format.ts'
import { frameOptions } from './zstd.ts'

const PIECE_SIZE = 1 << 20

/** As `compressBlocks`, for zstd; its thread is one of libuv's. */
export async function compressSerially(
  image: Image,
  target: Target,
  start: number,
  { spec }: StreamFormat,
  { signal, onProgress }: BuildContext,
): Promise<number> {
  async function* content(): AsyncGenerator<Uint8Array> {
    let doneBytes = 0
    for await (const chunk of imageChunks(image, signal ? { signal } : {})) {
      yield chunk
      doneBytes += chunk.length
      onProgress?.({ kind: 'bytes', stage: 'compress', doneBytes })
    }
  }
  onProgress?.({ kind: 'stage', stage: 'compress', totalBytes: image.size })
  const source = Readable.from(content(), { objectMode: false, highWaterMark: PIECE_SIZE })
  const compressor = createZstdCompress({ ...frameOptions(spec.level), pledgedSrcSize: image.size, chunkSize: PIECE_SIZE })
  source.on('error', (error) => compressor.destroy(error))
  compressor.on('close', () => source.destroy())
  let end = start
  for await (const piece of source.pipe(compressor) as AsyncIterable<Uint8Array>) {
    await target.write(end, piece)
    end += piece.length
  }
  return end - start
}
