/** Checksums of images. */
import { createHash } from 'node:crypto'
import { Pool } from '../threads/pool.ts'
import { work } from './digest-work.ts'
import type { Image } from './image.ts'
import { imageChunks } from './stream.ts'
import type { LentTarget } from './target.ts'

/** SHA-256 of all bytes, lower-case hex. Throws what the image throws, and ABORTED. */
export async function imageSha256(image: Image, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of imageChunks(image, signal ? { signal } : {})) hash.update(chunk)
  return hash.digest('hex')
}

/**
 * SHA-256 of the first `size` bytes of an open file, lower-case hex, by a thread of its own, so that it costs this one nothing.
 * What was not written is not read. Throws UNREADABLE, CHANGED, WORKER_DIED and ABORTED.
 */
export async function fileSha256({ descriptor, label, runs }: LentTarget, size: number, signal?: AbortSignal): Promise<string> {
  const pool = new Pool(work, undefined, { count: 1, threads: size < WORTH_A_THREAD ? 'none' : 'workers', signal })
  try {
    return await pool.run({ descriptor, size, label, runs: runs(size) })
  } finally {
    await pool.close()
  }
}

/** Bytes that are hashed while a thread starts. */
const WORTH_A_THREAD = 32 << 20
