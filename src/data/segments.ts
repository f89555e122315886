/**
 * How parts of files are named in the messages that ask a thread to read them: numbers in one array and bytes in
 * another, so that a message of thousands of small files costs no more than one. What is read does not travel in messages.
 */

/** Parts of files in the order of a stream, and the bytes that are hashed between them. */
export interface Parts {
  /** `SEGMENT_FIELDS` numbers a segment, see `Segment`. */
  readonly segments: Float64Array<ArrayBuffer>
  /** Of each segment its framing bytes, and the inline content or host path. */
  readonly text: Uint8Array<ArrayBuffer>
}

/** Numbers of a segment, in this order. */
export const SEGMENT_FIELDS = 8
export const Segment = {
  /** Bytes of text before it that are hashed and go nowhere. */
  framingLength: 0,
  /** One of `SegmentKind`. */
  kind: 1,
  /** Bytes of text that it has besides. */
  textLength: 2,
  /** Where in the file this part begins. */
  fileOffset: 3,
  /** Bytes of this part. */
  length: 4,
  /** Where it goes: in a slot the first byte; else as whoever reads it has it. */
  place: 5,
  /** Of `SegmentFlag`. */
  flags: 6,
  /** Bytes of the whole file. */
  fileSize: 7,
} as const

export const SegmentKind = {
  /** Framing alone. */
  none: 0,
  /** The text is the content. */
  inline: 1,
  /** The text names a host file, or a range of one, see `placeText`. */
  hostFile: 2,
  /** The same with patches, see `patchedText`. */
  patched: 3,
} as const

export const SegmentFlag = {
  /** The file begins here: it is opened. */
  first: 1,
  /** The file ends here: it is closed. */
  last: 2,
  /** Answer with the SHA-256 of the whole file, with its first segment. */
  identify: 4,
} as const

/** A segment as whoever reads it sees it. */
export interface Part {
  readonly framing: Buffer
  readonly kind: number
  readonly text: Buffer
  readonly fileOffset: number
  readonly length: number
  readonly place: number
  readonly flags: number
  readonly fileSize: number
}

/** The segments one after the other. */
export function* partsOf({ segments, text }: Parts): Generator<Part> {
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.length)
  let textAt = 0
  const take = (length: number): Buffer => {
    textAt += length
    return bytes.subarray(textAt - length, textAt)
  }
  for (let at = 0; at < segments.length; at += SEGMENT_FIELDS) {
    const field = (index: number): number => segments[at + index] as number
    yield {
      framing: take(field(Segment.framingLength)),
      kind: field(Segment.kind),
      text: take(field(Segment.textLength)),
      fileOffset: field(Segment.fileOffset),
      length: field(Segment.length),
      place: field(Segment.place),
      flags: field(Segment.flags),
      fileSize: field(Segment.fileSize),
    }
  }
}
