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

/** A file in which bytes of a disk lie. */
export interface MappedFile {
  /** The format, for messages. */
  readonly what: string
  readonly source: RandomAccessSource
  /** Exactly `packed.unpackedLength` bytes; throws BAD_INPUT. Only for files with packed ranges. */
  readonly unpack?: (packed: Uint8Array, range: PackedRange) => Uint8Array
  /** Packed ranges have at least so many bytes, by which it shows when two of them are one. Default 1. */
  readonly packedMinimum?: number
  /** Whether a file may end within the last block, as if zeros followed. */
  readonly mayEndEarly?: boolean
}

/** A run of bytes of the disk that lies in one run of a file. */
export interface MappedRange {
  /** Of the disk. */
  readonly start: number
  /** Of the disk. */
  readonly length: number
  /** Without one all is zero, whatever a disk below has there. */
  readonly file?: MappedFile
  /** Of the file. */
  readonly position: number
  /** For a range that is compressed. */
  readonly packed?: {
    /** Bytes in the file. */
    readonly length: number
    /** What was unpacked begins there on the disk that the file holds. */
    readonly start: number
    readonly unpackedLength: number
    /** Where the range begins in what was unpacked. */
    readonly offset: number
  }
}

export type PackedRange = Pick<MappedRange, 'position'> & Required<Pick<MappedRange, 'packed'>>

export interface DiskMap {
  /** The format, for messages. */
  readonly what: string
  /** Bytes of the disk; the last range may reach beyond. */
  readonly size: number
  /**
   * The ranges that touch the bytes from `from` to `end`, ascending and without overlap, checked against the file.
   * A group ends where a table was read on; what no range covers is zero, or what a disk below has there.
   */
  ranges(from: number, end: number): AsyncIterable<readonly MappedRange[]>
}

/** A disk whose map is checked. */
export interface MappedImage extends Image {
  readonly map: DiskMap
}

/** Bytes that are read at a time. */
const CHUNK_SIZE = 1 << 20

/** More runs of data are refused: they take half a gibibyte of memory, and only what is made for it lies so scattered. */
const RUN_LIMIT = 1 << 25

/**
 * The image that `map` describes: an extent for each run of data, or for several runs where there are thousands. Reads all
 * tables, no data. Throws what `map.ranges` throws, BAD_INPUT where two places of the disk lie in the same bytes of a
 * file, which no writer does, and LIMIT for too many runs.
 */
export async function mappedImage(map: DiskMap): Promise<MappedImage> {
  const files = new Map<MappedFile, UsedRanges>()
  const image = await imageOfMap(map, ({ file, position, length, packed }) => {
    if (file === undefined) return
    let used = files.get(file)
    if (used === undefined) {
      used = new UsedRanges((byte) => usedTwice(`${file.what}: the data`, byte, file.source))
      files.set(file, used)
    }
    used.add(position, position + (packed === undefined ? length : (file.packedMinimum ?? 1)))
  })
  for (const used of files.values()) used.check()
  return image
}

