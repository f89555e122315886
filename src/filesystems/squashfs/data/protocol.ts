/**
 * What is said of files that are read and blocks that are compressed. File bytes and compressed blocks never
 * travel in messages: both lie in two shared pools of slots, and messages name places in them.
 */
import type { CodecSpec } from '../../../codecs/codec.ts'

/** Bytes of an input slot: twice the largest block. A slot holds whole small files, or whole blocks of a large one. */
export const INPUT_SLOT_SIZE = 2 << 20

/** Bytes of an output slot, and the most that one compress task takes: the largest block. */
export const OUTPUT_SLOT_SIZE = 1 << 20

/** What tasks have in common. */
export interface WorkSetup {
  readonly codec: CodecSpec
  readonly blockSize: number
  /** `INPUT_SLOT_SIZE` bytes a slot; file contents. */
  readonly inputSlots: SharedArrayBuffer
  /** `OUTPUT_SLOT_SIZE` bytes a slot; compressed blocks. */
  readonly outputSlots: SharedArrayBuffer
}

/**
 * Read a part of a stream of pieces into an input slot. A stream is hashed as a whole, so all its tasks
 * go to one worker, in order.
 */
export interface ReadTask {
  readonly kind: 'read'
  readonly stream: number
  readonly slot: number
  /** `SEGMENT_FIELDS` numbers a segment, see `Segment`. */
  readonly segments: Float64Array<ArrayBuffer>
  /** Framing bytes, inline contents and host paths that segments point into. */
  readonly text: Uint8Array<ArrayBuffer>
  /** Whether the stream's bytes are hashed. */
  readonly hashed: boolean
  /** The last task of its stream: answer with the stream's hash. */
  readonly last: boolean
}

/** Numbers of a segment in `ReadTask.segments`, in this order. */
export const SEGMENT_FIELDS = 7
export const Segment = {
  /** One of `SegmentKind`. */
  kind: 0,
  textStart: 1,
  textLength: 2,
  /** Where in the file this part begins. */
  fileOffset: 3,
  /** Bytes of this part, 0 for framing. */
  length: 4,
  /** Where in the slot it goes. */
  slotOffset: 5,
  flags: 6,
} as const

export const SegmentKind = {
  /** `text` is hashed and goes nowhere. */
  framing: 0,
  /** `text` is the content. */
  inline: 1,
  /** `text` is the path of a host file. */
  hostFile: 2,
  /** `text` is a path with patches, see `patchedText`. */
  patched: 3,
} as const

export const SegmentFlag = {
  first: 1,
  last: 2,
  /** Answer with the SHA-256 of the whole file, with its first segment. */
  identify: 4,
} as const

/** A run of bytes in an input slot. */
export interface Piece {
  readonly slot: number
  readonly offset: number
  readonly length: number
}

/** Compress blocks, each of at most `blockSize` bytes. */
export interface CompressTask {
  readonly kind: 'compress'
  readonly blocks: readonly Piece[]
  readonly outputSlot: number
  /** Whether a block of zeros may be left out (data blocks may, fragments may not). */
  readonly sparse: boolean
}

export type Task = ReadTask | CompressTask

export interface ReadResult {
  readonly kind: 'read'
  /** 32 bytes a segment that was flagged `identify` and `first`, in order. */
  readonly identities: Uint8Array<ArrayBuffer>
  /** With the last task of a hashed stream. */
  readonly digest?: Uint8Array<ArrayBuffer>
}

export interface CompressResult {
  readonly kind: 'compress'
  /** One size word a block, as the format has it: bit 24 = stored as it is, 0 = zeros. */
  readonly words: Uint32Array<ArrayBuffer>
  /** Bytes in the output slot. */
  readonly length: number
}

export type Result = ReadResult | CompressResult
