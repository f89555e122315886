/** Compression as ZFS has it: names of properties, framing of blocks, and when it is worth while. */
import { openDeflate } from '../../codecs/deflate.ts'
import { openCodec } from '../../codecs/open.ts'
import { ImageError } from '../../errors.ts'
import { COMPRESSION } from './constants.ts'
import { compressZle } from './zle.ts'

/** What the property `compression` says. */
export interface Compression {
  /** zio_compress.h, `enum zio_compress`. */
  readonly id: number
  /** Of zstd, 1 to 19. */
  readonly level?: number
}

const DEFAULT_GZIP_LEVEL = 6
const DEFAULT_ZSTD_LEVEL = 3

/** `on`, `off`, `lz4`, `zle`, `gzip`, `gzip-1` to `gzip-9`, `zstd`, `zstd-1` to `zstd-19`; undefined for anything else. */
export function parseCompression(text: string): Compression | undefined {
  const [, name, digits] = /^(on|off|lz4|zle|gzip|zstd)(?:-([1-9]|1[0-9]))?$/.exec(text) ?? []
  const level = digits === undefined ? undefined : Number(digits)
  switch (name) {
    case 'gzip': {
      const own = level ?? DEFAULT_GZIP_LEVEL
      return own > 9 ? undefined : { id: COMPRESSION.gzip1 + own - 1 }
    }
    case 'zstd':
      return { id: COMPRESSION.zstd, level: level ?? DEFAULT_ZSTD_LEVEL }
    case 'on':
    case 'lz4':
      return level === undefined ? { id: COMPRESSION.lz4 } : undefined
    case 'off':
    case 'zle':
      return level === undefined ? { id: COMPRESSION[name] } : undefined
    default:
      return undefined
  }
}

/**
 * The framed result of one block, at the beginning of `output`; undefined when it is not smaller than `limit` or equal to it.
 * `output` has room for the block, and may be written over.
 */
export type CompressBlock = (block: Uint8Array, limit: number, output: Uint8Array) => Uint8Array | undefined

/** What OpenZFS up to 2.4 has, and what its version field says; readers do not look at it. */
const ZSTD_VERSION = 10405
const ZSTD_MAGIC_SIZE = 4
const LENGTH_SIZE = 4
const ZSTD_HEADER_SIZE = 8

/** A compressor of blocks of up to `blockSize` bytes, a power of two (OpenZFS `module/zfs/{lz4,gzip}.c`, `module/zstd/zfs_zstd.c`). */
export async function openCompression({ id, level }: Compression, blockSize: number): Promise<CompressBlock> {
  switch (id) {
    case COMPRESSION.off:
      return () => undefined
    case COMPRESSION.lz4: {
      const codec = await openCodec({ name: 'lz4' }, blockSize)
      return (block, limit, output) => {
        const body = codec.compress(block)
        const framed = placed(body, limit, output, LENGTH_SIZE)
        if (framed !== undefined) viewOf(framed).setUint32(0, body.length)
        return framed
      }
    }
    case COMPRESSION.zstd: {
      const codec = await openCodec({ name: 'zstd', ...(level !== undefined && { level }) }, blockSize)
      return (block, limit, output) => {
        // Without its magic the frame begins where the header ends.
        const body = codec.compress(block, output.subarray(ZSTD_HEADER_SIZE - ZSTD_MAGIC_SIZE)).subarray(ZSTD_MAGIC_SIZE)
        const framed = placed(body, limit, output, ZSTD_HEADER_SIZE)
        if (framed === undefined) return undefined
        const view = viewOf(framed)
        view.setUint32(0, body.length)
        view.setUint32(LENGTH_SIZE, ZSTD_VERSION)
        view.setUint8(LENGTH_SIZE, level ?? DEFAULT_ZSTD_LEVEL)
        return framed
      }
    }
    case COMPRESSION.zle:
      return (block, limit, output) => compressZle(block, output.subarray(0, limit))
    default: {
      const deflate = openDeflate({ level: id - COMPRESSION.gzip1 + 1, windowBits: 15, isRaw: false }, blockSize)
      return (block, limit, output) => placed(deflate(block, output), limit, output, 0)
    }
  }
}

/** The body behind `header` bytes of `output`, if it is not there already; undefined when it is too long. */
function placed(body: Uint8Array, limit: number, output: Uint8Array, header: number): Uint8Array | undefined {
  const length = header + body.length
  if (length > limit) return undefined
  const isThere = body.buffer === output.buffer && body.byteOffset === output.byteOffset + header
  // Into shared memory this copies faster than `set`.
  if (!isThere) Buffer.from(body.buffer, body.byteOffset, body.length).copy(output, header)
  return output.subarray(0, length)
}

function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length)
}

/** Values of the property `compression`, in words. */
export const COMPRESSION_VALUES = 'on, off, lz4, zle, gzip[-1 to -9], zstd[-1 to -19]'

/** The value of the property `compression`. Throws USAGE for a text that is none. */
export function compressionProperty(text: string): number {
  const compression = parseCompression(text)
  if (compression === undefined) {
    throw new ImageError('USAGE', `zfs: compression '${text}' is none of ${COMPRESSION_VALUES}`)
  }
  if (text === 'on') return COMPRESSION.on
  // `ZIO_COMPLEVEL_INHERIT` is 0: plain zstd has no level of its own.
  return compression.id | (text.startsWith('zstd-') ? (compression.level ?? 0) << 7 : 0)
}
