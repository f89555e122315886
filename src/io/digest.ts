/** Checksums of images. */
import { createHash } from 'node:crypto'
import { Pool } from '../threads/pool.ts'
import { CHUNK_SIZE, type DigestTask, work } from './digest-work.ts'
import type { FileTarget } from './file-target.ts'
import { type BuildContext, type GrowingImage, type Image, isGrowing } from './image.ts'
import { regionImage } from './region.ts'
import { dataBytes, dataRuns, imageChunks, placeImage, writeImage } from './stream.ts'
import type { LentTarget } from './target.ts'
import { WrittenBlocks } from './written-blocks.ts'

/** SHA-256 of all bytes, lower-case hex. Throws what the image throws, and ABORTED. */
export async function imageSha256(image: Image, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of imageChunks(image, signal ? { signal } : {})) hash.update(chunk)
  return hash.digest('hex')
}

/** An image at its place, and what was made of it. */
export interface HashedImage {
  /** As it lies there. */
  readonly image: Image
  /** SHA-256 of all bytes, lower-case hex. */
  readonly sha256: string
}

/**
 * Bring an image to the beginning of a file, which then has its size, and hash the file by a thread: behind the one that writes,
 * where what was written stays as it is. `meanwhile` begins when all is written. Throws what `placeImage` and `fileSha256` throw.
 */
export async function placeHashed(
  image: Image | GrowingImage,
  target: FileTarget,
  context: BuildContext,
  meanwhile: () => Promise<void> = async () => undefined,
): Promise<HashedImage> {
  const { signal } = context
  const hashAll = async (size: number): Promise<string> => {
    const [sha256] = await Promise.all([fileSha256(target.lent, size, signal), meanwhile()])
    return sha256
  }
  if (isGrowing(image) || context.threads === 'none' || context.jobs === 1 || dataBytes(image) < WORTH_A_THREAD) {
    const placed = await placeImage(image, target, 0, context)
    await target.setSize(placed.size)
    return { image: placed, sha256: await hashAll(placed.size) }
  }
  // What is zero and settled is read before anything lies behind it.
  await target.setSize(image.size)
  const follower = new Follower(image, target.lent, signal)
  try {
    await writeImage(image, target, 0, context, (position) => follower.settle(position))
    const placed = regionImage(target, 0, image.size)
    if (!follower.knewAll) return { image: placed, sha256: await hashAll(image.size) }
    follower.settle(Number.POSITIVE_INFINITY)
    const [sha256] = await Promise.all([follower.sha256, meanwhile()])
    return { image: placed, sha256 }
  } finally {
    await follower.close()
  }
}

/** Hashes a file while an image is written to it. */
class Follower {
  readonly sha256: Promise<string>
  readonly #lent: LentTarget
  readonly #size: number
  readonly #planned = new WrittenBlocks()
  readonly #settled = new SharedArrayBuffer(4)
  readonly #pool: Pool<undefined, DigestTask, string>

  constructor(image: Image, lent: LentTarget, signal: AbortSignal | undefined) {
    this.#lent = lent
    this.#size = image.size
    for (const { start, length } of dataRuns(image)) this.#planned.add(start, length)
    this.#pool = new Pool(work, undefined, { count: 1, signal })
    const { descriptor, label } = lent
    const [size, runs, settled] = [image.size, this.#planned.runs(image.size), this.#settled]
    this.sha256 = this.#pool.run({ descriptor, size, label, runs, settled })
  }

  /** Whether nothing was written but where the image has data. */
  get knewAll(): boolean {
    return this.#lent.runs(this.#size).every(({ start, length }) => this.#planned.holds(start, length))
  }

  settle(position: number): void {
    const count = Math.floor(Math.min(position, this.#size + CHUNK_SIZE) / CHUNK_SIZE)
    const counter = new Int32Array(this.#settled)
    if (count <= Atomics.load(counter, 0)) return
    Atomics.store(counter, 0, count)
    Atomics.notify(counter, 0)
  }

  close(): Promise<void> {
    return this.#pool.close()
  }
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
