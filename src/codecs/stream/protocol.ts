/** What the caller's thread and the worker threads say to each other. Contents lie in shared memory, results are moved. */

import type { ErrorCode } from '../../errors.ts'
import type { CodecSpec } from '../codec.ts'
import type { EncoderSetup } from './format.ts'

export interface WorkerSetup {
  readonly codec: CodecSpec
  readonly encoder: EncoderSetup
  /** Slots of `slotSize` bytes, each with room for history and a block. */
  readonly slots: SharedArrayBuffer
  /** Its first word is not 0 when no result is wanted any more. */
  readonly stopFlag: SharedArrayBuffer
}

/** A block in the shared slots; `historyLength` bytes lie right before it. */
export interface BlockTask {
  readonly kind: 'block'
  readonly start: number
  readonly length: number
  readonly historyLength: number
  readonly isLast: boolean
}

export type Task = BlockTask | { readonly kind: 'stop' }

/** Answers come in the order of the tasks. */
export type Result =
  | { readonly kind: 'encoded'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'failure'; readonly code: ErrorCode; readonly message: string }
