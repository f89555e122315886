/** What is said of the blocks of a stream. Contents lie in shared memory; results, which fill their buffer, are moved. */
import type { CodecSpec } from '../codec.ts'
import type { EncoderSetup } from './format.ts'

export interface StreamSetup {
  readonly codec: CodecSpec
  readonly encoder: EncoderSetup
  /** Slots of `slotSize` bytes, each with room for history and a block. */
  readonly slots: SharedArrayBuffer
}

/** A block in the shared slots; `historyLength` bytes lie right before it. */
export interface BlockTask {
  readonly start: number
  readonly length: number
  readonly historyLength: number
  readonly isLast: boolean
}
