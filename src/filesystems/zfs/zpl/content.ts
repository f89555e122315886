/** The contents of files as records, read one after the other. */
import { alignUp } from '../../../bytes/align.ts'
import { extentChunks } from '../../../io/stream.ts'
import { contentExtents } from '../../../tree/content.ts'
import type { FileNode } from '../../../tree/tree.ts'
import { SECTOR_SIZE } from '../constants.ts'

export interface RecordShape {
  readonly recordSize: number
  readonly recordCount: number
}

/** A file of up to one record has a block as large as it is; others have records of one size. */
export function recordShape(size: number, recordSize: number): RecordShape {
  if (size <= recordSize) return { recordSize: Math.max(SECTOR_SIZE, alignUp(size, SECTOR_SIZE)), recordCount: 1 }
  return { recordSize, recordCount: Math.ceil(size / recordSize) }
}

/** A record, or what of it is not zero at its end. */
export interface RecordBytes {
  readonly index: number
  readonly bytes: Uint8Array
}

/**
 * The records of a file in order, without those in holes of its content. The bytes are overwritten when the next record
 * is asked for, and lie in `buffer`, which has room for a record at least, or anywhere else. Throws what reading throws.
 */
export async function* fileRecords(
  file: FileNode,
  { recordSize }: RecordShape,
  path: string,
  buffer: Uint8Array,
): AsyncGenerator<RecordBytes> {
  /** A record of several chunks. */
  let gathered: Buffer | undefined
  let index = -1
  let filled = 0
  for (const extent of contentExtents(file, 0, path)) {
    let position = extent.start
    for await (const chunk of extentChunks(extent, undefined, buffer)) {
      for (let done = 0; done < chunk.length; ) {
        const own = Math.floor(position / recordSize)
        if (own !== index && filled > 0 && gathered !== undefined) {
          yield { index, bytes: gathered.subarray(0, filled) }
          filled = 0
        }
        index = own
        const at = position - own * recordSize
        const length = Math.min(chunk.length - done, recordSize - at)
        const part = chunk.subarray(done, done + length)
        done += length
        position += length
        // Most records lie in one chunk, and need no copy.
        if (at === 0 && filled === 0 && (length === recordSize || position === file.size)) {
          yield { index, bytes: part }
          continue
        }
        gathered ??= Buffer.alloc(recordSize)
        gathered.fill(0, filled, at)
        gathered.set(part, at)
        filled = at + length
      }
    }
  }
  if (filled > 0 && gathered !== undefined) yield { index, bytes: gathered.subarray(0, filled) }
}
