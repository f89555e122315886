/**
 * The part of a thread's work that formats share: reading into slots, comparing with what lies there, and writing from
 * slots to a file that was lent. A format adds what it makes of the bytes in between.
 */
import type { Stop } from '../threads/work.ts'
import type { Parts } from './segments.ts'
import { type SlotMemory, type Slotted, slotted } from './slots.ts'
import { type Rooms, type StreamPart, type StreamPartResult, StreamReader } from './stream-reader.ts'
import { type PiecesWrite, writePieces } from './write-slots.ts'

export interface SlotSetup {
  /** File contents. */
  readonly inputs: SlotMemory
  /** What was made of them. */
  readonly outputs: SlotMemory
}

/** Read a part of a stream into an input slot. */
export interface ReadTask extends StreamPart {
  readonly kind: 'read'
  readonly slot: number
}

/** Compare parts of files with what lies in an input slot. */
export interface CompareTask extends Parts {
  readonly kind: 'compare'
  readonly slot: number
}

/** Write what lies in output slots. */
export interface WriteTask extends PiecesWrite {
  readonly kind: 'write'
}

export type SlotTask = ReadTask | CompareTask | WriteTask

export interface ReadResult extends StreamPartResult {
  readonly kind: 'read'
}

export interface CompareResult {
  readonly kind: 'compare'
  /** The first part that is different, or -1. */
  readonly different: number
}

export interface WriteResult {
  readonly kind: 'write'
}

export type SlotResult = ReadResult | CompareResult | WriteResult

export class SlotWork {
  readonly #inputs: Slotted
  readonly #outputs: Slotted
  readonly #reader: StreamReader
  readonly #stop: Stop

  constructor({ inputs, outputs }: SlotSetup, stop: Stop) {
    this.#inputs = slotted(inputs)
    this.#outputs = slotted(outputs)
    this.#reader = new StreamReader(stop)
    this.#stop = stop
  }

  /** Throws UNREADABLE, CHANGED and WRITE_FAILED. */
  run(task: SlotTask): SlotResult {
    switch (task.kind) {
      case 'read':
        return { kind: 'read', ...this.#reader.read(task, this.#rooms(task.slot)) }
      case 'compare':
        return { kind: 'compare', different: this.#reader.compare(task, this.#rooms(task.slot)) }
      case 'write':
        writePieces(task, this.#outputs, this.#stop)
        return { kind: 'write' }
    }
  }

  /** Afterwards nothing is open. */
  close(): void {
    this.#reader.close()
  }

  #rooms(slot: number): Rooms {
    const { bytes, slotSize } = this.#inputs
    const base = slot * slotSize
    return { room: (place, length) => bytes.subarray(base + place, base + place + length) }
  }
}
