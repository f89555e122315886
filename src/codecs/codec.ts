/** Block codecs: one block in, one self-contained compressed block out. */

export type CodecName = 'gzip' | 'zstd' | 'xz' | 'lz4' | 'none'

/** A codec and its level; the level is undefined for codecs that have none (`none`, `lz4` without high compression). */
export interface CodecSpec {
  readonly name: CodecName
  readonly level?: number
}

/**
 * A codec opened for blocks of at most `blockSize` bytes: a decoder that allocates its window by the
 * block size (the kernel's squashfs does) can decode what it makes.
 */
export interface Codec {
  readonly spec: CodecSpec
  readonly blockSize: number
  /**
   * Compress one block of 1 to `blockSize` bytes, synchronously (codecs run in worker threads).
   * The result may be larger than the input; it is valid until the next call, which overwrites or detaches its memory. But it
   * is the caller's where it lies at the beginning of `place`: codecs that can make it there do, where there is room enough,
   * and may write over all of `place`.
   */
  compress(block: Uint8Array, place?: Uint8Array): Uint8Array
}
