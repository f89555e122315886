/**
 * What is said of batches of records. Records do not travel in messages: they lie one after the other in a slot of shared
 * memory, and what became of them in a slot of another.
 */
import type { PackingSpec } from '../packing.ts'

export interface PackerSetup {
  readonly packings: readonly PackingSpec[]
  /** Bytes of a slot of either memory. */
  readonly slotSize: number
  readonly input: SharedArrayBuffer
  readonly output: SharedArrayBuffer
}

export interface RecordBatch {
  readonly slot: number
  /** Which of the packings. */
  readonly packing: number
  /** Bytes of each record. */
  readonly sizes: Int32Array<ArrayBuffer>
}

export interface PackedBatch {
  /** Bytes of each record as it is stored, or `AS_IT_IS`: then they are those of the input. */
  readonly sizes: Int32Array<ArrayBuffer>
  /** `CHECKSUM_SIZE` bytes a record. */
  readonly checksums: Uint8Array<ArrayBuffer>
}

export const AS_IT_IS = -1
export const CHECKSUM_SIZE = 32
