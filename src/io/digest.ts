/** Checksums of images. */
import { createHash } from 'node:crypto'
import type { Image } from './image.ts'
import { imageChunks } from './stream.ts'

/** SHA-256 of all bytes, lower-case hex. Throws what the image throws, and ABORTED. */
export async function imageSha256(image: Image, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of imageChunks(image, signal ? { signal } : {})) hash.update(chunk)
  return hash.digest('hex')
}
