/**
 * A virtual disk whose bytes lie scattered over a file, as an image. The tables that say where are read twice: once
 * to know the extents, and again, piece by piece, when an extent is read. So neither tables nor data are held.
 */
import { ImageError } from '../errors.ts'
import type { Extent, Image } from './image.ts'
import type { RandomAccessSource } from './source.ts'

/** A run of bytes of the disk that lies in one run of the file. */
export interface Piece {
  /** Of the disk. */
  readonly start: number
  /** Of the disk; for a packed piece what it unpacks to. */
  readonly length: number
  /** Of the file. */
  readonly position: number
  /** Bytes in the file, for a piece that is compressed. */
  readonly packedLength?: number
}

export interface PieceMap {
  /** The format, for messages. */
  readonly what: string
  /** Bytes of the disk; the last piece may reach beyond. */
  readonly size: number
  /**
   * The pieces that touch the bytes from `from` to `end`, ascending and without overlap, checked against the file.
   * A group ends where a table was read on; what no piece covers is zero.
   */
  pieces(from: number, end: number): AsyncIterable<readonly Piece[]>
  /** Exactly `piece.length` bytes; throws BAD_INPUT. Only for maps with packed pieces. */
  readonly unpack?: (packed: Uint8Array, piece: Piece) => Uint8Array
  /** Whether a file may end within the last block, as if zeros followed. */
  readonly mayEndEarly?: boolean
}

/** Bytes that are read at a time. */
const CHUNK_SIZE = 1 << 20

/** So many extents are kept apart; above that, those with small gaps between them become one, and the gaps read as zeros. */
const EXTENT_LIMIT = 1 << 17

const ZEROS = new Uint8Array(CHUNK_SIZE)

/** The image that `map` describes. Reads all tables, no data. Throws what `map.pieces` throws. */
export async function mappedImage(source: RandomAccessSource, map: PieceMap): Promise<Image> {
  const runs = new Runs()
  for await (const group of map.pieces(0, map.size)) {
    for (const piece of group) runs.add(piece.start, Math.min(piece.start + piece.length, map.size))
  }
  return { size: map.size, extents: runs.list().map(({ start, end }) => mappedExtent(source, map, start, end)) }
}

interface Run {
  start: number
  end: number
}

/** Ascending runs of bytes, merged where they touch, and also over small gaps when there are too many. */
class Runs {
  #runs: Run[] = []
  #gap = 0

  add(start: number, end: number): void {
    const last = this.#runs.at(-1)
    if (last !== undefined && start - last.end <= this.#gap) {
      last.end = end
      return
    }
    this.#runs.push({ start, end })
    while (this.#runs.length > EXTENT_LIMIT) this.#widen()
  }

  list(): readonly Run[] {
    return this.#runs
  }

  #widen(): void {
    this.#gap = Math.max(512, 2 * this.#gap)
    const old = this.#runs
    this.#runs = []
    for (const { start, end } of old) this.add(start, end)
  }
}

function mappedExtent(source: RandomAccessSource, map: PieceMap, start: number, end: number): Extent {
  return {
    start,
    length: end - start,
    async *read() {
      let at = start
      for await (const group of map.pieces(start, end)) {
        for (const piece of group) {
          const from = Math.max(at, piece.start)
          const to = Math.min(end, piece.start + piece.length)
          if (to <= from) continue
          yield* zeros(from - at)
          yield* piece.packedLength === undefined
            ? plain(source, map, piece.position + from - piece.start, to - from)
            : packed(source, map, piece, from - piece.start, to - piece.start)
          at = to
        }
      }
      yield* zeros(end - at)
    },
  }
}

async function* plain(source: RandomAccessSource, map: PieceMap, position: number, length: number): AsyncGenerator<Uint8Array> {
  const present = map.mayEndEarly === true ? Math.max(0, Math.min(length, source.size - position)) : length
  for (let done = 0; done < present; done += CHUNK_SIZE) {
    yield await source.read(position + done, Math.min(CHUNK_SIZE, present - done))
  }
  yield* zeros(length - present)
}

async function* packed(source: RandomAccessSource, map: PieceMap, piece: Piece, from: number, to: number): AsyncGenerator<Uint8Array> {
  const bytes = await source.read(piece.position, piece.packedLength ?? 0)
  const block = map.unpack?.(bytes, piece)
  if (block?.length !== piece.length) {
    throw new ImageError(
      'BAD_INPUT',
      `${map.what}: the compressed block at ${piece.position} holds ${block?.length} bytes, it should be ${piece.length}`,
    )
  }
  yield block.subarray(from, to)
}

function* zeros(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, Math.min(left, ZEROS.length))
}

/** Makes groups of pieces, one piece of blocks that follow each other both on the disk and in the file. */
export class PieceList {
  readonly pieces: Piece[] = []

  add(start: number, length: number, position: number): void {
    const last = this.pieces.at(-1)
    if (last && last.packedLength === undefined && last.start + last.length === start && last.position + last.length === position) {
      this.pieces[this.pieces.length - 1] = { start: last.start, length: last.length + length, position: last.position }
    } else this.pieces.push({ start, length, position })
  }

  addPacked(start: number, length: number, position: number, packedLength: number): void {
    this.pieces.push({ start, length, position, packedLength })
  }
}
