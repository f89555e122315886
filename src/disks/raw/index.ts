/**
 * Raw disks: the bytes of the disk and nothing else. There is no writer: every image is one.
 *
 * Not supported: the holes of a sparse file cannot be asked for in Node. They are read, as zeros, unless `skipZeros`
 * has all of the file looked through first.
 */
import { throwIfAborted } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import { type MappedRange, mappedImage, RangeList } from '../../io/mapped.ts'
import type { RandomAccessSource } from '../../io/source.ts'

export interface RawOptions {
  /** Read the whole file now, and leave out what is zero; default false. Formats that compress find zeros themselves. */
  readonly skipZeros?: boolean
  /** Ends the search for zeros with ABORTED. */
  readonly signal?: AbortSignal
}

/** Bytes that are looked at as one: file systems of hosts have no smaller holes. */
const UNIT = 4096
const CHUNK_SIZE = 1 << 20
const ZEROS = Buffer.alloc(CHUNK_SIZE)

/** The whole file as one extent, or extents of what is not zero. Throws what the source throws, and ABORTED. */
export async function openRaw(source: RandomAccessSource, options: RawOptions = {}): Promise<Image> {
  const { size } = source
  let isSearched = options.skipZeros !== true
  return mappedImage(source, {
    what: 'raw disk',
    size,
    async *ranges(from, end) {
      if (!isSearched) yield* dataRanges(source, options.signal)
      else if (end > from) yield [{ start: from, length: end - from, position: from }]
      isSearched = true
    },
  })
}

async function* dataRanges(source: RandomAccessSource, signal: AbortSignal | undefined): AsyncGenerator<readonly MappedRange[]> {
  for (let at = 0; at < source.size; at += CHUNK_SIZE) {
    throwIfAborted(signal)
    const chunk = await source.read(at, Math.min(CHUNK_SIZE, source.size - at))
    if (isZero(chunk)) continue
    const list = new RangeList()
    for (let done = 0; done < chunk.length; done += UNIT) {
      const unit = chunk.subarray(done, done + UNIT)
      if (!isZero(unit)) list.add(at + done, unit.length, at + done)
    }
    yield list.ranges
  }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) === 0
}
