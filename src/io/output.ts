/** From an image to a file or a stream: the one path that the command and the library share. */
import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { Readable } from 'node:stream'
import { constants } from 'node:zlib'
import { throwIfAborted } from '../errors.ts'
import { placeHashed } from './digest.ts'
import { type FileTarget, openSpool, writeFileAtomically } from './file-target.ts'
import { type BuildContext, checkJobs, type GrowingImage, type Image, isGrowing } from './image.ts'
import type { ProgressListener } from './progress.ts'
import { imageChunks, placeImage } from './stream.ts'
import { zstdChunks } from './zstd.ts'

export interface OutputOptions {
  /** Worker threads; default: as many as the process may use. */
  readonly jobs?: number
  readonly signal?: AbortSignal
  readonly onProgress?: ProgressListener
  /** Compress the whole image with zstd at this level (`.iso.zst`). */
  readonly zstdLevel?: number
}

export interface SaveOptions extends OutputOptions {
  /** Replace a file that exists; default false. */
  readonly force?: boolean
  /** Compute the SHA-256 of the file, for which it is read back while it goes to the disk; default true. */
  readonly digest?: boolean
}

export interface SavedImage {
  /** Bytes of the file. */
  readonly size: number
  /** Lower-case hex; undefined where no digest was asked for. */
  readonly sha256: string | undefined
}

/**
 * Write an image to a file, which appears whole or not at all. Throws EXISTS, WRITE_FAILED, ABORTED, or
 * what the image throws.
 */
export async function saveImage(image: Image | GrowingImage, path: string, options: SaveOptions = {}): Promise<SavedImage> {
  const context = buildContext(options)
  const force = options.force === true
  const onSync = (): void => options.onProgress?.({ kind: 'stage', stage: 'sync' })
  return writeFileAtomically(path, { force, onSync }, async (target) => {
    if (options.zstdLevel !== undefined) return writeStream(imageStream(image, options), target)
    const sync = (): Promise<void> => target.sync()
    if (options.digest !== false) {
      const { image: written, sha256 } = await placeHashed(image, target, context, sync)
      return { size: written.size, sha256 }
    }
    const { size } = await placeImage(image, target, 0, context)
    await target.setSize(size)
    await sync()
    return { size, sha256: undefined }
  })
}

/**
 * An image as a byte stream with back-pressure, for any Writable. A growing image is first packed into a
 * scratch file without a name, because its first bytes are known last; `destroy()` cancels that.
 */
export function imageStream(image: Image | GrowingImage, options: OutputOptions = {}): Readable {
  const { zstdLevel } = options
  const generate = (signal: AbortSignal): AsyncGenerator<Uint8Array> => {
    const chunks = chunksOf(image, { ...options, signal })
    if (zstdLevel === undefined) return chunks
    return zstdChunks(chunks, { params: { [constants.ZSTD_c_compressionLevel]: zstdLevel, [constants.ZSTD_c_checksumFlag]: 1 } })
  }
  return Readable.from(cancelledByReturn(generate, options.signal), { objectMode: false, highWaterMark: 1 << 20 })
}

/** A generator at work hears of `return` only when it next yields; a build must hear of it at once. */
function cancelledByReturn<T>(generate: (signal: AbortSignal) => AsyncGenerator<T>, given: AbortSignal | undefined): AsyncIterable<T> {
  const stop = new AbortController()
  const chunks = generate(given ? AbortSignal.any([given, stop.signal]) : stop.signal)
  const iterator: AsyncIterator<T> = {
    next: () => chunks.next(),
    return() {
      stop.abort()
      return chunks.return(undefined)
    },
  }
  return { [Symbol.asyncIterator]: () => iterator }
}

async function* chunksOf(image: Image | GrowingImage, options: OutputOptions): AsyncGenerator<Uint8Array> {
  const context = buildContext(options)
  if (!isGrowing(image)) {
    yield* reportedChunks(image, context)
    return
  }
  const spool = await openSpool()
  try {
    throwIfAborted(context.signal)
    yield* reportedChunks(await image.pack(spool.target, 0, context), context)
  } finally {
    await spool.close()
  }
}

async function* reportedChunks(image: Image, { signal, onProgress }: BuildContext): AsyncGenerator<Uint8Array> {
  onProgress?.({ kind: 'stage', stage: 'write', totalBytes: image.size })
  let doneBytes = 0
  for await (const chunk of imageChunks(image, signal ? { signal } : {})) {
    yield chunk
    doneBytes += chunk.length
    onProgress?.({ kind: 'bytes', stage: 'write', doneBytes })
  }
}

/** Throws USAGE for a number of jobs that is none. */
export function buildContext(options: Pick<OutputOptions, 'jobs' | 'signal' | 'onProgress'>): BuildContext {
  const { jobs = availableParallelism(), signal, onProgress } = options
  checkJobs(jobs)
  return { jobs, ...(signal && { signal }), ...(onProgress && { onProgress }) }
}

async function writeStream(stream: Readable, target: FileTarget): Promise<SavedImage> {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    await target.write(size, chunk)
    hash.update(chunk)
    size += chunk.length
  }
  return { size, sha256: hash.digest('hex') }
}
