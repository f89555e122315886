/** Slots of shared memory, in which bytes lie that no message carries. */

/** As it is sent to threads. */
export interface SlotMemory {
  readonly memory: SharedArrayBuffer
  /** Bytes. */
  readonly slotSize: number
}

/** As threads see it. */
export interface Slotted {
  readonly bytes: Buffer
  readonly slotSize: number
}

export function slotted({ memory, slotSize }: SlotMemory): Slotted {
  return { bytes: Buffer.from(memory), slotSize }
}

/** A pool of slots with reference counts, on the side of whoever gives work to threads. */
export class Slots implements SlotMemory {
  readonly memory: SharedArrayBuffer
  readonly slotSize: number
  readonly #bytes: Uint8Array
  readonly #references: Uint32Array
  readonly #free: number[]

  constructor(count: number, slotSize: number, memory = new SharedArrayBuffer(count * slotSize)) {
    this.slotSize = slotSize
    this.memory = memory
    this.#bytes = new Uint8Array(this.memory)
    this.#references = new Uint32Array(count)
    this.#free = Array.from({ length: count }, (_, index) => count - 1 - index)
  }

  get freeCount(): number {
    return this.#free.length
  }

  /** Take a free slot with one reference; call only when `freeCount` is not 0. */
  take(): number {
    const slot = this.#free.pop()
    if (slot === undefined) throw new RangeError('no slot is free')
    this.#references[slot] = 1
    return slot
  }

  hold(slot: number): void {
    this.#references[slot] = (this.#references[slot] ?? 0) + 1
  }

  release(slot: number): void {
    const left = (this.#references[slot] ?? 0) - 1
    this.#references[slot] = left
    if (left === 0) this.#free.push(slot)
  }

  /** Copy bytes of one slot to another. */
  copy(from: number, fromOffset: number, length: number, to: number, toOffset: number): void {
    const start = from * this.slotSize + fromOffset
    this.#bytes.copyWithin(to * this.slotSize + toOffset, start, start + length)
  }

  view(slot: number, offset: number, length: number): Uint8Array {
    const start = slot * this.slotSize + offset
    return this.#bytes.subarray(start, start + length)
  }
}

/** Memory of packing runs that ended, one of each size, in this thread. */
const spareMemory = new Map<number, SharedArrayBuffer>()

/** Memory that may have been used before: that of many small runs would add up until the collector looks. */
export function takeMemory(size: number): SharedArrayBuffer {
  const spare = spareMemory.get(size)
  spareMemory.delete(size)
  return spare ?? new SharedArrayBuffer(size)
}

/** Nobody uses `memory` any more; another run may. */
export function returnMemory(memory: SharedArrayBuffer): void {
  spareMemory.set(memory.byteLength, memory)
}
