/** Blocks on their way to the device: packed, placed, gathered into large writes. */
import type { Target } from '../../io/target.ts'
import type { Allocator } from './allocator.ts'
import { type BlockIdentity, type BlockPointer, embeddedPointer, storedPointer } from './block-pointer.ts'
import { blockChecksum } from './checksum.ts'
import { CHECKSUM, COMPRESSION, FRONT_SIZE, OBJECT_TYPE } from './constants.ts'
import type { PackBlock, PackedBlock, PackingSpec } from './packing.ts'
import { RunWriter, WriteQueue } from './run-writer.ts'

/** How the metadata of an object set are stored. */
export interface BlockStyle {
  readonly packing: PackingSpec
  readonly pack: PackBlock
  readonly copies: number
}

/** How file contents are stored, which are packed elsewhere. */
export type PackedStyle = Omit<BlockStyle, 'pack'>

/** Places that were taken for a block whose bytes come later. */
export interface Reservation {
  readonly size: number
  readonly places: readonly number[]
}

export class BlockWriter {
  readonly allocator: Allocator
  readonly #queue: WriteQueue
  readonly #runs: readonly RunWriter[]
  readonly #free = new Map<number, Uint8Array[]>()
  #scratch = new Uint8Array(0)
  #record: BlockPointer[] | undefined

  /** `start` is where the device begins in `target`. */
  constructor(target: Target, start: number, allocator: Allocator) {
    this.allocator = allocator
    this.#queue = new WriteQueue(target, start + FRONT_SIZE)
    this.#runs = [0, 1, 2].map(() => new RunWriter(this.#queue, allocator.sizeOnDisk(1)))
  }

  /** From now on note each block that lies on the device in `pointers`, or none. */
  recordInto(pointers: BlockPointer[] | undefined): void {
    this.#record = pointers
  }

  /** Pack and write a block. `bytes` may be overwritten afterwards. Throws LIMIT when the pool is full. */
  write(bytes: Uint8Array, identity: BlockIdentity, { pack, packing, copies }: BlockStyle): BlockPointer {
    if (this.#scratch.length < bytes.length) this.#scratch = new Uint8Array(bytes.length)
    return this.writePacked(pack(bytes, this.#scratch, mayBeEmbedded(identity)), bytes.length, identity, { packing, copies })
  }

  writePacked(packed: PackedBlock, logicalSize: number, identity: BlockIdentity, { packing, copies }: PackedStyle): BlockPointer {
    const { bytes, compression, checksumWords } = packed
    if (checksumWords === undefined) return embeddedPointer(identity, logicalSize, compression, bytes)
    return this.#place(this.reserve(bytes.length, copies), { ...packed, checksumWords }, logicalSize, identity, packing.checksum)
  }

  /** Take the space of a block that is written later, as it is. */
  reserve(size: number, copies: number): Reservation {
    return { size, places: Array.from({ length: copies }, (_, copy) => this.allocator.allocate(size, copy)) }
  }

  /** Write a block to its reserved place. */
  writeReserved(reservation: Reservation, bytes: Uint8Array, identity: BlockIdentity): BlockPointer {
    const checksumWords = blockChecksum(CHECKSUM.fletcher4, bytes)
    return this.#place(reservation, { bytes, compression: COMPRESSION.off, checksumWords }, bytes.length, identity, CHECKSUM.fletcher4)
  }

  /** Memory of zeros for a block, which comes back by `release`: blocks of pointers are large, many and short-lived. */
  zeroed(size: number): Uint8Array {
    return this.#free.get(size)?.pop()?.fill(0) ?? new Uint8Array(size)
  }

  release(block: Uint8Array): void {
    const free = this.#free.get(block.length)
    if (free === undefined) this.#free.set(block.length, [block])
    else free.push(block)
  }

  /** Undefined when more may be written at once. Throws what the target threw. */
  drained(): Promise<void> | undefined {
    return this.#queue.drained()
  }

  /** Resolves when all is written. Throws what the target threw. */
  finish(): Promise<void> {
    for (const run of this.#runs) run.flush()
    return this.#queue.finish()
  }

  /** Nothing is written any more when this resolves. */
  abandon(cause: unknown): Promise<void> {
    return this.#queue.abandon(cause)
  }

  #place(
    { places }: Reservation,
    { bytes, compression, checksumWords }: PackedBlock & { readonly checksumWords: Uint8Array },
    logicalSize: number,
    identity: BlockIdentity,
    checksum: PackingSpec['checksum'],
  ): BlockPointer {
    for (const [copy, place] of places.entries()) this.#runs[copy]?.write(place, bytes)
    const sizes = { logical: logicalSize, physical: bytes.length, onDisk: this.allocator.sizeOnDisk(bytes.length) }
    const pointer = storedPointer(identity, sizes, places, { compression, checksum, checksumWords })
    this.#record?.push(pointer)
    return pointer
  }
}

/** Blocks that count more than themselves have their count where an embedded block has content. */
function mayBeEmbedded({ type, level }: BlockIdentity): boolean {
  return level === 0 && type !== OBJECT_TYPE.dnode && type !== OBJECT_TYPE.objset
}
