/**
 * Raw disks: the bytes of the disk and nothing else. There is no writer: every image is one.
 *
 * Not supported: the holes of a sparse file cannot be asked for in Node. They are read, as zeros, unless `skipZeros`
 * has all of the file looked through first.
 */
import { searchData } from '../../io/data-search.ts'
import { plainImage } from '../../io/layers.ts'
import type { MappedImage } from '../../io/mapped.ts'
import type { RandomAccessSource } from '../../io/source.ts'

export interface RawOptions {
  /** Read the whole file now, and leave out what is zero; default false. Formats that compress find zeros themselves. */
  readonly skipZeros?: boolean
  /** Threads that look for zeros in a file; default 2. */
  readonly jobs?: number
  /** Ends the search for zeros with ABORTED. */
  readonly signal?: AbortSignal
}

/** The whole file as one extent, or extents of what is not zero. Throws what `searchData` throws. */
export async function openRaw(source: RandomAccessSource, { skipZeros = false, ...options }: RawOptions = {}): Promise<MappedImage> {
  const runs = skipZeros ? await searchData(source, 0, source.size, options) : undefined
  return plainImage({ what: 'raw disk', source }, 0, source.size, runs)
}
