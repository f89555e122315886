/**
 * What the compressor of blocks and its worker threads say to each other. Blocks do not travel in messages: they lie
 * in two shared pools of slots, one slot of each a batch.
 */
import type { ErrorCode } from '../../errors.ts'
import type { CodecSpec } from '../codec.ts'
import type { DeflateSpec } from '../deflate.ts'

/** A codec with a level of its own choosing, or deflate with the window and framing of the format. */
export type BlockCodec = CodecSpec | ({ readonly name: 'deflate' } & DeflateSpec)

export interface BlockWorkerSetup {
  readonly codec: BlockCodec
  readonly blockSize: number
  /** Bytes of an input slot. */
  readonly inputSlotSize: number
  readonly outputSlotSize: number
  readonly input: SharedArrayBuffer
  readonly output: SharedArrayBuffer
  /** Whether a block that does not become smaller is kept as it is. */
  readonly storeIncompressible: boolean
  /** One 32-bit word; when it is not 0 nobody wants results any more. */
  readonly stopFlag: SharedArrayBuffer
}

export interface BatchTask {
  readonly kind: 'batch'
  readonly id: number
  readonly slot: number
  readonly blockCount: number
}

/** No task comes after this one: end the thread. */
export interface StopTask {
  readonly kind: 'stop'
}

export interface BatchResult {
  readonly kind: 'batch'
  readonly id: number
  /** A block: 0 all zeros, above 0 its compressed length, `STORED` as it is. */
  readonly lengths: Int32Array<ArrayBuffer>
}

export const STORED = -1

export interface BatchFailure {
  readonly kind: 'failure'
  readonly code: ErrorCode
  readonly message: string
}

/** Room that the result of one block may take in an output slot, compressible or not. */
export function blockRoom(blockSize: number): number {
  return blockSize + (blockSize >> 7) + 256
}
