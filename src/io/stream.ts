/** Images as bytes in order, as Node and web streams, and into targets that write anywhere. */
import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { ImageError, throwIfAborted } from '../errors.ts'
import { sharedOut } from './carried.ts'
import { Frontier } from './frontier.ts'
import {
  type BuildContext,
  type ByteRun,
  type CarriedLoad,
  type Carrier,
  type Extent,
  type GrowingImage,
  type Image,
  isGrowing,
} from './image.ts'
import { regionImage } from './region.ts'
import type { Target } from './target.ts'
import { together } from './together.ts'

export interface StreamOptions {
  /** Ends the stream with ABORTED. */
  readonly signal?: AbortSignal
  /** Lent to extents that can read ranges: a chunk may lie in it, and is good until the next one is asked for. */
  readonly buffer?: Uint8Array
}

/** What lies between extents is a view of this; it is never written to. */
const ZEROS = new Uint8Array(1 << 20)

/** What is lent to extents that are written, and so the most that is written at a time by most of them. */
const WRITE_SIZE = 1 << 20

/**
 * The whole image from byte 0 to `size`, zeros included. Chunks may share memory with the image (and the
 * zeros do): they are for reading only. Throws what the extents throw, USAGE for an image whose extents
 * are not as `Image` promises, and ABORTED. A consumer that stops early closes the extent it is in.
 */
export async function* imageChunks(image: Image, options: StreamOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  checkImage(image)
  let position = 0
  for (const extent of image.extents) {
    yield* zeros(extent.start - position, options.signal)
    yield* extentChunks(extent, options.signal, options.buffer)
    position = extent.start + extent.length
  }
  yield* zeros(image.size - position, options.signal)
}

/** The image as a Node stream with back-pressure; `destroy()` closes what is open. */
export function imageReadable(image: Image, options: Pick<StreamOptions, 'signal'> = {}): Readable {
  return Readable.from(imageChunks(image, options), { objectMode: false, highWaterMark: ZEROS.length })
}

/** The image as a web stream with back-pressure; `cancel()` closes what is open. */
export function imageWebStream(image: Image, options: Pick<StreamOptions, 'signal'> = {}): ReadableStream<Uint8Array> {
  const chunks = imageChunks(image, options)
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await chunks.next()
        if (next.done) controller.close()
        else controller.enqueue(next.value)
      },
      async cancel() {
        await chunks.return()
      },
    },
    { highWaterMark: 1 },
  )
}

/**
 * Write the extents of `image` to `target` from byte `start` on. What lies between is not written: the
 * target must be new there. Where the target is a file, carriers bring what they can. Reports the stage `write`, whose
 * total is the bytes of all data. Throws what the extents, the carriers and the target throw, USAGE for a malformed image,
 * and ABORTED; nothing is written any more then. `onSettled` hears up to which byte of the target all is as it will stay.
 */
export async function writeImage(
  image: Image,
  target: Target,
  start: number,
  context: BuildContext,
  onSettled?: (position: number) => void,
): Promise<void> {
  checkImage(image)
  const { jobs, threads, onProgress } = context
  onProgress?.({ kind: 'stage', stage: 'write', totalBytes: dataBytes(image) })
  let doneBytes = 0
  const onWritten = (count: number): void => {
    doneBytes += count
    onProgress?.({ kind: 'bytes', stage: 'write', doneBytes })
  }
  const { lent } = target
  const { loads, left, before } = lent === undefined ? { loads: [], left: image.extents, before: [] } : sharedOut(image, start)
  const order = { jobs, ...(threads && { threads }), onWritten }
  const frontier = new Frontier([...loads.keys(), 'own'], onSettled)
  const ownSettled = (position: number): void => frontier.move('own', position)
  let early = Promise.resolve()
  const carry = async (carrier: Carrier, load: CarriedLoad, signal: AbortSignal): Promise<void> => {
    try {
      const carriedSettled = (position: number): void => frontier.move(carrier, position)
      if (lent !== undefined) await carrier.carry(load, { ...order, onSettled: carriedSettled, lent, signal })
      carriedSettled(Number.POSITIVE_INFINITY)
    } catch (error) {
      // What is wrong before all that is carried counts first, whoever is faster.
      await early
      throw error
    }
  }
  await together(context.signal, [
    async (signal) => {
      const own = { target, start, signal, onWritten, onSettled: ownSettled }
      early = writeExtents(before, own)
      await early
      await writeExtents(left, own)
      ownSettled(Number.POSITIVE_INFINITY)
    },
    ...[...loads].map(
      ([carrier, load]) =>
        (signal: AbortSignal) =>
          carry(carrier, load, signal),
    ),
  ])
  throwIfAborted(context.signal)
}

