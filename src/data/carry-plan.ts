/** The files of a digest cut into tasks, each of which says where in the output what it reads belongs. */
import { alignUp } from '../bytes/align.ts'
import type { CarriedPart } from '../io/image.ts'
import type { FileNode, TreeDigest } from '../tree/tree.ts'
import { VerifiedFile } from '../tree/verified.ts'
import { type CarryTask, ROOM_SIZE, RUN_FIELDS } from './carry-protocol.ts'
import { ReadDraft } from './reads.ts'

/** A task without what it gets when it is sent. */
export interface PlannedCarry extends Pick<CarryTask, 'segments' | 'text' | 'runs' | 'last'> {
  /** Bytes of the output that are as they should be when it is done, with the zeros behind files. */
  readonly outputSize: number
  /** Where the first part begins that a later task writes to, or this one does not end; infinite with the last. */
  readonly settled: number
}

/** Rooms that a task fills one after the other: a message for each would cost more than what is done with them. */
const ROOMS = 8

/** Files are cut at whole blocks of the output's own file system, and gaps of more than that would be holes there. */
const BLOCK_SIZE = 4096

/** Up to this size a file is not cut. */
const WHOLE_SIZE = 128 << 10

/**
 * Cut a digest into tasks that one thread does in order. Each file is read once, whether parts of it belong somewhere or
 * not, since all are hashed. Throws RangeError for parts of files that the digest does not have.
 */
export function* planCarrying(digest: TreeDigest, parts: readonly CarriedPart[]): Generator<PlannedCarry> {
  const places = placesByFile(parts)
  /** Files of which all was added, and the first part that is of another. */
  const added = new Set<FileNode>()
  let firstOpen = 0
  const settled = (): number => {
    for (let part = parts[firstOpen]; part !== undefined && added.has(fileOf(part)); part = parts[firstOpen]) firstOpen++
    return parts[firstOpen]?.start ?? Number.POSITIVE_INFINITY
  }
  const draft = new CarryDraft()
  for (const piece of digest.pieces()) {
    if (piece instanceof Uint8Array) {
      if (draft.isFull(piece.length)) yield { ...draft.finish(false), settled: settled() }
      draft.addFraming(piece)
      continue
    }
    const stretches = stretchesOf(piece, places.get(piece) ?? [])
    // One that stands in the digest twice is written once.
    places.delete(piece)
    for (let stretch = stretches.next().value; stretch !== undefined; ) {
      const count = draft.fitting(stretch)
      if (count === 0) yield { ...draft.finish(false), settled: settled() }
      else draft.add(piece, stretch, count)
      stretch = count < stretch.length ? behind(stretch, count) : stretches.next().value
    }
    added.add(piece)
  }
  if (places.size > 0) throw new RangeError(`${digest.name}: files are to be written that its digest lacks`)
  yield { ...draft.finish(true), settled: Number.POSITIVE_INFINITY }
}

function fileOf({ source }: CarriedPart): FileNode {
  if (!(source instanceof VerifiedFile)) throw new RangeError('a part is to be written that is of no file of a digest')
  return source.file
}

function placesByFile(parts: readonly CarriedPart[]): Map<FileNode, CarriedPart[]> {
  const places = new Map<FileNode, CarriedPart[]>()
  for (const part of parts) {
    const known = places.get(fileOf(part))
    if (known === undefined) places.set(fileOf(part), [part])
    else known.push(part)
  }
  return places
}

/** Bytes of a file that all belong to the same places: in the output they begin at `positions`. */
interface Stretch {
  readonly offset: number
  readonly length: number
  readonly positions: readonly number[]
  /** Zeros of the output behind it, at each of its places; they need not be written, but may be. */
  readonly zeros: number
}

