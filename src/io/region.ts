/** The image that lies in a region of a target. */
import type { Extent, Image } from './image.ts'
import type { Target } from './target.ts'

/** Bytes that are read back at a time. */
const CHUNK_SIZE = 1 << 20

/** `size` bytes of `target` from `start` on, read back in chunks whenever they are asked for. */
export function regionImage(target: Target, start: number, size: number): Image {
  const extent: Extent = {
    start: 0,
    length: size,
    read: () => regionChunks(target, start, size),
    readRange: (from, length, buffer) => regionChunks(target, start + from, length, buffer?.length),
  }
  return { size, extents: size === 0 ? [] : [extent] }
}

async function* regionChunks(target: Target, start: number, length: number, chunkSize = CHUNK_SIZE): AsyncGenerator<Uint8Array> {
  const chunkAt = (at: number): Promise<Uint8Array> | undefined => {
    const chunk = at < length ? target.read(start + at, Math.min(chunkSize, length - at)) : undefined
    // An error counts when the chunk is awaited, if it ever is.
    chunk?.catch(() => undefined)
    return chunk
  }
  // One chunk is read while the consumer works on the one before.
  let next = chunkAt(0)
  for (let at = chunkSize; next !== undefined; at += chunkSize) {
    const chunk = await next
    next = chunkAt(at)
    yield chunk
  }
}
