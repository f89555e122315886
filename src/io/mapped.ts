/**
 * A virtual disk whose bytes lie scattered over a file, as an image. The tables that say where are read twice: once
 * to know the extents, and again, range by range, when an extent is read. So neither tables nor data are held, and of each
 * run of data 16 bytes are.
 */
import { ImageError } from '../errors.ts'
import { EXTENT_LIMIT, sparseExtent } from './blocks.ts'
import type { Extent, Image } from './image.ts'
import { NumberList } from './numbers.ts'
import type { RandomAccessSource } from './source.ts'
import { UsedRanges } from './used-ranges.ts'

/** A run of bytes of the disk that lies in one run of the file. */
export interface MappedRange {
  /** Of the disk. */
  readonly start: number
  /** Of the disk; for a packed range what it unpacks to. */
  readonly length: number
  /** Of the file. */
  readonly position: number
  /** Bytes in the file, for a range that is compressed. */
  readonly packedLength?: number
}

export interface DiskMap {
  /** The format, for messages. */
  readonly what: string
  /** Bytes of the disk; the last range may reach beyond. */
  readonly size: number
  /**
   * The ranges that touch the bytes from `from` to `end`, ascending and without overlap, checked against the file.
   * A group ends where a table was read on; what no range covers is zero.
   */
  ranges(from: number, end: number): AsyncIterable<readonly MappedRange[]>
  /** Exactly `range.length` bytes; throws BAD_INPUT. Only for maps with packed ranges. */
  readonly unpack?: (packed: Uint8Array, range: MappedRange) => Uint8Array
  /** Packed ranges have at least so many bytes, by which it shows when two of them are one. Default 1. */
  readonly packedMinimum?: number
  /** Whether a file may end within the last block, as if zeros followed. */
  readonly mayEndEarly?: boolean
}

/** Bytes that are read at a time. */
const CHUNK_SIZE = 1 << 20

/** More runs of data are refused: they take half a gibibyte of memory, and only what is made for it lies so scattered. */
const RUN_LIMIT = 1 << 25

/**
 * The image that `map` describes: an extent for each run of data, or for several runs where there are thousands. Reads all
 * tables, no data. Throws what `map.ranges` throws, BAD_INPUT where two places of the disk lie in the same bytes of the
 * file, which no writer does, and LIMIT for too many runs.
 */
export async function mappedImage(source: RandomAccessSource, map: DiskMap): Promise<Image> {
  const runs = new Runs()
  const used = new UsedRanges((position) => usedTwice(`${map.what}: the data`, position, source))
  for await (const group of map.ranges(0, map.size)) {
    for (const { start, length, position, packedLength } of group) {
      runs.add(start, Math.min(start + length, map.size))
      used.add(position, position + (packedLength === undefined ? length : (map.packedMinimum ?? 1)))
    }
    if (runs.length > RUN_LIMIT) {
      throw new ImageError(
        'LIMIT',
        `${map.what}: the data lies in more than ${RUN_LIMIT} runs, which are not kept in memory; write the disk with larger clusters first`,
      )
    }
  }
  used.check()
  const step = Math.ceil(runs.length / EXTENT_LIMIT)
  const extents: Extent[] = []
  for (let first = 0; first < runs.length; first += step) {
    extents.push(mappedExtent(source, map, runs, first, Math.min(first + step, runs.length)))
  }
  return { size: map.size, extents }
}

/** For what a table names at a byte of the file that it, or another table, has named before. */
export function usedTwice(what: string, position: number, { size }: RandomAccessSource): ImageError {
  return new ImageError(
    'BAD_INPUT',
    `${what} at ${position} is named twice; each of the file's ${size} bytes may stand for one place of the disk, so that a small file ` +
      'cannot become a disk without end: the file is damaged, or made to do harm',
  )
}

/** Ascending runs of bytes, merged where they touch. */
class Runs {
  readonly starts = new NumberList()
  readonly ends = new NumberList()

  get length(): number {
    return this.starts.length
  }

  add(start: number, end: number): void {
    if (this.length > 0 && this.ends.at(this.length - 1) === start) {
      this.ends.replaceLast(end)
      return
    }
    this.starts.push(start)
    this.ends.push(end)
  }
}

/** The runs from `first` up to `last`. */
function mappedExtent(source: RandomAccessSource, map: DiskMap, runs: Runs, first: number, last: number): Extent {
  const { starts, ends } = runs
  const [start, end] = [starts.at(first), ends.at(last - 1)]
  const extent = sparseExtent(start, end - start, {
    *runs() {
      for (let run = first; run < last; run++) yield { start: starts.at(run) - start, length: ends.at(run) - starts.at(run) }
    },
    read: () => runChunks(source, map, runs, first, last),
  })
  const { sparse: _, ...whole } = extent
  return last - first === 1 ? whole : extent
}

/** What lies between runs is not read, whether a range of the file stands for it or not. */
async function* runChunks(
  source: RandomAccessSource,
  map: DiskMap,
  { starts, ends }: Runs,
  first: number,
  last: number,
): AsyncGenerator<Uint8Array | number> {
  const end = ends.at(last - 1)
  let at = starts.at(first)
  let run = first
  for await (const group of map.ranges(at, end)) {
    for (const range of group) {
      const rangeEnd = Math.min(range.start + range.length, end)
      for (; run < last && starts.at(run) < rangeEnd; run++) {
        const from = Math.max(at, range.start, starts.at(run))
        const to = Math.min(rangeEnd, ends.at(run))
        if (to > from) {
          if (from > at) yield from - at
          yield* range.packedLength === undefined
            ? plain(source, map, range.position + from - range.start, to - from)
            : packed(source, map, range, from - range.start, to - range.start)
          at = to
        }
        if (ends.at(run) > rangeEnd) break
      }
    }
  }
  if (end > at) yield end - at
}

async function* plain(source: RandomAccessSource, map: DiskMap, position: number, length: number): AsyncGenerator<Uint8Array | number> {
  const present = map.mayEndEarly === true ? Math.max(0, Math.min(length, source.size - position)) : length
  for (let done = 0; done < present; done += CHUNK_SIZE) {
    yield await source.read(position + done, Math.min(CHUNK_SIZE, present - done))
  }
  if (length > present) yield length - present
}

async function* packed(source: RandomAccessSource, map: DiskMap, range: MappedRange, from: number, to: number): AsyncGenerator<Uint8Array> {
  const bytes = await source.read(range.position, range.packedLength ?? 0)
  const block = map.unpack?.(bytes, range)
  if (block?.length !== range.length) {
    throw new ImageError(
      'BAD_INPUT',
      `${map.what}: the compressed block at ${range.position} holds ${block?.length} bytes, it should be ${range.length}`,
    )
  }
  yield block.subarray(from, to)
}

/** Makes groups of ranges, one range of blocks that follow each other both on the disk and in the file. */
export class RangeList {
  readonly ranges: MappedRange[] = []

  add(start: number, length: number, position: number): void {
    const last = this.ranges.at(-1)
    if (last && last.packedLength === undefined && last.start + last.length === start && last.position + last.length === position) {
      this.ranges[this.ranges.length - 1] = { start: last.start, length: last.length + length, position: last.position }
    } else this.ranges.push({ start, length, position })
  }

  addPacked(start: number, length: number, position: number, packedLength: number): void {
    this.ranges.push({ start, length, position, packedLength })
  }
}
