/**
 * The MD5 of a volume in its own primary descriptor, by which `checkisomd5` of isomd5sum 1.2 and the media check of dracut and
 * Anaconda tell a medium that is read otherwise than it was written (isomd5sum: utilities.h, libimplantisomd5.c,
 * libcheckisomd5.c).
 *
 * It is taken over the volume from its first byte on, as if the field had blanks in it, but for the last 15 sectors, which drives
 * may fail to read. Three hexadecimal digits of the sum up to there are kept for each of 20 fragments, so that a check can end
 * early; where a fragment ends is counted in the reads of 32 KiB of those programs.
 */
import { createHash } from 'node:crypto'
import { ascii } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import { imageChunks } from '../../io/stream.ts'
import { BLOCK_SIZE } from './disk.ts'

/** Bytes of the field for the use of applications (ECMA-119 8.4.32). */
export const APPLICATION_USE_LENGTH = 512

const SKIPPED_SECTORS = 15
const FRAGMENT_COUNT = 20
const FRAGMENT_DIGITS = 3
const READ_SIZE = 16 * BLOCK_SIZE

/** What the field holds while the sum is taken. */
export const BLANKS: Uint8Array = new Uint8Array(APPLICATION_USE_LENGTH).fill(0x20)

export interface MediaSums {
  /** Lower-case hex. */
  readonly md5: string
  readonly fragments: string
}

/**
 * The field of a volume that has blanks there. Throws LIMIT for a volume whose fragments are smaller than a read, UNREADABLE, CHANGED,
 * ABORTED.
 */
export async function mediaCheck(volume: Image, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const { md5, fragments } = await mediaSums(volume, signal)
  const parts = [
    `ISO MD5SUM = ${md5}`,
    `SKIPSECTORS = ${SKIPPED_SECTORS}`,
    'RHLISOSTATUS=0',
    `FRAGMENT SUMS = ${fragments}`,
    `FRAGMENT COUNT = ${FRAGMENT_COUNT}`,
    'THIS IS NOT THE SAME AS RUNNING MD5SUM ON THIS ISO!!',
  ]
  return ascii(parts.join(';').padEnd(APPLICATION_USE_LENGTH, ' '), 'media check')
}

async function mediaSums(volume: Image, signal: AbortSignal | undefined): Promise<MediaSums> {
  const size = volume.size - SKIPPED_SECTORS * BLOCK_SIZE
  const fragmentSize = Math.floor(size / (FRAGMENT_COUNT + 1))
  if (fragmentSize < READ_SIZE) {
    const least = READ_SIZE * (FRAGMENT_COUNT + 1) + SKIPPED_SECTORS * BLOCK_SIZE
    throw new ImageError('LIMIT', `iso9660: a volume of ${volume.size} bytes is too small for a media check, which needs ${least}`)
  }
  const hash = createHash('md5')
  let fragments = ''
  let position = 0
  for await (const chunk of imageChunks(volume, signal ? { signal } : {})) {
    for (let done = 0; done < chunk.length && position < size; ) {
      const end = Math.min(size, position - (position % READ_SIZE) + READ_SIZE)
      const part = chunk.subarray(done, Math.min(chunk.length, done + end - position))
      hash.update(part)
      done += part.length
      position += part.length
      if (position === end && isFirstOfFragment(end, fragmentSize)) fragments += firstDigits(hash.copy().digest())
    }
  }
  return { md5: hash.digest('hex'), fragments }
}

/** Whether the read that ends at `end` is the first that begins in its fragment, but for the first fragment. */
function isFirstOfFragment(end: number, fragmentSize: number): boolean {
  const start = Math.floor((end - 1) / READ_SIZE) * READ_SIZE
  const fragment = Math.floor(start / fragmentSize)
  return start > 0 && fragment !== Math.floor((start - READ_SIZE) / fragmentSize)
}

/** Of each byte the first digit without a leading zero, as `%01x` and one character make it. */
function firstDigits(digest: Uint8Array): string {
  return Array.from(digest.subarray(0, FRAGMENT_DIGITS), (byte) => byte.toString(16)[0]).join('')
}
