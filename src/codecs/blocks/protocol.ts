/**
 * What the main thread and its worker threads say to each other. Blocks do not travel in messages: they lie in two shared
 * pools of slots, one slot of each a batch.
 */
import type { ErrorCode } from '../../errors.ts'
import type { CodecSpec } from '../codec.ts'
import type { DeflateSpec } from '../deflate.ts'

/** What a thread of a pool is started with. */
export interface WorkerSetup {
  /** For the worker's own file. */
  readonly setup: object
  /** One 32-bit word; when it is not 0 nobody wants results any more. */
  readonly stopFlag: SharedArrayBuffer
}

/** After `stop` no batch comes: end the thread. */
export type ToWorker<Batch> = { readonly kind: 'batch'; readonly id: number; readonly batch: Batch } | { readonly kind: 'stop' }

export type FromWorker<Result> =
  | { readonly kind: 'batch'; readonly id: number; readonly result: Result }
  | { readonly kind: 'failure'; readonly code: ErrorCode; readonly message: string }

/** A codec with a level of its own choosing, or deflate with the window and framing of the format. */
export type BlockCodec = CodecSpec | ({ readonly name: 'deflate' } & DeflateSpec)

/** For compressing the blocks of an image, which are of one size. */
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
}

export interface BlockBatch {
  readonly slot: number
  readonly blockCount: number
}

/** A block: 0 all zeros, above 0 its compressed length, `STORED` as it is. */
export type BlockLengths = Int32Array<ArrayBuffer>

export const STORED = -1

/** Room that the result of one block may take in an output slot, compressible or not. */
export function blockRoom(blockSize: number): number {
  return blockSize + (blockSize >> 7) + 256
}
