/** What a thread does that writes to a file which was lent to it (`Target.lent`). */
import { writeSync, writevSync } from 'node:fs'
import { writeError } from '../io/write-error.ts'
import type { Stop } from '../threads/work.ts'
import type { Slotted } from './slots.ts'

/** Pieces of a file; those that lie behind each other are written at once. */
export interface PiecesWrite {
  readonly descriptor: number
  /** The file in errors. */
  readonly label: string
  /** `PIECE_FIELDS` numbers a piece, see `Piece`; ascending where pieces are to be written at once. */
  readonly pieces: Float64Array<ArrayBuffer>
  /** Bytes that lie in no slot. */
  readonly own: Uint8Array<ArrayBuffer>
  /** A gap of less than so many bytes between two pieces is filled with zeros. */
  readonly unit: number
}

export const PIECE_FIELDS = 4
export const Piece = {
  /** In the file. */
  position: 0,
  /** A slot, or `OWN`. */
  slot: 1,
  /** Where in the slot, or in the task's own bytes. */
  offset: 2,
  length: 3,
} as const
export const OWN = -1

/** Linux writes no more at once. */
const PIECES_AT_ONCE = 1024

/** Throws WRITE_FAILED. */
export function writePieces({ descriptor, label, pieces, own, unit }: PiecesWrite, slots: Slotted, stop: Stop): void {
  const ownBytes = Buffer.from(own.buffer, own.byteOffset, own.length)
  const zeros = Buffer.alloc(unit)
  let run: Buffer[] = []
  let start = 0
  let end = 0
  const flush = (): void => {
    if (run.length > 0 && !stop.isStopped()) writeAll(descriptor, label, start, run, end - start)
    run = []
  }
  for (let at = 0; at < pieces.length; at += PIECE_FIELDS) {
    const field = (index: number): number => pieces[at + index] as number
    const position = field(Piece.position)
    const slot = field(Piece.slot)
    const from = field(Piece.offset) + (slot === OWN ? 0 : slot * slots.slotSize)
    const bytes = (slot === OWN ? ownBytes : slots.bytes).subarray(from, from + field(Piece.length))
    const gap = position - end
    if (gap < 0 || gap >= Math.max(1, unit) || run.length + 2 > PIECES_AT_ONCE) flush()
    if (run.length === 0) start = position
    else if (gap > 0) run.push(zeros.subarray(0, gap))
    run.push(bytes)
    end = position + bytes.length
  }
  flush()
}

/** Throws WRITE_FAILED. */
function writeAll(descriptor: number, label: string, position: number, pieces: readonly Buffer[], length: number): void {
  let done = 0
  try {
    if (pieces.length > 1) done = writevSync(descriptor, pieces, position)
  } catch (error) {
    throw writeError(label, error)
  }
  if (done === length) return
  // What is left when the system wrote a part.
  for (const piece of pieces) {
    if (done < piece.length) writeAt(descriptor, label, position + done, piece.subarray(done))
    position += piece.length
    done = Math.max(0, done - piece.length)
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