interface OwnWriting {
  readonly target: Target
  readonly start: number
  readonly signal: AbortSignal
  readonly onWritten: (count: number) => void
  readonly onSettled: (position: number) => void
}

async function writeExtents(extents: readonly Extent[], { target, start, signal, onWritten, onSettled }: OwnWriting): Promise<void> {
  // Each chunk is written before the next is asked for.
  const buffer = Buffer.allocUnsafeSlow(WRITE_SIZE)
  for (const extent of extents) {
    let position = start + extent.start
    onSettled(position)
    for await (const chunk of sparseChunks(extent, signal, buffer)) {
      if (typeof chunk === 'number') {
        position += chunk
        continue
      }
      await target.write(position, chunk)
      position += chunk.length
      onWritten(chunk.length)
      onSettled(position)
    }
  }
}

/**
 * Bring an image of either kind to `target` from byte `start` on, where nothing lies behind it yet. Returns the image as it
 * lies there, so that its sources are not read again. Throws what `pack` and `writeImage` throw.
 */
export async function placeImage(image: Image | GrowingImage, target: Target, start: number, context: BuildContext): Promise<Image> {
  if (isGrowing(image)) return image.pack(target, start, context)
  await writeImage(image, target, start, context)
  // What is zero at the end was not written, and is read back too.
  await target.setSize(start + image.size)
  return regionImage(target, start, image.size)
}

/** Zeros that are hashed in two seconds or so. */
const HASHED_HOLES = 2 ** 31

/** Whether so few of `size` bytes are data that a digest, which has to see all zeros, would take longer than writing them. */
export function isMostlyHoles(size: number, ofData: number): boolean {
  return size > 4 * ofData + HASHED_HOLES
}

/** Throws USAGE when the extents of an image overlap, are out of order or leave it. */
export function checkImage(image: Image): void {
  let end = 0
  for (const { start, length } of image.extents) {
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length) || start < end || length < 0) {
      throw new ImageError('USAGE', `image: the extent of ${length} bytes at ${start} is out of order, the one before it ends at ${end}`)
    }
    end = start + length
  }
  if (!Number.isSafeInteger(image.size) || end > image.size) {
    throw new ImageError('USAGE', `image: its extents end at ${end}, its size is ${image.size}`)
  }
}

/** Where an image may be other than zero, ascending. */
export function* dataRuns({ extents }: Image): Generator<ByteRun> {
  for (const extent of extents) {
    if (extent.sparse === undefined) yield extent
    else for (const { start, length } of extent.sparse.runs()) yield { start: extent.start + start, length }
  }
}

/** Bytes of an image that are not known to be zero. */
export function dataBytes(image: Image): number {
  let sum = 0
  for (const { length } of dataRuns(image)) sum += length
  return sum
}

/** The bytes of an extent, exactly as many as it states. */
export function extentChunks(extent: Extent, signal?: AbortSignal, buffer?: Uint8Array): AsyncGenerator<Uint8Array> {
  return checkedChunks(extent, () => (buffer && extent.readRange?.(0, extent.length, buffer)) ?? extent.read(), signal)
}

/** The same where zeros need not be bytes: a number stands for so many. */
export function sparseChunks(extent: Extent, signal?: AbortSignal, buffer?: Uint8Array): AsyncGenerator<Uint8Array | number> {
  const { sparse } = extent
  return sparse === undefined ? extentChunks(extent, signal, buffer) : checkedChunks(extent, () => sparse.read(), signal)
}

async function* checkedChunks<T extends Uint8Array | number>(
  { start, length }: Extent,
  open: () => AsyncIterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  let done = 0
  throwIfAborted(signal)
  for await (const chunk of open()) {
    throwIfAborted(signal)
    const count = typeof chunk === 'number' ? chunk : chunk.length
    done += count
    if (done > length) throw new ImageError('USAGE', `image: the extent at ${start} yields ${done} bytes or more, it states ${length}`)
    if (count > 0) yield chunk
  }
  if (done < length) throw new ImageError('USAGE', `image: the extent at ${start} yields ${done} bytes, it states ${length}`)
}

/** The same bytes, with zeros where a number stands for them. */
export async function* filledChunks(chunks: AsyncIterable<Uint8Array | number>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    if (typeof chunk === 'number') yield* zeros(chunk, undefined)
    else yield chunk
  }
}

function* zeros(length: number, signal: AbortSignal | undefined): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROS.length) {
    throwIfAborted(signal)
    yield ZEROS.subarray(0, Math.min(left, ZEROS.length))
  }
}
