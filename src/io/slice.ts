/** A part of an image, as an image. */
import { ImageError } from '../errors.ts'
import { type Extent, type Image, moveExtent } from './image.ts'

/**
 * Bytes `start` (inclusive) to `end` (exclusive) of `image`. Nothing is read until the slice is, and then nothing
 * before `start` where the extents have `readRange`; others are read from their beginning and what is not wanted is
 * dropped. Throws USAGE when the slice does not lie within the image.
 */
export function imageSlice(image: Image, start: number, end: number): Image {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start || end > image.size) {
    throw new ImageError('USAGE', `image: there is no slice from byte ${start} to byte ${end} of ${image.size} bytes`)
  }
  const extents: Extent[] = []
  for (let index = firstEndingAfter(image.extents, start); index < image.extents.length; index++) {
    const extent = image.extents[index] as Extent
    if (extent.start >= end) break
    const from = Math.max(0, start - extent.start)
    const to = Math.min(extent.length, end - extent.start)
    if (to > from) extents.push(moveExtent(extentPart(extent, from, to), -start))
  }
  return { size: end - start, extents }
}

/** Slices are often many, and so are extents: found by bisection. */
function firstEndingAfter(extents: readonly Extent[], position: number): number {
  let [low, high] = [0, extents.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    const { start, length } = extents[middle] as Extent
    if (start + length <= position) low = middle + 1
    else high = middle
  }
  return low
}

/** Bytes `from` to `to` of an extent, where they lie. */
function extentPart(extent: Extent, from: number, to: number): Extent {
  if (from === 0 && to === extent.length) return extent
  const { readRange } = extent
  const length = to - from
  if (readRange === undefined) return { start: extent.start + from, length, read: () => cutChunks(extent, from, to) }
  return {
    start: extent.start + from,
    length,
    read: () => readRange.call(extent, from, length),
    readRange: (start, count, buffer) => readRange.call(extent, from + start, count, buffer),
  }
}

/**
 * Reads the extent from its beginning. Where the part ends with the extent, it is read to its end, so that it can tell
 * what it finds out there (that a file grew, that a checksum is wrong).
 */
async function* cutChunks(extent: Extent, from: number, to: number): AsyncGenerator<Uint8Array> {
  let position = 0
  for await (const chunk of extent.read()) {
    const cut = chunk.subarray(Math.max(0, from - position), to === extent.length ? chunk.length : to - position)
    position += chunk.length
    if (cut.length > 0) yield cut
    if (position >= to && to < extent.length) return
  }
}
