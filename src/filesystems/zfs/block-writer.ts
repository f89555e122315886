/** Blocks on their way to the device: packed, placed, and handed on to be written. */
import type { Allocator } from './allocator.ts'
import { type BlockIdentity, type BlockPointer, embeddedPointer, storedPointer } from './block-pointer.ts'
import type { BlockSink, SlotPlace } from './block-sink.ts'
import { blockChecksum } from './checksum.ts'
import { CHECKSUM, COMPRESSION, OBJECT_TYPE } from './constants.ts'
import type { PackBlock, PackedBlock, PackingSpec } from './packing.ts'

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
  readonly #sink: BlockSink
  readonly #free = new Map<number, Uint8Array[]>()
  #scratch = new Uint8Array(0)
  #record: BlockPointer[] | undefined

  constructor(sink: BlockSink, allocator: Allocator) {
    this.allocator = allocator
    this.#sink = sink
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

  /** The same for a block that is packed. Where its bytes lie in an output slot, `from` says where. */
  writePacked(
    packed: PackedBlock,
    logicalSize: number,
    identity: BlockIdentity,
    { packing, copies }: PackedStyle,
    from?: SlotPlace,
  ): BlockPointer {
    const { bytes, compression, checksumWords } = packed
    if (checksumWords === undefined) return embeddedPointer(identity, logicalSize, compression, bytes)
    const how = { compression, checksum: packing.checksum, checksumWords }
    return this.#place(this.reserve(bytes.length, copies), bytes, how, logicalSize, identity, from)
  }

  /** Take the space of a block that is written later, as it is. */
  reserve(size: number, copies: number): Reservation {
    const places: number[] = []
    for (let copy = 0; copy < copies; copy++) places.push(this.allocator.allocate(size, copy))
    return { size, places }
  }

  /** Write a block to its reserved place. */
  writeReserved(reservation: Reservation, bytes: Uint8Array, identity: BlockIdentity): BlockPointer {
    const { fletcher4: checksum } = CHECKSUM
    const how = { compression: COMPRESSION.off, checksum, checksumWords: blockChecksum(checksum, bytes) }
    return this.#place(reservation, bytes, how, bytes.length, identity, undefined)
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

  /** Undefined when more may be written at once. Throws what writing threw. */
  drained(): Promise<void> | undefined {
    return this.#sink.drained()
  }

  /** Resolves when all is written. Throws what writing threw. */
  finish(): Promise<void> {
    return this.#sink.finish()
  }

  #place(
    { places }: Reservation,
    bytes: Uint8Array,
    how: StoredHow,
    logicalSize: number,
    identity: BlockIdentity,
    from: SlotPlace | undefined,
  ): BlockPointer {
    for (let copy = 0; copy < places.length; copy++) this.#sink.write(copy, places[copy] as number, bytes, from)
    const sizes = { logical: logicalSize, physical: bytes.length, onDisk: this.allocator.sizeOnDisk(bytes.length) }
    const pointer = storedPointer(identity, sizes, places, how)
    this.#record?.push(pointer)
    return pointer
  }
}

/** What the pointer to a stored block says of its form. */
type StoredHow = Parameters<typeof storedPointer>[3]

/** Blocks that count more than themselves have their count where an embedded block has content. */
function mayBeEmbedded({ type, level }: BlockIdentity): boolean {
  return level === 0 && type !== OBJECT_TYPE.dnode && type !== OBJECT_TYPE.objset
}
