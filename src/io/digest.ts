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
 * Bring an image to the beginning of a file, which then has its size, and hash the file by a thread, see `Digests`. `meanwhile` begins when
 * all is written. Throws what `placeImage` and `fileSha256` throw.
 */
export async function placeHashed(
  image: Image | GrowingImage,
  target: FileTarget,
  context: BuildContext,
  meanwhile: () => Promise<void> = async () => undefined,
): Promise<HashedImage> {
  const digests = new Digests(context)
  try {
    const placed = await digests.place(image, target)
    const [[sha256]] = await Promise.all([digests.finish(), meanwhile()])
    return { image: placed, sha256: sha256 as string }
  } finally {
    await digests.close()
  }
}

/**
 * The digests of files that are written one after the other. Where what was written stays as it is, a thread hashes behind the one that
 * writes, and goes on while the next file is written. All others are hashed at the end, several at once: before that there is
 * no thread to spare, and after it nothing else is to be done.
 */
export class Digests {
  readonly #context: BuildContext
  readonly #files: { readonly target: FileTarget; readonly size: number; readonly follower: Follower | undefined }[] = []
  #rest: DigestPool | undefined

  constructor(context: BuildContext) {
    this.#context = context
  }

  /** Bring an image to the beginning of a file, which then has its size and stays open until `close`. Throws what `placeImage` throws. */
  async place(image: Image | GrowingImage, target: FileTarget): Promise<Image> {
    if (isGrowing(image) || !this.#isWorthFollowing(image)) {
      const placed = await placeImage(image, target, 0, this.#context)
      await target.setSize(placed.size)
      this.#files.push({ target, size: placed.size, follower: undefined })
      return placed
    }
    // What is zero and settled is read before anything lies behind it.
    await target.setSize(image.size)
    const follower = new Follower(image, target.lent, this.#context.signal)
    try {
      await writeImage(image, target, 0, this.#context, (position) => follower.settle(position))
    } catch (error) {
      await follower.close()
      throw error
    }
    const isKnown = follower.knewAll
    if (isKnown) follower.settle(Number.POSITIVE_INFINITY)
    else await follower.close()
    this.#files.push({ target, size: image.size, follower: isKnown ? follower : undefined })
    return regionImage(target, 0, image.size)
  }

  /** SHA-256 of each file in the order of `place`, lower-case hex. To be called once. Throws what `fileSha256` throws. */
  async finish(): Promise<string[]> {
    const { jobs, signal } = this.#context
    const rest = this.#files.filter(({ follower }) => follower === undefined).sort((a, b) => b.size - a.size)
    const bytes = rest.reduce((sum, { size }) => sum + size, 0)
    const pool = openPool(bytes, Math.min(jobs, rest.length), signal)
    this.#rest = pool
    const late = new Map(rest.map((file) => [file, pool.run(taskOf(file.target.lent, file.size))]))
    return Promise.all(this.#files.map((file) => file.follower?.sha256 ?? (late.get(file) as Promise<string>)))
  }

  /** Nothing reads the files any more when this resolves. To be called in any case, before they are closed. */
  async close(): Promise<void> {
    await Promise.all([this.#rest?.close(), ...this.#files.map(({ follower }) => follower?.close())])
  }

  #isWorthFollowing(image: Image): boolean {
    const { threads, jobs } = this.#context
    return threads !== 'none' && jobs > 1 && dataBytes(image) >= WORTH_A_THREAD
  }
}

type DigestPool = Pool<undefined, DigestTask, string>

/** Hashes a file while an image is written to it. */
class Follower {
  readonly sha256: Promise<string>
  readonly #lent: LentTarget
  readonly #size: number
  readonly #planned = new WrittenBlocks()
  readonly #settled = new SharedArrayBuffer(4)
  readonly #pool: DigestPool

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
export async function fileSha256(lent: LentTarget, size: number, signal?: AbortSignal): Promise<string> {
  const pool = openPool(size, 1, signal)
  try {
    return await pool.run(taskOf(lent, size))
  } finally {
    await pool.close()
  }
}

/** For files that are as they will stay. */
function openPool(bytes: number, count: number, signal: AbortSignal | undefined): DigestPool {
  return new Pool(work, undefined, { count, threads: bytes < WORTH_A_THREAD ? 'none' : 'workers', signal })
}

function taskOf({ descriptor, label, runs }: LentTarget, size: number): DigestTask {
  return { descriptor, size, label, runs: runs(size) }
}

/** Bytes that are hashed while a thread starts. */
const WORTH_A_THREAD = 32 << 20
