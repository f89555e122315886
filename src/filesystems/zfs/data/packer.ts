/** Packs batches of records, by worker threads or in the calling thread; with either come the same bytes. */

import type { BuildContext } from '../../../io/image.ts'
import { Pool } from '../../../threads/pool.ts'
import type { PackingSpec } from '../packing.ts'
import type { PackedBatch, PackerSetup, RecordBatch } from './protocol.ts'
import { work } from './work.ts'

export interface Packer {
  readonly slotCount: number
  readonly slotSize: number
  /** The memory of a slot, which holds until the slot is used again. */
  input(slot: number): Uint8Array
  output(slot: number): Uint8Array
  /** Throws WORKER_DIED, ABORTED and what the codecs throw. */
  run(batch: RecordBatch): Promise<PackedBatch>
  /** Afterwards no thread runs. */
  close(): Promise<void>
}

/** Bytes of a slot, unless a record is larger: many small files, so that none of them costs a message. */
const SLOT_SIZE = 512 << 10
/** Of all slots; of large records fewer wait. */
const SLOTS_SIZE_MAXIMUM = 192 << 20
/** Starting a thread takes as long as packing so many bytes. */
const BYTES_WORTH_A_THREAD = 4 << 20

/** `contentBytes` is about how much will come. */
export function openPacker(
  packings: readonly PackingSpec[],
  recordSizeMaximum: number,
  contentBytes: number,
  context: BuildContext,
): Packer {
  const slotSize = Math.max(SLOT_SIZE, recordSizeMaximum)
  const isAlone = context.threads === 'none' || contentBytes < BYTES_WORTH_A_THREAD
  const jobs = Math.min(context.jobs, Math.ceil(contentBytes / slotSize))
  const slotCount = isAlone ? 1 : Math.min(2 * jobs + 2, Math.max(jobs + 1, Math.floor(SLOTS_SIZE_MAXIMUM / 2 / slotSize)))
  const setup: PackerSetup = {
    packings,
    slotSize,
    input: new SharedArrayBuffer(slotCount * slotSize),
    output: new SharedArrayBuffer(slotCount * slotSize),
  }
  const pool = new Pool(work, setup, { count: jobs, threads: isAlone ? 'none' : 'workers', signal: context.signal })
  return {
    slotCount,
    slotSize,
    input: (slot) => new Uint8Array(setup.input, slot * slotSize, slotSize),
    output: (slot) => new Uint8Array(setup.output, slot * slotSize, slotSize),
    run: (batch) => pool.run(batch),
    close: () => pool.close(),
  }
}
