/** An image to standard output. */
import { createHash } from 'node:crypto'
import { write } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ImageError, systemErrorCode } from '../errors.ts'
import type { GrowingImage, Image } from '../io/image.ts'
import { imageStream, type OutputOptions } from '../io/output.ts'
import { writeError } from '../io/write-error.ts'

export interface StreamedImage {
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
}

const STDOUT = 1
const writeTo = promisify(write)

/**
 * Write the image to standard output. Through the thread pool and not process.stdout, which writes to a
 * pipe synchronously: a reader that pauses would keep signals from being handled. Throws an EPIPE as it is.
 */
export async function streamToStdout(image: Image | GrowingImage, options: OutputOptions): Promise<StreamedImage> {
  const hash = createHash('sha256')
  let size = 0
  const aborted = abortion(options.signal)
  for await (const chunk of imageStream(image, options) as AsyncIterable<Uint8Array>) {
    hash.update(chunk)
    size += chunk.length
    await Promise.race([writeAll(chunk), aborted])
  }
  return { size, sha256: hash.digest('hex') }
}

/** Write a text to standard output, likewise. */
export async function writeText(text: string, signal: AbortSignal): Promise<void> {
  await Promise.race([writeAll(Buffer.from(text)), abortion(signal)])
}

async function writeAll(chunk: Uint8Array): Promise<void> {
  let done = 0
  while (done < chunk.length) {
    try {
      const { bytesWritten } = await writeTo(STDOUT, chunk, done, chunk.length - done, null)
      done += bytesWritten
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === 'EPIPE') throw error
      if (code !== 'EAGAIN') throw writeError('standard output', error)
      // The other side made the pipe non-blocking, and it is full.
      await setTimeout(5)
    }
  }
}

/** Never resolves; rejects when the signal comes. */
function abortion(signal: AbortSignal | undefined): Promise<never> {
  const promise = new Promise<never>((_, reject) => {
    signal?.addEventListener('abort', () => reject(new ImageError('ABORTED', 'cancelled', { cause: signal.reason })), { once: true })
  })
  // Nobody waits for it between two chunks.
  promise.catch(() => undefined)
  return promise
}
