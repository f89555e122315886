/**
 * What is said of records that threads pack. Records do not travel in messages: they are made of what lies in an input
 * slot, and lie as they are stored, one after the other, in an output slot.
 */
import type { SlotSetup } from '../../../data/slot-work.ts'
import type { PackingSpec } from '../packing.ts'

export interface PackerSetup extends SlotSetup {
  readonly packings: readonly PackingSpec[]
}

export interface PackTask {
  readonly kind: 'job'
  readonly slot: number
  readonly outputSlot: number
  /** Which of the packings. */
  readonly packing: number
  /** `PART_FIELDS` numbers a part of a file, see `PartField`. */
  readonly parts: Int32Array<ArrayBuffer>
}

/** A part begins with a record and takes whole ones; what it has no bytes for at its end is zero. */
export const PART_FIELDS = 3
export const PartField = { offset: 0, length: 1, recordSize: 2 } as const

export interface PackedRecords {
  readonly kind: 'job'
  /** Of each record its bytes as it is stored; 0 when all are zero; negative when they are those of the record itself. */
  readonly sizes: Int32Array<ArrayBuffer>
  /** `CHECKSUM_SIZE` bytes a record. */
  readonly checksums: Uint8Array<ArrayBuffer>
}

export const CHECKSUM_SIZE = 32
