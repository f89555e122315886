/**
 * Space of the device: every metaslab is filled from its beginning, so that one run describes it. The copies of a
 * block lie in different metaslabs, where there is room.
 */
import { alignUp } from '../../bytes/align.ts'
import type { ImageError } from '../../errors.ts'
import type { MetaslabShape } from './geometry.ts'

export interface AllocatorOptions {
  readonly shape: MetaslabShape
  /** 0 while the size is open: then metaslabs are taken one after the other, as they are needed. */
  readonly metaslabCount: number
  /** There are never more. */
  readonly metaslabLimit: number
  /** No more bytes than these are given away. */
  readonly usableSize: number
  /** For blocks that have no room, from the bytes that are in use. */
  readonly fullError: (used: number) => ImageError
}

const COPIES_MAXIMUM = 3

export class Allocator {
  readonly #options: AllocatorOptions
  readonly #metaslabSize: number
  readonly #unit: number
  readonly #used: number[]
  /** The metaslab in which each copy is placed now. */
  readonly #current: number[]
  #total = 0
  #limit: number

  constructor(options: AllocatorOptions) {
    const { shape, metaslabCount, metaslabLimit } = options
    this.#options = options
    this.#metaslabSize = 2 ** shape.metaslabShift
    this.#unit = 2 ** shape.ashift
    this.#limit = metaslabLimit
    this.#used = new Array<number>(metaslabCount).fill(0)
    // With a known size the copies are far from each other.
    this.#current =
      metaslabCount === 0
        ? new Array<number>(COPIES_MAXIMUM).fill(-1)
        : [0, Math.floor(metaslabCount / 2), Math.floor((3 * metaslabCount) / 4)]
  }

  /** Bytes in use, by metaslab; those that are missing at the end are empty. */
  get used(): readonly number[] {
    return this.#used
  }

  /** Bytes in use. */
  get total(): number {
    return this.#total
  }

  /** Bytes that a copy of a block of `size` bytes takes. */
  sizeOnDisk(size: number): number {
    return alignUp(size, this.#unit)
  }

  /** How many metaslabs there are at most when `size` more bytes of each copy, in blocks of up to `blockSize`, are placed. */
  metaslabCountAfter(size: number, blockSize: number): number {
    const perMetaslab = this.#metaslabSize - blockSize
    const more = this.#current.map((index) => {
      const room = index < 0 ? 0 : this.#metaslabSize - (this.#used[index] as number) - blockSize
      return Math.max(0, Math.ceil((size - Math.max(0, room)) / perMetaslab))
    })
    return this.#used.length + more.reduce((sum, count) => sum + count, 0)
  }

  /** From now on there are so many metaslabs. */
  settle(metaslabCount: number): void {
    this.#limit = metaslabCount
  }

  /** The place of copy number `copy` of a block, in bytes behind the front labels; no block lies in two metaslabs. */
  allocate(size: number, copy: number): number {
    const length = this.sizeOnDisk(size)
    if (this.#total + length > this.#options.usableSize) throw this.#options.fullError(this.#total)
    let index = this.#current[copy] as number
    if (!this.#hasRoom(index, length)) {
      index = this.#nextWithRoom(index, length)
      this.#current[copy] = index
    }
    const used = this.#used[index] as number
    this.#used[index] = used + length
    this.#total += length
    return index * this.#metaslabSize + used
  }

  #hasRoom(index: number, length: number): boolean {
    return (this.#used[index] ?? this.#metaslabSize) + length <= this.#metaslabSize
  }

  /** A new metaslab, or else the next one in which there is room, all around. */
  #nextWithRoom(from: number, length: number): number {
    if (this.#used.length < this.#limit) return this.#used.push(0) - 1
    const count = this.#used.length
    for (let step = 1; step < count; step++) if (this.#hasRoom((from + step) % count, length)) return (from + step) % count
    throw this.#options.fullError(this.#total)
  }
}
