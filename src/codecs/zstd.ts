/**
 * Zstandard (RFC 8878): one frame a block, with its content size and without a checksum, by Node's own zlib.
 *
 * A decoder inside a kernel allocates its window by the block size, so no frame may ask for more: the window
 * log is set to that of the block, and a frame that fits in one segment has a window as large as its content.
 *
 * Output room for the whole result lets libzstd compress in one pass, straight from the block to the result, and the
 * bytes do not depend on the size of the pieces. A new context for every block costs 7 % at level 3 with blocks of
 * 128 KiB, so one is kept (see `keptContext`).
 */
import { constants, createZstdCompress, zstdCompressSync } from 'node:zlib'
import type { Codec, CodecSpec } from './codec.ts'
import { releasing } from './release.ts'

/** ZSTD_WINDOWLOG_MIN: smaller windows do not exist. */
const SMALLEST_WINDOW_LOG = 10

/** What Node's zlib streams have inside (lib/zlib.js, `processChunkSync`); not documented. */
export interface InnerStream {
  readonly _handle?: {
    writeSync?(
      flush: number,
      input: Uint8Array,
      inputAt: number,
      inputLength: number,
      output: Uint8Array,
      outputAt: number,
      room: number,
    ): void
  }
  /** Room left in the output, and input left. */
  readonly _writeState?: Uint32Array
}

/** Open at `spec.level` 1 to 22. A result is gone with the next call. */
export function openZstd(spec: CodecSpec, blockSize: number): Codec {
  const params = {
    [constants.ZSTD_c_compressionLevel]: spec.level ?? 19,
    [constants.ZSTD_c_windowLog]: Math.max(SMALLEST_WINDOW_LOG, Math.log2(blockSize)),
    [constants.ZSTD_c_contentSizeFlag]: 1,
    [constants.ZSTD_c_checksumFlag]: 0,
  }
  const oneShot = releasing(compressBound, (block, chunkSize) => zstdCompressSync(block, { params, chunkSize }))
  return { spec, blockSize, compress: keptContext(params, blockSize, oneShot) ?? oneShot }
}

type Compress = (block: Uint8Array) => Uint8Array

/**
 * The compressor inside one stream of Node, called block by block: libzstd begins a new frame after each end. Undefined
 * where Node has no such inside, or it does not make the bytes of the documented call.
 */
function keptContext(params: Record<number, number>, blockSize: number, oneShot: Compress): Compress | undefined {
  const { _handle: handle, _writeState: state } = createZstdCompress({ params }) as unknown as InnerStream
  if (typeof handle?.writeSync !== 'function' || !(state instanceof Uint32Array)) return undefined
  const output = Buffer.allocUnsafeSlow(compressBound(blockSize))
  const compress = (block: Uint8Array): Uint8Array => {
    // Node leaves the state as it is when libzstd fails.
    state.fill(0xffffffff)
    handle.writeSync?.(constants.ZSTD_e_end, block, 0, block.length, output, 0, output.length)
    const [roomLeft = 0, inputLeft = 1] = state
    if (inputLeft !== 0 || roomLeft === 0 || roomLeft > output.length)
      throw new Error(`zstd: a block of ${block.length} bytes was not compressed`)
    return output.subarray(0, output.length - roomLeft)
  }
  const probe = Buffer.alloc(Math.min(blockSize, 4096), 'a block to compare')
  try {
    for (let length = probe.length; length > 0; length >>= 4) {
      const block = probe.subarray(0, length)
      if (Buffer.compare(oneShot(block), compress(block)) !== 0) return undefined
    }
  } catch {
    return undefined
  }
  return compress
}

/** ZSTD_COMPRESSBOUND of libzstd, and a little more, so that a full buffer never looks like one that was too small. */
export function compressBound(length: number): number {
  const small = 128 * 1024
  return length + (length >> 8) + (length < small ? (small - length) >> 11 : 0) + 64
}
