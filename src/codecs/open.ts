/**
 * Opens a codec for blocks of one size.
 *
 * Not supported: lzo and lzma1 (squashfs ids 2 and 3), dictionaries, BCJ filters of xz, LZ4 levels other than `lz4` and `lz4:hc`.
 */
import { ImageError } from '../errors.ts'
import type { Codec, CodecSpec } from './codec.ts'
import { openGzip } from './gzip.ts'
import { openLz4 } from './lz4.ts'
import { checkCodecSpec } from './spec.ts'
import { openXz } from './xz.ts'
import { openZstd } from './zstd.ts'

export { formatCodecSpec, parseCodecSpec } from './spec.ts'

/** Smallest and largest block, in bytes: from a disk sector to the largest record of ZFS. */
export const BLOCK_SIZE_LIMITS = { minimum: 512, maximum: 16 * 1024 * 1024 } as const

/**
 * Open a codec. Two codecs with the same spec and block size make the same bytes of the same block, in any
 * thread, whatever they compressed before.
 *
 * @param blockSize bytes: a power of two, 512 to 16 MiB.
 * @throws ImageError USAGE for a level or block size out of range, UNSUPPORTED for xz without its optional package.
 */
export async function openCodec(spec: CodecSpec, blockSize: number): Promise<Codec> {
  const checked = checkCodecSpec(spec)
  const { minimum, maximum } = BLOCK_SIZE_LIMITS
  if (!Number.isInteger(Math.log2(blockSize)) || blockSize < minimum || blockSize > maximum) {
    throw new ImageError('USAGE', `compression block size ${blockSize}: must be a power of two from ${minimum} to ${maximum} bytes`)
  }
  switch (checked.name) {
    case 'gzip':
      return openGzip(checked, blockSize)
    case 'zstd':
      return openZstd(checked, blockSize)
    case 'xz':
      return openXz(checked, blockSize)
    case 'lz4':
      return openLz4(checked, blockSize)
    case 'none':
      return { spec: checked, blockSize, compress: (block) => block }
  }
}