/** The same for a map that is made of others, which are checked. */
export async function imageOfMap(map: DiskMap, onRange: (range: MappedRange) => void = () => undefined): Promise<MappedImage> {
  const runs = new Runs()
  for await (const group of map.ranges(0, map.size)) {
    for (const range of group) {
      if (range.file !== undefined) runs.add(range.start, Math.min(range.start + range.length, map.size))
      onRange(range)
    }
    if (runs.length > RUN_LIMIT) {
      throw new ImageError(
        'LIMIT',
        `${map.what}: the data lies in more than ${RUN_LIMIT} runs, which are not kept in memory; write the disk with larger clusters first`,
      )
    }
  }
  const step = Math.ceil(runs.length / EXTENT_LIMIT)
  const extents: Extent[] = []
  for (let first = 0; first < runs.length; first += step) {
    extents.push(mappedExtent(map, runs, first, Math.min(first + step, runs.length)))
  }
  return { size: map.size, extents, map }
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
function mappedExtent(map: DiskMap, runs: Runs, first: number, last: number): Extent {
  const { starts, ends } = runs
  const [start, end] = [starts.at(first), ends.at(last - 1)]
  const extent = sparseExtent(start, end - start, {
    *runs() {
      for (let run = first; run < last; run++) yield { start: starts.at(run) - start, length: ends.at(run) - starts.at(run) }
    },
    read: () => runChunks(map, runs, first, last),
  })
  const { sparse: _, ...whole } = extent
  return last - first === 1 ? whole : extent
}

/** What lies between runs is not read, whether a range of the file stands for it or not. */
async function* runChunks(map: DiskMap, { starts, ends }: Runs, first: number, last: number): AsyncGenerator<Uint8Array | number> {
  const end = ends.at(last - 1)
  let at = starts.at(first)
  let run = first
  for await (const group of map.ranges(at, end)) {
    for (const range of group) {
      if (range.file === undefined) continue
      const rangeEnd = Math.min(range.start + range.length, end)
      for (; run < last && starts.at(run) < rangeEnd; run++) {
        const from = Math.max(at, range.start, starts.at(run))
        const to = Math.min(rangeEnd, ends.at(run))
        if (to > from) {
          if (from > at) yield from - at
          yield* rangeChunks(rangePart(range, from, to))
          at = to
        }
        if (ends.at(run) > rangeEnd) break
      }
    }
  }
  if (end > at) yield end - at
}

/** The bytes of a range; a number stands for so many zeros. Throws BAD_INPUT, and what the source throws. */
export async function* rangeChunks({ file, position, length, packed }: MappedRange): AsyncGenerator<Uint8Array | number> {
  if (file === undefined) yield length
  else if (packed === undefined) yield* plain(file, position, length)
  else {
    const bytes = await file.source.read(position, packed.length)
    const block = file.unpack?.(bytes, { position, packed })
    if (block?.length !== packed.unpackedLength) {
      throw new ImageError(
        'BAD_INPUT',
        `${file.what}: the compressed block at ${position} holds ${block?.length} bytes, it should be ${packed.unpackedLength}`,
      )
    }
    yield block.subarray(packed.offset, packed.offset + length)
  }
}

async function* plain({ source, mayEndEarly }: MappedFile, position: number, length: number): AsyncGenerator<Uint8Array | number> {
  const present = mayEndEarly === true ? Math.max(0, Math.min(length, source.size - position)) : length
  for (let done = 0; done < present; done += CHUNK_SIZE) {
    yield await source.read(position + done, Math.min(CHUNK_SIZE, present - done))
  }
  if (length > present) yield length - present
}

/** The bytes from `from` to `end` of the disk, which the range has. */
export function rangePart(range: MappedRange, from: number, end: number): MappedRange {
  const { start, length, position, packed } = range
  if (from === start && end === start + length) return range
  const skipped = from - start
  const part = { ...range, start: from, length: end - from }
  if (packed === undefined) return { ...part, position: position + skipped }
  return { ...part, packed: { ...packed, offset: packed.offset + skipped } }
}

/** Makes groups of ranges in one file, one range of blocks that follow each other both on the disk and in the file. */
export class RangeList {
  readonly ranges: MappedRange[] = []
  readonly #file: MappedFile

  constructor(file: MappedFile) {
    this.#file = file
  }

  add(start: number, length: number, position: number): void {
    const last = this.ranges.at(-1)
    const isNext = last !== undefined && last.file !== undefined && last.packed === undefined && last.start + last.length === start
    if (isNext && last.position + last.length === position) {
      this.ranges[this.ranges.length - 1] = { ...last, length: last.length + length }
    } else this.ranges.push({ start, length, file: this.#file, position })
  }

  addPacked(start: number, length: number, position: number, packedLength: number): void {
    const packed = { length: packedLength, start, unpackedLength: length, offset: 0 }
    this.ranges.push({ start, length, file: this.#file, position, packed })
  }

  /** What is zero although a disk below may have something there. */
  addZeros(start: number, length: number): void {
    const last = this.ranges.at(-1)
    if (last !== undefined && last.file === undefined && last.start + last.length === start) {
      this.ranges[this.ranges.length - 1] = { ...last, length: last.length + length }
    } else this.ranges.push({ start, length, position: 0 })
  }
}
