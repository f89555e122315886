/** What a thread does that writes to a file which was lent to it (`Target.lent`). */
import { writeSync } from 'node:fs'
import { writeError } from '../io/write-error.ts'
import type { Stop } from '../threads/work.ts'

/** What lies in slots, one after the other, to a file. */
export interface SlotWrite {
  readonly descriptor: number
  /** The file in errors. */
  readonly label: string
  readonly position: number
  /** Slot and bytes in it, in turn. */
  readonly slots: readonly number[]
}

/** `memory` has slots of `slotSize` bytes. Throws WRITE_FAILED. */
export function writeSlots({ descriptor, label, position, slots }: SlotWrite, memory: Buffer, slotSize: number, stop: Stop): void {
  let at = position
  for (let index = 0; index < slots.length && !stop.isStopped(); index += 2) {
    const start = (slots[index] as number) * slotSize
    const bytes = memory.subarray(start, start + (slots[index + 1] as number))
    writeAt(descriptor, label, at, bytes)
    at += bytes.length
  }
}

/** All of `bytes`. Throws WRITE_FAILED. */
export function writeAt(descriptor: number, label: string, position: number, bytes: Uint8Array): void {
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done, bytes.length - done, position + done)
  } catch (error) {
    throw writeError(label, error)
  }
}
