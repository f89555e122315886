/** Dnodes: what a file system or the pool knows of an object (OpenZFS `include/sys/dnode.h`). */
import { addSpace, type BlockPointer, NO_SPACE, type Space } from './block-pointer.ts'
import { BLOCK_POINTER_SIZE, DNODE_SIZE, INDIRECT_SHIFT_MAXIMUM, OBJECT_TYPE, SECTOR_SIZE } from './constants.ts'
import { DNODE, DNODE_BONUS_END, DNODE_FLAGS, DNODE_POINTERS_OFFSET, DNODE_SPILL_OFFSET } from './disk.ts'

/** The data of an object: the blocks of a tree of pointers. */
export interface ObjectData {
  /** Bytes of each block. */
  readonly blockSize: number
  /** Blocks that the size of the object spans, holes among them; at least 1. */
  readonly blockCount: number
  readonly levels: number
  readonly indirectShift: number
  /** Of the top; a hole when all is. */
  readonly pointer: BlockPointer
  /** All blocks, those of pointers too. */
  readonly space: Space
}

export interface Bonus {
  readonly type: number
  readonly bytes: Uint8Array
}

export interface DnodeContent {
  readonly type: number
  readonly data: ObjectData
  readonly bonus?: Bonus
  /** The block of what has no room in the bonus. */
  readonly spill?: BlockPointer
  /** `DNODE_FLAGS` beyond those of space and spill. */
  readonly flags?: number
  /** 1, or 3 where a space map is to have no room for a histogram. */
  readonly blockPointers?: number
}

/** Bytes that a bonus may have, beside one block pointer. */
export const BONUS_SIZE_MAXIMUM = DNODE_BONUS_END - DNODE_POINTERS_OFFSET - BLOCK_POINTER_SIZE
/** And with a spill block. */
export const BONUS_SIZE_WITH_SPILL = BONUS_SIZE_MAXIMUM - BLOCK_POINTER_SIZE

export function dnodeSpace({ data, spill }: DnodeContent): Space {
  return addSpace(data.space, spill ?? NO_SPACE)
}

/** The 512 bytes. */
export function encodeDnode(content: DnodeContent): Uint8Array {
  const dnode = new Uint8Array(DNODE_SIZE)
  writeDnode(dnode, 0, content)
  return dnode
}

/** The same at `offset` of a target that is zero there. */
export function writeDnode(target: Uint8Array, offset: number, content: DnodeContent): void {
  const { type, data, bonus, spill, flags = 0, blockPointers = 1 } = content
  const { used } = dnodeSpace(content)
  DNODE.write(target, offset, {
    type,
    indirectShift: data.indirectShift,
    levels: data.levels,
    blockPointers,
    bonusType: bonus?.type ?? OBJECT_TYPE.none,
    flags: flags | (used > 0 ? DNODE_FLAGS.usedBytes : 0) | (spill === undefined ? 0 : DNODE_FLAGS.spill),
    dataSectors: data.blockSize / SECTOR_SIZE,
    bonusSize: bonus?.bytes.length ?? 0,
    maxBlock: data.blockCount - 1,
    used,
  })
  target.set(data.pointer.bytes, offset + DNODE_POINTERS_OFFSET)
  if (bonus !== undefined) target.set(bonus.bytes, offset + DNODE_POINTERS_OFFSET + BLOCK_POINTER_SIZE * blockPointers)
  if (spill !== undefined) target.set(spill.bytes, offset + DNODE_SPILL_OFFSET)
}

/** An object with no data, or nothing but holes. */
export function emptyData(blockSize: number, pointer: BlockPointer): ObjectData {
  return { blockSize, blockCount: 1, levels: 1, indirectShift: INDIRECT_SHIFT_MAXIMUM, pointer, space: NO_SPACE }
}
