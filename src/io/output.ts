/** From an image to a file or a stream: the one path that the command and the library share. */
import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { Readable } from 'node:stream'
import { constants } from 'node:zlib'
import { ImageError, throwIfAborted } from '../errors.ts'
import { type BlockDevice, blockDevice, checkDevice } from './block-device.ts'
import { destinationOf } from './destination.ts'
import { writeDevice } from './device-output.ts'
import { placeHashed } from './digest.ts'
import { checkDestination, type FileTarget, openSpool, writeFileAtomically } from './file-target.ts'
import { type BuildContext, checkJobs, type GrowingImage, type Image, isGrowing } from './image.ts'
import { type PipePlace, writePipe } from './pipe-output.ts'
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
  /** Replace a file that exists, or what is on a block device; default false. */
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
 * Write an image to a file, which appears whole or not at all; to a block device, whose bytes are read back and compared; or in order to
 * a pipe, or an open descriptor such as `/dev/stdout`. Throws EXISTS, WRITE_FAILED, ABORTED, UNSUPPORTED for a device that is in use, LIMIT
 * for one that is too small, or what the image throws.
 */
export async function saveImage(image: Image | GrowingImage, path: string, options: SaveOptions = {}): Promise<SavedImage> {
  const context = buildContext(options)
  const destination = destinationOf(path)
  switch (destination.kind) {
    case 'blockDevice':
      return saveToDevice(image, path, options, context)
    case 'descriptor':
      return streamTo({ descriptor: destination.descriptor, path }, image, options)
    case 'pipe':
      return streamTo({ path }, image, options)
    case 'file':
      return saveToFile(image, path, options, context)
  }
}

/**
 * For a check before the work begins. Throws EXISTS, UNSUPPORTED, WRITE_FAILED where `saveImage` would, as far as is known before; `force` is
 * as it has it.
 */
export function checkSavable(path: string, force: boolean): void {
  const { kind } = destinationOf(path)
  if (kind === 'file') checkDestination(path, force)
  if (kind !== 'blockDevice') return
  const device = blockDevice(path)
  checkDevice(device)
  if (!force) throw deviceExists(device)
}

/** For a device that may be written to only when somebody means it. */
export function deviceExists({ path, size }: BlockDevice): ImageError {
  return new ImageError(
    'EXISTS',
    (option) => `${path}: is a block device of ${size} bytes, and all that is on it would be lost; use ${option('force')} to write to it`,
    { path },
  )
}

async function saveToDevice(image: Image | GrowingImage, path: string, options: SaveOptions, context: BuildContext): Promise<SavedImage> {
  checkSavable(path, options.force === true)
  if (options.zstdLevel !== undefined) {
    throw new ImageError(
      'USAGE',
      `${path}: is a block device, from which nothing starts that is compressed as a whole; write it as it is`,
      { path },
    )
  }
  return writeDevice(image, blockDevice(path), context)
}

async function streamTo(place: PipePlace, image: Image | GrowingImage, options: SaveOptions): Promise<SavedImage> {
  const hash = createHash('sha256')
  let size = 0
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of imageStream(image, options) as AsyncIterable<Uint8Array>) {
      hash.update(chunk)
      size += chunk.length
      yield chunk
    }
  }
  await writePipe(place, counted(), options.signal)
  return { size, sha256: hash.digest('hex') }
}

async function saveToFile(image: Image | GrowingImage, path: string, options: SaveOptions, context: BuildContext): Promise<SavedImage> {
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
