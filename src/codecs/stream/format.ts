/**
 * What a compressed stream is made of: a head, the encoded blocks in order, an end. Encoders keep to themselves what happens
 * to one block, so that they can run in any thread; the frame is what has to see all blocks in order.
 */
import type { CodecSpec } from '../codec.ts'

export const NOTHING = new Uint8Array(0)

export interface Encoder {
  /**
   * The bytes that stand in the stream for `block`, of `blockSize` bytes unless it is the last; `history` is what comes right
   * before it. The result is gone with the next call of any encoder in this thread.
   */
  encode(block: Uint8Array, history: Uint8Array, isLast: boolean): Uint8Array
  /** Forget a stream that was begun and will not be finished. */
  reset(): void
  /** Give memory back. */
  close(): void
}

export interface Frame {
  readonly head: Uint8Array
  /** To be called for every block in order; `encoded` is the encoder's result, and what is returned stands before it. */
  add(block: Uint8Array, encoded: Uint8Array): Uint8Array
  end(): Uint8Array
}

/** What a sequential encoder is told of the one stream that it is for. */
export interface EncoderSetup {
  readonly contentSize: number
  /** Threads that it may start itself. */
  readonly jobs: number
}

export interface StreamFormat {
  readonly spec: CodecSpec
  /** Bytes of a block. */
  readonly blockSize: number
  /** Bytes before a block that its encoder looks at, 0 to `blockSize`. */
  readonly historySize: number
  /** One encoder has to get all blocks of a stream in order, at least one of them; it starts its own threads. */
  readonly isSequential: boolean
  /** Contents smaller than this many bytes are not worth a thread. */
  readonly ownThreadLimit: number
  /** Whether a thread may be ended in the middle of a block. */
  readonly isTerminable: boolean
  /** Without `setup` the encoder stays in its thread, and takes one stream after another. */
  openEncoder(setup?: EncoderSetup): Promise<Encoder>
  startFrame(): Frame
  /** No stream of `contentSize` bytes is larger than this. */
  sizeLimit(contentSize: number): number
}
