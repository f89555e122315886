/** Lists of block pointers, and the deadlists that are made of them (OpenZFS `module/zfs/{bpobj,dsl_deadlist}.c`). */
import { addSpace, type BlockPointer, NO_SPACE, type Space } from '../block-pointer.ts'
import { BLOCK_POINTER_SIZE, BLOCK_SIZE_MAXIMUM, OBJECT_TYPE } from '../constants.ts'
import { BLOCK_POINTER, BPOBJ, DEADLIST } from '../disk.ts'
import { zapEntry } from '../zap/index.ts'
import type { MetaObjects } from './objects.ts'

/** An empty list. */
export function emptyBpobj(objects: MetaObjects, blockSize: number): number {
  return objects.hole({ type: OBJECT_TYPE.bpobj, bonusType: OBJECT_TYPE.bpobjHeader, bonus: BPOBJ.encode({}) }, blockSize)
}

/** What follows in a block pointer, its count and checksum, stays out of lists, where the count has another meaning. */
const LISTED_SIZE = BLOCK_POINTER.fields.fill[0]

/** A list of up to 1024 pointers, which is far more than an empty file system has. */
function filledBpobj(objects: MetaObjects, pointers: readonly BlockPointer[]): number {
  const block = new Uint8Array(BLOCK_SIZE_MAXIMUM)
  for (const [index, { bytes }] of pointers.entries()) block.set(bytes.subarray(0, LISTED_SIZE), BLOCK_POINTER_SIZE * index)
  const bonus = BPOBJ.encode({ pointers: pointers.length, ...spaceOf(pointers) })
  return objects.block({ type: OBJECT_TYPE.bpobj, bonusType: OBJECT_TYPE.bpobjHeader, bonus }, block)
}

/** Lists of the blocks that a dataset no longer has, by the snapshot after which they were born. */
export interface DeadlistFacts {
  /** 0, that of the origin, and those of all snapshots before the last one. */
  readonly keys: readonly number[]
  /** Blocks that were born after the origin and before the first snapshot. */
  readonly dead: readonly BlockPointer[]
  /** The one empty list that all share; undefined where the feature is missing. */
  readonly sharedEmpty: number | undefined
}

/** Which of the keys is that of the origin. */
const AFTER_ORIGIN = 1

/** Counts of the shared list go up by one for each key that uses it. */
export function deadlist(objects: MetaObjects, facts: DeadlistFacts): { readonly object: number; readonly sharedUses: number } {
  let sharedUses = 0
  const entries = facts.keys.map((key, index) => {
    const isFilled = index === AFTER_ORIGIN && facts.dead.length > 0
    if (isFilled) return zapEntry(key.toString(16), filledBpobj(objects, facts.dead))
    if (facts.sharedEmpty !== undefined) sharedUses++
    return zapEntry(key.toString(16), facts.sharedEmpty ?? emptyBpobj(objects, BLOCK_SIZE_MAXIMUM))
  })
  const bonus = DEADLIST.encode(spaceOf(facts.dead))
  const object = objects.zap({ type: OBJECT_TYPE.deadlist, bonusType: OBJECT_TYPE.deadlistHeader, bonus }, entries)
  return { object, sharedUses }
}

function spaceOf(pointers: readonly BlockPointer[]): Space {
  return pointers.reduce<Space>((sum, pointer) => addSpace(sum, pointer), NO_SPACE)
}
