/** What is said of files that are carried to a file. */
import type { StreamPart } from './stream-reader.ts'

/** Bytes that are read, hashed and written at a time: they stay in the cache of a core meanwhile. */
export const ROOM_SIZE = 1 << 20

/** Numbers of a run, in this order: its place, its length, and where in the output it belongs. */
export const RUN_FIELDS = 3

export interface CarrySetup {
  readonly descriptor: number
  /** The file in errors. */
  readonly label: string
}

/**
 * Parts of a digest to be read, hashed and written. A task fills several rooms one after the other; places count through
 * all of them, and each part and each run lies in one.
 */
export interface CarryTask extends StreamPart {
  /** `RUN_FIELDS` numbers a run, by place. */
  readonly runs: Float64Array<ArrayBuffer>
}

/** SHA-256 of a digest, with its last task. */
export type CarryResult = Uint8Array<ArrayBuffer> | undefined
