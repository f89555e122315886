/** Streams cut into read tasks of bounded size, each of which one thread reads after the one before. */
import type { FileNode } from '../tree/tree.ts'
import { patchedText, placeText } from './patched-text.ts'
import { type Parts, SEGMENT_FIELDS, Segment, SegmentFlag, SegmentKind } from './segments.ts'
import type { Stream } from './streams.ts'

/** A read task without what it gets when it is sent, such as a slot. */
export interface PlannedRead extends Parts {
  /** Of the segments that are more than framing, in their order. */
  readonly files: readonly FileNode[]
  readonly last: boolean
}

/** Tasks stay small: what is known of every part waits in memory until it is placed, a task a slot. */
const MOST_SEGMENTS = 1024
const MOST_TEXT = 1 << 20

export interface ReadPlan {
  /** Bytes of contents that one read takes at most; no less than any block. */
  readonly roomSize: number
  /** A file that does not fit is cut at multiples of this. */
  readonly blockSize: (file: FileNode) => number
  /** Bytes of the room that a part of so many bytes takes; default: as many. */
  readonly spaceOf?: (file: FileNode, length: number) => number
  /** For which files an identity (SHA-256) is wanted; default: none. */
  readonly identify?: (file: FileNode) => boolean
}

/**
 * Cut a stream into reads whose contents lie one after the other in `roomSize` bytes. Files below a block are never cut;
 * larger ones are cut at multiples of the block size.
 */
export function* planReads(stream: Stream, plan: ReadPlan): Generator<PlannedRead> {
  const { roomSize, spaceOf = (_file, length) => length, identify = () => false } = plan
  const draft = new ReadDraft()
  let used = 0
  for (const piece of stream.pieces()) {
    if (piece instanceof Uint8Array) {
      if (draft.isFull(piece.length)) {
        yield draft.finish(false)
        used = 0
      }
      draft.addFraming(piece)
      continue
    }
    const blockSize = plan.blockSize(piece)
    const fitting = (left: number): number => {
      if (spaceOf(piece, left) <= roomSize - used) return left
      const room = roomSize - used
      return left < blockSize ? 0 : room - (room % blockSize)
    }
    for (let offset = 0; ; ) {
      const left = piece.size - offset
      let length = fitting(left)
      if ((length === 0 && left > 0) || draft.isFull(0)) {
        yield draft.finish(false)
        used = 0
        length = fitting(left)
      }
      draft.addPart(piece, offset, length, { place: used, identify: identify(piece) })
      used += spaceOf(piece, length)
      offset += length
      if (offset >= piece.size) break
    }
  }
  yield draft.finish(true)
}

export interface PartOptions {
  /** Where it goes, see `Segment`. */
  readonly place: number
  /** Whether an identity (SHA-256) of the whole file is wanted, with its first part. */
  readonly identify?: boolean
}

/** One read task after the other in the making, in memory that is used again. */
export class ReadDraft {
  #segments = new Float64Array(64 * SEGMENT_FIELDS)
  #segmentsLength = 0
  #text = Buffer.allocUnsafeSlow(4096)
  #textLength = 0
  /** Of the text, bytes of framing since the last part. */
  #framing = 0
  #files: FileNode[] = []

  /** Whether the task has to be finished before a part is added, or framing of `textLength` bytes. */
  isFull(textLength: number): boolean {
    if (this.#textLength === 0) return false
    return this.#segmentsLength >= MOST_SEGMENTS * SEGMENT_FIELDS || this.#textLength + textLength > MOST_TEXT
  }

  addFraming(bytes: Uint8Array): void {
    this.#addText(bytes)
    this.#framing += bytes.length
  }

  /** Parts of a file come in order, from its first byte to its last. */
  addPart(file: FileNode, fileOffset: number, length: number, { place, identify = false }: PartOptions): void {
    const isFirst = fileOffset === 0
    const isLast = fileOffset + length === file.size
    const isAsked = isFirst && identify && file.content.kind !== 'bytes'
    // For an identity the whole file is read, whatever part this is.
    const text = isAsked ? partText(file, 0, file.size) : partText(file, fileOffset, length)
    const flags = (isFirst ? SegmentFlag.first : 0) | (isLast ? SegmentFlag.last : 0) | (isAsked ? SegmentFlag.identify : 0)
    this.#addText(text)
    const at = this.#addSegment(segmentKind(file))
    const segments = this.#segments
    segments[at + Segment.textLength] = text.length
    segments[at + Segment.fileOffset] = fileOffset
    segments[at + Segment.length] = length
    segments[at + Segment.place] = place
    segments[at + Segment.flags] = flags
    segments[at + Segment.fileSize] = file.size
    this.#files.push(file)
  }

  /** The task; the next one begins empty. */
  finish(last: boolean): PlannedRead {
    if (this.#framing > 0) this.#addSegment(SegmentKind.none)
    const read = {
      segments: this.#segments.slice(0, this.#segmentsLength),
      text: new Uint8Array(this.#text.subarray(0, this.#textLength)),
      files: this.#files,
      last,
    }
    this.#segmentsLength = 0
    this.#textLength = 0
    this.#files = []
    return read
  }

  /** Returns where its numbers begin, of which those behind the kind are 0. */
  #addSegment(kind: number): number {
    if (this.#segmentsLength === this.#segments.length) {
      const larger = new Float64Array(2 * this.#segments.length)
      larger.set(this.#segments)
      this.#segments = larger
    }
    const at = this.#segmentsLength
    this.#segments.fill(0, at, at + SEGMENT_FIELDS)
    this.#segments[at + Segment.framingLength] = this.#framing
    this.#segments[at + Segment.kind] = kind
    this.#segmentsLength += SEGMENT_FIELDS
    this.#framing = 0
    return at
  }

  #addText(bytes: Uint8Array): void {
    const end = this.#textLength + bytes.length
    if (end > this.#text.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#text.length, end))
      larger.set(this.#text.subarray(0, this.#textLength))
      this.#text = larger
    }
    this.#text.set(bytes, this.#textLength)
    this.#textLength = end
  }
}

function segmentKind({ content }: FileNode): number {
  if (content.kind === 'bytes') return SegmentKind.inline
  return content.kind === 'patched' ? SegmentKind.patched : SegmentKind.hostFile
}

function partText(file: FileNode, offset: number, length: number): Uint8Array {
  switch (file.content.kind) {
    case 'bytes':
      return file.content.bytes.subarray(offset, offset + length)
    case 'hostFile':
      return placeText(file.content)
    case 'patched':
      return patchedText(file.content, offset, length)
    case 'image':
      throw new RangeError('an image as content cannot be read by a thread')
  }
}
