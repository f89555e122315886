/**
 * Zstandard (RFC 8878): one frame a block, with its content size and without a checksum, by Node's own zlib.
 *
 * A decoder inside a kernel allocates its window by the block size, so no frame may ask for more: the window
 * log is set to that of the block, and a frame that fits in one segment has a window as large as its content.
 *
 * Output room for the whole result lets libzstd compress in one pass, straight from the block to the result, and the
 * bytes do not depend on the size of the pieces. A new context for every block costs 7 % at level 3 with blocks of
 * 128 KiB, so one is kept (`kept-context.ts`).
 */
import { constants, createZstdCompress, zstdCompressSync } from 'node:zlib'
import type { Codec, CodecSpec } from './codec.ts'
import { keptContext } from './kept-context.ts'
import { releasing } from './release.ts'

/** ZSTD_WINDOWLOG_MIN: smaller windows do not exist. */
const SMALLEST_WINDOW_LOG = 10

/** Open at `spec.level` 1 to 22. A result is gone with the next call. */
export function openZstd(spec: CodecSpec, blockSize: number): Codec {
  const params = {
    [constants.ZSTD_c_compressionLevel]: spec.level ?? 19,
    [constants.ZSTD_c_windowLog]: Math.max(SMALLEST_WINDOW_LOG, Math.log2(blockSize)),
    [constants.ZSTD_c_contentSizeFlag]: 1,
    [constants.ZSTD_c_checksumFlag]: 0,
  }
  const oneShot = releasing(compressBound, (block, chunkSize) => zstdCompressSync(block, { params, chunkSize }))
  // libzstd begins a new frame after each end.
  const kept = { name: 'zstd', blockSize, room: compressBound(blockSize), end: constants.ZSTD_e_end, resets: false, oneShot }
  return { spec, blockSize, compress: keptContext(createZstdCompress({ params }), kept) ?? oneShot }
}

/** ZSTD_COMPRESSBOUND of libzstd, and a little more, so that a full buffer never looks like one that was too small. */
export function compressBound(length: number): number {
  const small = 128 * 1024
  return length + (length >> 8) + (length < small ? (small - length) >> 11 : 0) + 64
}
