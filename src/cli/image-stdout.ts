/** An image to standard output. */
import { createHash } from 'node:crypto'
import { fstat, fsync } from 'node:fs'
import { promisify } from 'node:util'
import { systemErrorCode } from '../errors.ts'
import type { GrowingImage, Image } from '../io/image.ts'
import { imageStream, type OutputOptions } from '../io/output.ts'
import { writeError } from '../io/write-error.ts'
import { abortion, STDOUT, STDOUT_LABEL, writeAll } from './stdout.ts'

export interface StreamedImage {
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
}

/**
 * Write the image, and have it brought to stable storage where standard output is a file or a device. Throws
 * WRITE_FAILED, an EPIPE as it is, and what the image throws.
 */
export async function streamToStdout(image: Image | GrowingImage, options: OutputOptions): Promise<StreamedImage> {
  const hash = createHash('sha256')
  let size = 0
  const aborted = abortion(options.signal)
  for await (const chunk of imageStream(image, options) as AsyncIterable<Uint8Array>) {
    hash.update(chunk)
    size += chunk.length
    await Promise.race([writeAll(chunk, options.signal), aborted])
  }
  await Promise.race([sync(options), aborted])
  return { size, sha256: hash.digest('hex') }
}

/** What a stick or a server cannot take, it says late. */
async function sync({ onProgress }: OutputOptions): Promise<void> {
  const status = await promisify(fstat)(STDOUT)
  if (!status.isFile() && !status.isBlockDevice()) return
  onProgress?.({ kind: 'stage', stage: 'sync' })
  try {
    await promisify(fsync)(STDOUT)
  } catch (error) {
    if (!UNSYNCED.includes(systemErrorCode(error) ?? '')) throw writeError(STDOUT_LABEL, error)
  }
}

/** Said where there is no such thing as syncing. */
const UNSYNCED = ['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']
