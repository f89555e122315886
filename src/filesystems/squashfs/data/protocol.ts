/**
 * What is said of files that are read and blocks that are compressed. File bytes and compressed blocks never
 * travel in messages: both lie in two shared pools of slots, and messages name places in them.
 */
import type { CodecSpec } from '../../../codecs/codec.ts'
import type { Parts } from '../../../data/segments.ts'
import type { StreamPart, StreamPartResult } from '../../../data/stream-reader.ts'
import type { SlotWrite } from '../../../data/write-slots.ts'

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

/** Read a part of a stream into an input slot. */
export interface ReadTask extends StreamPart {
  readonly kind: 'read'
  readonly slot: number
}

/** Compare parts of files with what lies in an input slot. */
export interface CompareTask extends Parts {
  readonly kind: 'compare'
  readonly slot: number
}

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

/** Write compressed blocks to a file. */
export interface WriteTask extends SlotWrite {
  readonly kind: 'write'
}

export type Task = ReadTask | CompareTask | CompressTask | WriteTask

export interface ReadResult extends StreamPartResult {
  readonly kind: 'read'
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
