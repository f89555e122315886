/**
 * What is said of files that are read and blocks that are compressed. File bytes and compressed blocks never
 * travel in messages: both lie in two shared pools of slots, and messages name places in them.
 */
import type { CodecSpec } from '../../../codecs/codec.ts'
import type { SlotSetup } from '../../../data/slot-work.ts'

/** Bytes of an input slot: twice the largest block. A slot holds whole small files, or whole blocks of a large one. */
export const INPUT_SLOT_SIZE = 2 << 20

/** Bytes of an output slot, and the most that one compress task takes: the largest block. */
export const OUTPUT_SLOT_SIZE = 1 << 20

export interface WorkSetup extends SlotSetup {
  readonly codec: CodecSpec
  readonly blockSize: number
}

/** Compress blocks, each of at most `blockSize` bytes. */
export interface CompressTask {
  readonly kind: 'job'
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

export interface CompressResult {
  readonly kind: 'job'
  /** One size word a block, as the format has it: bit 24 = stored as it is, 0 = zeros. */
  readonly words: Uint32Array<ArrayBuffer>
  /** Bytes in the output slot. */
  readonly length: number
}
