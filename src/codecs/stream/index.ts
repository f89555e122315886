/**
 * Compressed streams that the Linux kernel unpacks as a member of an initramfs: each is one self-contained stream, made in
 * parallel, and its bytes do not depend on the number of workers.
 *
 * What binds (Linux, `init/initramfs.c` `unpack_to_rootfs`, `lib/decompress*.c`; Documentation/driver-api/early-userspace/
 * buffer-format.rst):
 * - A member is recognised by its first two bytes. One call unpacks one gzip member, one zstd frame or one xz Stream; behind
 *   it the cpio archive has to be at its end ("junk at the end of compressed archive"), so an archive is never cut into several.
 * - Between members there may be zero bytes, any number of them. Only an uncompressed archive has to begin at a multiple of
 *   four bytes, counted from the start of the whole.
 * - gzip: a header of ten bytes; of the optional fields only a file name is passed over. CRC and size are not looked at.
 * - zstd (since 5.9): the frame comes first, no skippable frame before it; a window of at most 2^27 bytes, which every level
 *   keeps to; the checksum is verified.
 * - xz: CRC32 or no check at all; several Blocks and dictionaries of any size; filters depend on the architecture: LZMA2 only.
 * - lz4: the legacy frame, blocks of up to 8 MiB of content. It ends where the initramfs ends, at the next legacy frame, which
 *   continues it, or (since 5.14 and the stable series of July 2021) at four zero bytes, from where the next member is
 *   looked for. Less than four zeros, as padding would give, are not enough; so these streams end with four of their own,
 *   unless `isLastMember` says that none follows.
 *
 * Not supported: bzip2, lzma and lzo; content that must be unpacked by kernels before 5.14 from an lz4 member that others of
 * another format follow; BCJ filters of xz; zstd dictionaries and long-distance matching.
 */
import { openSpool } from '../../io/file-target.ts'
import { type BuildContext, checkJobs, type GrowingImage, type Image, isGrowing, leastSizeOf } from '../../io/image.ts'
import { regionImage } from '../../io/region.ts'
import { placeImage } from '../../io/stream.ts'
import type { Target } from '../../io/target.ts'
import type { CodecSpec } from '../codec.ts'
import type { StreamFormat } from './format.ts'
import { streamFormat } from './formats.ts'
import { compressBlocks } from './parallel.ts'
import { hasZstdThreads } from './zstd.ts'
import { compressSerially } from './zstd-serial.ts'

export { openStreamCompressor, type StreamCompressor } from './compressor.ts'

export interface CompressedImageOptions {
  readonly codec: CodecSpec
  /**
   * Nothing but zeros follows in the initramfs; default false. An lz4 stream then has no four zero bytes at its end, so that
   * `lz4 -d` and kernels before 5.14 take it; the other formats are the same.
   */
  readonly isLastMember?: boolean
}

/**
 * One compressed stream of an image, zeros between its extents included; with codec `none` the image as it is. A growing
 * image is first packed into a scratch file. `pack` reports the stage `compress`, in bytes of content.
 *
 * The bytes depend on content and codec, and with gzip and zstd on the zlib and libzstd that Node holds. Where Node has no
 * multithreaded libzstd within reach, zstd falls back to its documented stream, whose bytes are different ones.
 *
 * @throws ImageError USAGE for a level that the codec does not have. `pack` throws what the image and the target throw,
 * UNSUPPORTED for xz without its optional package, WORKER_DIED, ABORTED, and USAGE for `jobs` out of range.
 */
export function compressedImage(image: Image | GrowingImage, options: CompressedImageOptions): GrowingImage {
  const format = streamFormat(options.codec, options)
  const contentLimit = isGrowing(image) ? image.sizeLimit : image.size
  return {
    sizeLimit: format?.sizeLimit(contentLimit) ?? contentLimit,
    leastSize: format === undefined ? leastSizeOf(image) : 0,
    async pack(target: Target, start: number, context: BuildContext): Promise<Image> {
      checkJobs(context.jobs)
      if (format === undefined) return placeImage(image, target, start, context)
      if (!isGrowing(image)) return packed(image, target, start, format, context)
      const spool = await openSpool()
      try {
        return await packed(await image.pack(spool.target, 0, context), target, start, format, context)
      } finally {
        await spool.close()
      }
    },
  }
}

async function packed(image: Image, target: Target, start: number, format: StreamFormat, context: BuildContext): Promise<Image> {
  const isSmall = image.size < format.ownThreadLimit
  const compress = isSmall || !format.isSequential || hasZstdThreads() ? compressBlocks : compressSerially
  return regionImage(target, start, await compress(image, target, start, format, context))
}
