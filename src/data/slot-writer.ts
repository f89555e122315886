/**
 * Sends what lies in output slots to a file that was lent, with whatever else belongs between: threads write it, many
 * pieces at a time, and the slots are free when it is written.
 */
import type { LentTarget } from '../io/target.ts'
import type { SlotResult, SlotTask } from './slot-work.ts'
import type { Slots } from './slots.ts'
import { OWN, PIECE_FIELDS, Piece } from './write-slots.ts'

/** A stage is one. */
interface Sender {
  readonly outputs: Slots
  send(task: SlotTask, moved: ArrayBuffer[], onResult: (result: SlotResult | { readonly kind: 'job' }) => void): void
}

/** Bytes that a write has beside those in slots. */
const OWN_SIZE = 256 << 10

export class SlotWriter {
  readonly #stage: Sender
  readonly #lent: LentTarget
  readonly #unit: number
  /** Of each lane, the pieces. */
  readonly #lanes: number[][]
  #slots: number[] = []
  #own: Buffer<ArrayBuffer> | undefined
  #ownLength = 0
  #bytes = 0

  /**
   * A lane has pieces that lie behind each other, or nearly: gaps of less than `unit` bytes read as zero and may be written.
   */
  constructor(stage: Sender, lent: LentTarget, { lanes = 1, unit = 0 }: { readonly lanes?: number; readonly unit?: number } = {}) {
    this.#stage = stage
    this.#lent = lent
    this.#unit = unit
    this.#lanes = Array.from({ length: lanes }, () => [])
  }

  /** Bytes that wait for `flush`. */
  get waiting(): number {
    return this.#bytes
  }

  /** Bytes of an output slot, which is held until they are written. */
  add(position: number, slot: number, offset: number, length: number, lane = 0): void {
    if (this.#slots.at(-1) !== slot) {
      this.#stage.outputs.hold(slot)
      this.#slots.push(slot)
    }
    this.#push(lane, position, slot, offset, length)
  }

  /** A copy of other bytes. */
  addBytes(position: number, bytes: Uint8Array, lane = 0): void {
    for (let done = 0; done < bytes.length; ) {
      if (this.#ownLength === OWN_SIZE) this.flush()
      this.#own ??= Buffer.allocUnsafeSlow(OWN_SIZE)
      const count = Math.min(bytes.length - done, OWN_SIZE - this.#ownLength)
      this.#own.set(bytes.subarray(done, done + count), this.#ownLength)
      this.#push(lane, position + done, OWN, this.#ownLength, count)
      this.#ownLength += count
      done += count
    }
  }

  /** Have all that waits written; what goes wrong is an error of the stage. */
  flush(): void {
    if (this.#bytes === 0) return
    const [slots, lent] = [this.#slots, this.#lent]
    const own = new Uint8Array(this.#own?.buffer ?? new ArrayBuffer(0), 0, this.#ownLength)
    const pieces = new Float64Array(this.#lanes.reduce((sum, lane) => sum + lane.length, 0))
    let at = 0
    for (const lane of this.#lanes) {
      pieces.set(lane, at)
      at += lane.length
      lane.length = 0
    }
    this.#slots = []
    this.#own = undefined
    this.#ownLength = 0
    this.#bytes = 0
    const { descriptor, label } = lent
    const task: SlotTask = { kind: 'write', descriptor, label, pieces, own, unit: this.#unit }
    this.#stage.send(task, [own.buffer], () => {
      for (const slot of slots) this.#stage.outputs.release(slot)
      for (let at = 0; at < pieces.length; at += PIECE_FIELDS)
        lent.written(pieces[at + Piece.position] as number, pieces[at + Piece.length] as number)
    })
  }

  /** Pieces that lie behind each other in the slot and in the file are one. */
  #push(lane: number, position: number, slot: number, offset: number, length: number): void {
    const pieces = this.#lanes[lane] as number[]
    const last = pieces.length - PIECE_FIELDS
    this.#bytes += length
    if (last >= 0 && pieces[last + 1] === slot) {
      const lastLength = pieces[last + 3] as number
      if (pieces[last] === position - lastLength && pieces[last + 2] === offset - lastLength) {
        pieces[last + 3] = lastLength + length
        return
      }
    }
    pieces.push(position, slot, offset, length)
  }
}
