/**
 * Bytes that were proven once, and have to be the same whoever reads them, how often and in whatever order. What is handed
 * out is compared with what was proven, not with the time or the inode of a file, so nothing has to stay open or untouched.
 */
import { createHash, type Hash, hash } from 'node:crypto'
import { alignUp } from '../bytes/align.ts'
import type { Image } from './image.ts'
import { imageSlice } from './slice.ts'
import { imageChunks } from './stream.ts'

/** Bytes that are compared at once; more than is asked for is read up to their bounds. */
export const PROOF_BLOCK_SIZE = 64 << 10

const DIGEST_SIZE = 32

/**
 * What some bytes have to be: their SHA-256 and, from the first whole reading on, that of each block, by which parts are
 * compared. Bytes of up to one block are a block.
 */
export class Proof {
  readonly sha256: Uint8Array
  #blocks: Uint8Array | undefined

  /** `blocks`: the digests of all blocks, one after the other, where they are known. */
  constructor(sha256: Uint8Array, size: number, blocks?: Uint8Array) {
    this.sha256 = sha256
    this.#blocks = blocks ?? (size <= PROOF_BLOCK_SIZE ? sha256 : undefined)
  }

  get areBlocksKnown(): boolean {
    return this.#blocks !== undefined
  }

  /** Whether `bytes` are all that was proven. */
  isOf(bytes: Uint8Array): boolean {
    return this.hasDigest(hash('sha256', bytes, 'buffer'))
  }

  /** Whether `sha256` is that of all that was proven. */
  hasDigest(sha256: Uint8Array): boolean {
    return isEqual(sha256, this.sha256)
  }

  /** Whether `bytes`, whole blocks from `position` on, are what was proven there. Only where the blocks are known. */
  isOfBlocks(bytes: Uint8Array, position: number): boolean {
    const blocks = this.#blocks
    if (blocks === undefined) throw new RangeError('no blocks are known')
    for (let at = 0; at < bytes.length; at += PROOF_BLOCK_SIZE) {
      const place = ((position + at) / PROOF_BLOCK_SIZE) * DIGEST_SIZE
      const actual = hash('sha256', bytes.subarray(at, at + PROOF_BLOCK_SIZE), 'buffer')
      if (!isEqual(actual, blocks.subarray(place, place + DIGEST_SIZE))) return false
    }
    return true
  }

  /** Whether a whole reading was of what was proven; if so, its blocks are known from now on. */
  settle(reading: Reading): boolean {
    const { sha256, blocks } = reading.end()
    if (!this.hasDigest(sha256)) return false
    this.#blocks = blocks
    return true
  }
}

/** One reading of all bytes from the first to the last. */
export class Reading {
  readonly #whole = createHash('sha256')
  readonly #blocks: Buffer[] = []
  #block: Hash | undefined
  /** Bytes of the block in hand. */
  #used = 0
  size = 0

  add(bytes: Uint8Array): void {
    this.#whole.update(bytes)
    this.size += bytes.length
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + PROOF_BLOCK_SIZE - this.#used)
      this.#block ??= createHash('sha256')
      this.#block.update(part)
      at += part.length
      this.#used += part.length
      if (this.#used === PROOF_BLOCK_SIZE) this.#endBlock()
    }
  }

  end(): { readonly sha256: Uint8Array; readonly blocks: Uint8Array } {
    this.#endBlock()
    return { sha256: this.#whole.digest(), blocks: Buffer.concat(this.#blocks) }
  }

  #endBlock(): void {
    if (this.#block !== undefined) this.#blocks.push(this.#block.digest())
    this.#block = undefined
    this.#used = 0
  }
}

/**
 * The image, whose bytes have to be those of `proof`. A part is handed out when it was compared; the first whole reading is
 * compared at its end, before the last bytes are handed out. Where they are others, reading throws what `otherError` gives.
 */
export function provenImage(image: Image, proof: Proof, otherError: () => Error): Image {
  const { size } = image
  if (size === 0) return image
  const readRange = (start: number, length: number, buffer?: Uint8Array): AsyncIterable<Uint8Array> =>
    provenRange({ image, proof, otherError }, start, length, buffer)
  return { size, extents: [{ start: 0, length: size, read: () => readRange(0, size), readRange }] }
}

/** The image as it is now, read once here: whoever reads it later gets the same bytes, or what `otherError` gives. */
export async function recordedImage(image: Image, otherError: () => Error, signal?: AbortSignal): Promise<Image> {
  const reading = new Reading()
  for await (const chunk of imageChunks(image, signal ? { signal } : {})) reading.add(chunk)
  const { sha256, blocks } = reading.end()
  return provenImage(image, new Proof(sha256, image.size, blocks), otherError)
}

interface Proven {
  readonly image: Image
  readonly proof: Proof
  readonly otherError: () => Error
}

async function* provenRange(proven: Proven, start: number, length: number, buffer?: Uint8Array): AsyncGenerator<Uint8Array> {
  const { image, proof, otherError } = proven
  if (!proof.areBlocksKnown) {
    const whole = firstReading(proven, buffer)
    if (start === 0 && length === image.size) {
      yield* whole
      return
    }
    for await (const _chunk of whole);
  }
  const end = start + length
  let position = start - (start % PROOF_BLOCK_SIZE)
  const wanted = imageSlice(image, position, Math.min(image.size, alignUp(end, PROOF_BLOCK_SIZE)))
  for await (const blocks of wholeBlocks(imageChunks(wanted, buffer ? { buffer } : {}), wanted.size)) {
    if (!proof.isOfBlocks(blocks, position)) throw otherError()
    yield blocks.subarray(Math.max(0, start - position), Math.min(blocks.length, end - position))
    position += blocks.length
  }
}

async function* firstReading({ image, proof, otherError }: Proven, buffer?: Uint8Array): AsyncGenerator<Uint8Array> {
  const reading = new Reading()
  for await (const chunk of imageChunks(image, buffer ? { buffer } : {})) {
    reading.add(chunk)
    if (reading.size === image.size && !proof.settle(reading)) throw otherError()
    yield chunk
  }
}

/** The same `size` bytes in chunks of whole blocks, but for the end of the last. Chunks that are cut out are views. */
async function* wholeBlocks(chunks: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let held: Buffer | undefined
  let used = 0
  let position = 0
  for await (const chunk of chunks) {
    let rest = chunk
    position += chunk.length
    if (held !== undefined) {
      const part = rest.subarray(0, held.length - used)
      held.set(part, used)
      used += part.length
      rest = rest.subarray(part.length)
      if (used < held.length && position < size) continue
      yield held.subarray(0, used)
      held = undefined
    }
    const whole = position === size ? rest.length : rest.length - (rest.length % PROOF_BLOCK_SIZE)
    if (whole > 0) yield rest.subarray(0, whole)
    if (whole === rest.length) continue
    held = Buffer.allocUnsafeSlow(PROOF_BLOCK_SIZE)
    used = rest.length - whole
    held.set(rest.subarray(whole))
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
