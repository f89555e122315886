/** zstd by the documented stream of Node, for a Node whose libzstd has no threads within reach. */
import type { BuildContext, Image } from '../../io/image.ts'
import { imageChunks } from '../../io/stream.ts'
import type { Target } from '../../io/target.ts'
import { zstdChunks } from '../../io/zstd.ts'
import type { StreamFormat } from './format.ts'
import { frameOptions } from './zstd.ts'

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
  let end = start
  for await (const piece of zstdChunks(content(), { ...frameOptions(spec.level), pledgedSrcSize: image.size })) {
    await target.write(end, piece)
    end += piece.length
  }
  return end - start
}
