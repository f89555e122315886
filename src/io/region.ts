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
      for (let at = 0; at < size; at += CHUNK_SIZE) yield await target.read(start + at, Math.min(CHUNK_SIZE, size - at))
    },
  }
  return { size, extents: size === 0 ? [] : [extent] }
}
