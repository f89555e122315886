/** The tree of block pointers over the data of an object, written from its leaves up. */
import { addSpace, type BlockPointer, HOLE, NO_SPACE, type Space } from './block-pointer.ts'
import type { BlockStyle, BlockWriter } from './block-writer.ts'
import { BLOCK_POINTER_SIZE, COMPRESSION, INDIRECT_SHIFT_MAXIMUM } from './constants.ts'
import type { ObjectData } from './dnode.ts'

/** How an object set writes. */
export interface WriteContext {
  readonly writer: BlockWriter
  readonly birthTxg: number
  /** Of all but file contents. */
  readonly metadataStyle: BlockStyle
}

/** A block of pointers that is not written yet. */
interface Pending {
  index: number
  fill: number
  bytes: Uint8Array | undefined
}

/** Blocks of pointers are small when they are not compressed; this many fill bytes would only be read. */
const SHIFT_MINIMUM = 12

/** The size of blocks of pointers, as a power of two: 128 KiB when zeros cost nothing, else as small as holds all. */
export function indirectShiftFor(blockCount: number, isCompressed: boolean): number {
  if (isCompressed) return INDIRECT_SHIFT_MAXIMUM
  const wanted = Math.ceil(Math.log2(Math.max(1, blockCount) * BLOCK_POINTER_SIZE))
  return Math.min(INDIRECT_SHIFT_MAXIMUM, Math.max(SHIFT_MINIMUM, wanted))
}

/** Levels of a tree of `blockCount` blocks, the data among them. */
export function levelsFor(blockCount: number, indirectShift: number): number {
  const perBlock = 2 ** indirectShift / BLOCK_POINTER_SIZE
  let levels = 1
  for (let count = blockCount; count > 1; count = Math.ceil(count / perBlock)) levels++
  return levels
}

/** Takes the pointers of the data blocks in ascending order, and leaves out holes. */
export class PointerTree {
  readonly #context: WriteContext
  readonly #type: number
  readonly #blockSize: number
  readonly #blockCount: number
  readonly #indirectShift: number
  readonly #levels: number
  readonly #pending: Pending[] = []
  #top: BlockPointer = HOLE
  #space: Space = NO_SPACE

  constructor(context: WriteContext, type: number, blockSize: number, blockCount: number) {
    this.#context = context
    this.#type = type
    this.#blockSize = blockSize
    this.#blockCount = Math.max(1, blockCount)
    this.#indirectShift = indirectShiftFor(this.#blockCount, context.metadataStyle.packing.compression.id !== COMPRESSION.off)
    this.#levels = levelsFor(this.#blockCount, this.#indirectShift)
    for (let level = 1; level < this.#levels; level++) this.#pending.push({ index: 0, fill: 0, bytes: undefined })
  }

  add(index: number, pointer: BlockPointer): void {
    this.#add(0, index, pointer)
  }

  finish(): ObjectData {
    for (let level = 0; level < this.#levels - 1; level++) this.#flush(level)
    return {
      blockSize: this.#blockSize,
      blockCount: this.#blockCount,
      levels: this.#levels,
      indirectShift: this.#indirectShift,
      pointer: this.#top,
      space: this.#space,
    }
  }

  #add(level: number, index: number, pointer: BlockPointer): void {
    this.#space = addSpace(this.#space, pointer)
    const pending = this.#pending[level]
    if (pending === undefined) {
      this.#top = pointer
      return
    }
    const perBlock = 2 ** this.#indirectShift / BLOCK_POINTER_SIZE
    const own = Math.floor(index / perBlock)
    if (own !== pending.index) this.#flush(level)
    pending.index = own
    pending.fill += pointer.fill
    pending.bytes ??= this.#context.writer.zeroed(2 ** this.#indirectShift)
    pending.bytes.set(pointer.bytes, BLOCK_POINTER_SIZE * (index % perBlock))
  }

  #flush(level: number): void {
    const pending = this.#pending[level]
    if (pending?.bytes === undefined) return
    const { bytes, index, fill } = pending
    pending.bytes = undefined
    pending.fill = 0
    const { writer, birthTxg, metadataStyle } = this.#context
    const pointer = writer.write(bytes, { type: this.#type, level: level + 1, birthTxg, fill }, metadataStyle)
    writer.release(bytes)
    this.#add(level + 1, index, pointer)
  }
}

/** Write the data of an object that is metadata, block by block; blocks of zeros are not left out. */
export function writeMetadata(
  context: WriteContext,
  type: number,
  blockSize: number,
  blockCount: number,
  blocks: Iterable<Uint8Array>,
): ObjectData {
  const tree = new PointerTree(context, type, blockSize, blockCount)
  let index = 0
  for (const block of blocks) {
    const identity = { type, level: 0, birthTxg: context.birthTxg, fill: 1 }
    tree.add(index++, context.writer.write(block, identity, context.metadataStyle))
  }
  return tree.finish()
}
