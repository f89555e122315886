/** What is said of batches of blocks. They do not travel in messages: they lie in two shared pools of slots, one slot of each a batch. */
import type { CodecSpec } from '../codec.ts'
import type { DeflateSpec } from '../deflate.ts'

/** A codec with a level of its own choosing, or deflate with the window and framing of the format. */
export type BlockCodec = CodecSpec | ({ readonly name: 'deflate' } & DeflateSpec)

/** For compressing the blocks of an image, which are of one size. */
export interface BlockSetup {
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
