/**
 * What a caller can ask of a SquashFS 4.0 image.
 *
 * Not supported, and refused with UNSUPPORTED: the compressors lzo and lzma, extended attributes outside
 * `user.`, `trusted.` and `security.` (POSIX ACLs among them). Not offered: BCJ filters of xz, gzip
 * strategies, values of extended attributes shared between sets (out of line), appending to an image.
 *
 * Source: kernel Documentation/filesystems/squashfs.rst, and "Squashfs Binary Format" (doc/format.adoc of
 * squashfs-tools-ng), whose section titles are cited beside the records in `disk.ts`.
 */
import type { CodecSpec } from '../../codecs/codec.ts'
import { checkCodecSpec } from '../../codecs/spec.ts'
import { ImageError } from '../../errors.ts'
import { BLOCK_SIZE_MAXIMUM, BLOCK_SIZE_MINIMUM, COMPRESSOR, U32_MAXIMUM } from './disk.ts'

export interface SquashfsOptions {
  /** Bytes of a data block: a power of two from 4 KiB to 1 MiB. Default 1 MiB. */
  readonly blockSize?: number
  /** For data and metadata alike; `none` stores every block as it is. Default zstd, level 19. */
  readonly codec?: CodecSpec
  /** Time of the image itself, in the superblock: seconds since 1970, 0 to 2^32 - 1. Default 0. */
  readonly timeSeconds?: number
  /** Write the table that NFS export needs, from inode numbers to inodes. Default true. */
  readonly exportable?: boolean
  /** Pack files smaller than a block together into fragment blocks. Default true. */
  readonly fragments?: boolean
}

/** Options with every default filled in. */
export type ResolvedSquashfsOptions = Readonly<Required<SquashfsOptions>>

export const SQUASHFS_DEFAULTS: ResolvedSquashfsOptions = {
  blockSize: 1024 * 1024,
  codec: { name: 'zstd', level: 19 },
  timeSeconds: 0,
  exportable: true,
  fragments: true,
}

/**
 * Fill in defaults. Throws UNSUPPORTED for another compressor, USAGE for a level it does not have or a
 * block size the format does not have, LIMIT for a time outside 32 bits.
 */
export function resolveOptions(options: SquashfsOptions): ResolvedSquashfsOptions {
  const resolved = { ...SQUASHFS_DEFAULTS, ...options }
  const { blockSize, codec, timeSeconds } = resolved
  if (!Object.hasOwn(COMPRESSOR, codec.name)) {
    throw new ImageError('UNSUPPORTED', `squashfs: no compressor '${codec.name}'; there are ${Object.keys(COMPRESSOR).join(', ')}`)
  }
  const blockLog = Math.log2(blockSize)
  if (!Number.isInteger(blockLog) || blockSize < BLOCK_SIZE_MINIMUM || blockSize > BLOCK_SIZE_MAXIMUM) {
    throw new ImageError('USAGE', `squashfs: block size is ${blockSize} bytes; it must be a power of two from 4096 to 1048576`)
  }
  if (!Number.isInteger(timeSeconds) || timeSeconds < 0 || timeSeconds > U32_MAXIMUM) {
    throw new ImageError('LIMIT', `squashfs: modification time is ${timeSeconds} s; the superblock holds whole seconds 0 to ${U32_MAXIMUM}`)
  }
  return { ...resolved, codec: checkCodecSpec(codec) }
}
