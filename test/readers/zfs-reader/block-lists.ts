/** Lists of block pointers, and deadlists, which are maps of them (OpenZFS `include/sys/{bpobj,dsl_deadlist}.h`). */
import { number64 } from './device.ts'
import { mapOf } from './dsl.ts'
import type { Objset } from './objset.ts'
import { addSpace, NO_SPACE, POINTER_SIZE, type Pointer, readPointer, type Space, spaceOf } from './pointer.ts'
import { zapNumber } from './zap.ts'

export interface BlockList {
  readonly object: number
  readonly pointers: readonly Pointer[]
  readonly space: Space
  /** Objects of lists that belong to it, and of the list of them. */
  readonly parts: readonly number[]
}

export interface Deadlist {
  /** Of the whole, as its bonus says. */
  readonly space: Space
  /** Each list by the transaction group after which its blocks were born. */
  readonly lists: ReadonlyMap<number, BlockList>
}

/** Throws when the counts of a list are wrong. */
export function readBlockList(objset: Objset, object: number): BlockList {
  const stored = objset.objects.get(object)
  if (stored?.content === undefined || stored.bonus.length < 48) throw new Error(`there is no list ${object}`)
  const { bonus, content } = stored
  const count = number64(bonus, 0)
  const pointers = Array.from({ length: count }, (_, index) => readPointer(content, POINTER_SIZE * index))
  const parts: number[] = []
  let space = pointers.reduce<Space>((sum, pointer) => addSpace(sum, spaceOf(pointer)), NO_SPACE)
  const all = [...pointers]
  const below = number64(bonus, 32)
  if (below !== 0) {
    parts.push(below)
    const numbers = objset.objects.get(below)?.content ?? Buffer.alloc(0)
    for (let index = 0; index < number64(bonus, 40); index++) {
      const list = readBlockList(objset, number64(numbers, 8 * index))
      parts.push(list.object, ...list.parts)
      all.push(...list.pointers)
      space = addSpace(space, list.space)
    }
  }
  const counted = { used: number64(bonus, 8), compressed: number64(bonus, 16), uncompressed: number64(bonus, 24) }
  if (!isSame(counted, space)) throw new Error(`the list ${object} counts ${JSON.stringify(counted)}, it has ${JSON.stringify(space)}`)
  return { object, pointers: all, space, parts }
}

export function readDeadlist(objset: Objset, object: number): Deadlist {
  const bonus = objset.objects.get(object)?.bonus
  if (bonus === undefined || bonus.length !== 320) throw new Error(`there is no deadlist ${object}`)
  const map = mapOf(objset, object)
  const lists = new Map([...map.keys()].map((key) => [Number.parseInt(key, 16), readBlockList(objset, zapNumber(map, key))]))
  const space = { used: number64(bonus, 0), compressed: number64(bonus, 8), uncompressed: number64(bonus, 16) }
  return { space, lists }
}

export function isSame(a: Space, b: Space): boolean {
  return a.used === b.used && a.compressed === b.compressed && a.uncompressed === b.uncompressed
}