function* stretchesOf({ size }: FileNode, parts: readonly CarriedPart[]): Generator<Stretch, undefined> {
  const [part, more] = parts
  if (part !== undefined && more === undefined && part.offset === 0 && part.length >= size) {
    yield { offset: 0, length: size, positions: [part.start], zeros: part.length - size }
    return undefined
  }
  const endOf = ({ offset, length }: CarriedPart): number => Math.min(offset + length, size)
  const bounds = new Set([0, size, ...parts.map(({ offset }) => offset), ...parts.map(endOf)])
  const sorted = [...bounds].filter((bound) => bound <= size).sort((a, b) => a - b)
  for (const [index, end] of sorted.entries()) {
    const offset = sorted[index - 1]
    if (offset === undefined) continue
    const here = parts.filter((one) => one.offset <= offset && endOf(one) >= end)
    const zeros = here.map((one) => (endOf(one) === end ? one.offset + one.length - end : 0))
    const positions = here.map(({ start, offset: from }) => start + offset - from)
    yield { offset, length: end - offset, positions, zeros: here.length === 0 ? 0 : Math.min(...zeros) }
  }
  return undefined
}

function behind({ offset, length, positions, zeros }: Stretch, count: number): Stretch {
  return { offset: offset + count, length: length - count, positions: positions.map((position) => position + count), zeros }
}

/** One task after the other in the making. */
class CarryDraft {
  readonly #draft = new ReadDraft()
  /** Bytes of the rooms that are taken. */
  #used = 0
  #runs: number[] = []
  /** Where the last run ends in the output, if what comes may be a part of it. */
  #end: number | undefined
  /** Zeros that may be written behind it. */
  #zeros = 0
  #outputSize = 0

  isFull(textLength: number): boolean {
    return this.#draft.isFull(textLength)
  }

  addFraming(bytes: Uint8Array): void {
    this.#draft.addFraming(bytes)
  }

  /** How many bytes of a stretch go into the room in hand, or the next one: all, whole blocks of a large one, or none. */
  fitting({ length, positions }: Stretch): number {
    if (this.#draft.isFull(0) || this.#used >= ROOMS * ROOM_SIZE) return 0
    const room = ROOM_SIZE - (this.#used % ROOM_SIZE) - (this.#gapBefore(positions) ?? 0)
    if (length <= room) return length
    if (length > WHOLE_SIZE && room >= BLOCK_SIZE) return room - (room % BLOCK_SIZE)
    if (this.#used > (ROOMS - 1) * ROOM_SIZE) return 0
    this.#used = alignUp(this.#used, ROOM_SIZE)
    this.#end = undefined
    return Math.min(length, ROOM_SIZE)
  }

  /** Add the first `count` bytes of a stretch. */
  add(file: FileNode, { offset, length, positions, zeros }: Stretch, count: number): void {
    const gap = this.#gapBefore(positions)
    const place = this.#used + (gap ?? 0)
    this.#draft.addPart(file, offset, count, { place })
    if (gap === undefined) for (const position of positions) this.#runs.push(place, count, position)
    else this.#runs[this.#runs.length - RUN_FIELDS + 1] = place + count - (this.#runs.at(-RUN_FIELDS) as number)
    const [position, more] = positions
    this.#used = place + count
    const isFull = this.#used % ROOM_SIZE === 0
    this.#end = position === undefined || more !== undefined || isFull ? undefined : position + count
    this.#zeros = count === length ? zeros : 0
    this.#outputSize += (count + this.#zeros) * positions.length
  }

  /** The task; the next one begins empty. */
  finish(last: boolean): Omit<PlannedCarry, 'settled'> {
    const { segments, text } = this.#draft.finish(last)
    const carry = { segments, text, runs: Float64Array.from(this.#runs), outputSize: this.#outputSize, last }
    this.#used = 0
    this.#runs = []
    this.#end = undefined
    this.#zeros = 0
    this.#outputSize = 0
    return carry
  }

  /** Bytes between the last run and what comes, where both are one write; undefined where they are not. */
  #gapBefore([position, more]: readonly number[]): number | undefined {
    if (position === undefined || more !== undefined || this.#end === undefined) return undefined
    const gap = position - this.#end
    return gap >= 0 && gap <= this.#zeros && gap < BLOCK_SIZE ? gap : undefined
  }
}
