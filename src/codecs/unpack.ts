/** Blocks back from deflate, zlib and zstd, by Node's own zlib: at most so many bytes, from bytes that nobody vouches for. */
import { constants, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib'
import { ImageError } from '../errors.ts'

/** The largest window a frame may ask a decoder for, 8 MiB: what zstd says that decoders should allow (RFC 8878, 3.1.1.1.2). */
const ZSTD_WINDOW_LOG_LIMIT = 23

/** A raw deflate stream (RFC 1951) with such a window; bytes after its end are left alone. */
export function unpackRawDeflate(packed: Uint8Array, limit: number, windowBits: number, what: string): Uint8Array {
  return checked(what, () => inflateRawSync(packed, { windowBits, maxOutputLength: limit, chunkSize: roomFor(limit) }))
}

/** A zlib stream (RFC 1950); bytes after its end are left alone. */
export function unpackZlib(packed: Uint8Array, limit: number, what: string): Uint8Array {
  return checked(what, () => inflateSync(packed, { maxOutputLength: limit, chunkSize: roomFor(limit) }))
}

/** One Zstandard frame (RFC 8878); bytes after its end are left alone. */
export function unpackZstd(packed: Uint8Array, limit: number, what: string): Uint8Array {
  const params = { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_LIMIT }
  return checked(what, () =>
    zstdDecompressSync(packed.subarray(0, zstdFrameSize(packed)), { params, maxOutputLength: limit, chunkSize: roomFor(limit) }),
  )
}

/** Node takes no chunks of less than 64 bytes. */
function roomFor(limit: number): number {
  return Math.max(64, limit)
}

function checked(what: string, run: () => Uint8Array): Uint8Array {
  try {
    return run()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new ImageError('BAD_INPUT', `${what}: cannot be decompressed (${why}); the file is damaged`, { cause })
  }
}

/** Bytes of the frame that `bytes` begin with, from the headers of its blocks (RFC 8878, 3.1.1.1 and 3.1.1.2). */
function zstdFrameSize(bytes: Uint8Array): number {
  const descriptor = bytes[4] ?? 0
  const isSingleSegment = (descriptor & 0x20) !== 0
  const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0
  let at = 5 + (isSingleSegment ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] ?? 0) + contentSizeBytes
  for (let isLast = false; !isLast; ) {
    const [low, middle, high] = bytes.subarray(at, at + 3)
    if (low === undefined || middle === undefined || high === undefined) throw new RangeError('the frame has no end')
    const blockSize = (low | (middle << 8) | (high << 16)) >>> 3
    isLast = (low & 1) !== 0
    // An RLE block holds one byte.
    at += 3 + (((low >> 1) & 3) === 1 ? 1 : blockSize)
  }
  return at + ((descriptor & 4) === 0 ? 0 : 4)
}
