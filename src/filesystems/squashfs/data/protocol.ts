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

/** Parts of files, in the order of a stream. */
interface Parts {
  readonly slot: number
  /** `SEGMENT_FIELDS` numbers a segment, see `Segment`. */
  readonly segments: Float64Array<ArrayBuffer>
  /** Of each segment its framing bytes, and the inline content or host path. */
  readonly text: Uint8Array<ArrayBuffer>
}

/**
 * Read a part of a stream of pieces into an input slot. A stream is hashed as a whole, so all its tasks
 * go to one worker, in order.
 */
export interface ReadTask extends Parts {
  readonly kind: 'read'
  readonly stream: number
  /** Whether the stream's bytes are hashed. */
  readonly hashed: boolean
  /** The last task of its stream: answer with the stream's hash. */
  readonly last: boolean
}

/** Compare parts of files with what lies in an input slot. */
export interface CompareTask extends Parts {
  readonly kind: 'compare'
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
  /** Where in the slot it goes. */
  slotOffset: 5,
  flags: 6,
  /** Bytes of the whole file. */
  fileSize: 7,
} as const

export const SegmentKind = {
  /** Framing alone. */
  none: 0,
  /** The text is the content. */
  inline: 1,
  /** The text is the path of a host file. */
  hostFile: 2,
  /** The text is a path with patches, see `patchedText`. */
  patched: 3,
} as const

export const SegmentFlag = {
  first: 1,
  last: 2,
  /** Answer with the SHA-256 of the whole file, with its first segment. */
  identify: 4,
} as const

/** Compress blocks, each of at most `blockSize` bytes. */
export interface CompressTask {
  readonly kind: 'compress'
  /** `RUN_FIELDS` numbers a run of bytes in an input slot, see `Run`; a block is made of one or more. */
  readonly runs: Int32Array<ArrayBuffer>
  readonly outputSlot: number
}

export const RUN_FIELDS = 4
export const Run = {
  slot: 0,
  offset: 1,
  length: 2,
  /** One of `RunFlag`. */
  flag: 3,
} as const

export const RunFlag = {
  /** The block goes on with the next run. */
  more: 0,
  /** It ends here. */
  last: 1,
  /** It ends here, and is left out when it is all zeros: a block of a file, not a fragment. */
  lastSparse: 2,
} as const

/** Write compressed blocks to a file, one slot after the other. */
export interface WriteTask {
  readonly kind: 'write'
  readonly descriptor: number
  /** The file in errors. */
  readonly label: string
  readonly position: number
  /** Output slot and bytes in it, in turn. */
  readonly slots: readonly number[]
}

export type Task = ReadTask | CompareTask | CompressTask | WriteTask

export interface ReadResult {
  readonly kind: 'read'
  /** 32 bytes a segment that was flagged `identify` and `first`, in order. */
  readonly identities: Uint8Array<ArrayBuffer>
  /** With the last task of a hashed stream. */
  readonly digest?: Uint8Array<ArrayBuffer>
}

export interface CompareResult {
  readonly kind: 'compare'
  /** The first part that is different, or -1. */
  readonly different: number
}

export interface CompressResult {
  readonly kind: 'compress'
  /** One size word a block, as the format has it: bit 24 = stored as it is, 0 = zeros. */
  readonly words: Uint32Array<ArrayBuffer>
  /** Bytes in the output slot. */
  readonly length: number
}

export interface WriteResult {
  readonly kind: 'write'
}

export type Result = ReadResult | CompareResult | CompressResult | WriteResult
