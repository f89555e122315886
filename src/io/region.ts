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
    async *read() {
      const chunkAt = (at: number): Promise<Uint8Array> | undefined => {
        const chunk = at < size ? target.read(start + at, Math.min(CHUNK_SIZE, size - at)) : undefined
        // An error counts when the chunk is awaited, if it ever is.
        chunk?.catch(() => undefined)
        return chunk
      }
      // One chunk is read while the consumer works on the one before.
      let next = chunkAt(0)
      for (let at = CHUNK_SIZE; next !== undefined; at += CHUNK_SIZE) {
        const chunk = await next
        next = chunkAt(at)
        yield chunk
      }
    },
  }
  return { size, extents: size === 0 ? [] : [extent] }
}
