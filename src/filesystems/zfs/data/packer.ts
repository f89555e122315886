/** Packs batches of records, by worker threads or in the calling thread; with either come the same bytes. */

import { setImmediate } from 'node:timers/promises'
import { BatchPool } from '../../../codecs/blocks/pool.ts'
import { ImageError } from '../../../errors.ts'
import type { BuildContext } from '../../../io/image.ts'
import { workerFile } from '../../../io/worker-file.ts'
import type { PackingSpec } from '../packing.ts'
import type { PackedBatch, PackerSetup, RecordBatch } from './protocol.ts'
import { openBatchWork } from './work.ts'

const WORKER_FILE = workerFile(import.meta.url)

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
export async function openPacker(
  packings: readonly PackingSpec[],
  recordSizeMaximum: number,
  contentBytes: number,
  context: BuildContext,
): Promise<Packer> {
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
  const slots = {
    slotCount,
    slotSize,
    input: (slot: number): Uint8Array => new Uint8Array(setup.input, slot * slotSize, slotSize),
    output: (slot: number): Uint8Array => new Uint8Array(setup.output, slot * slotSize, slotSize),
  }
  return { ...slots, ...(isAlone ? await ownThread(setup) : threads(setup, jobs, context.signal)) }
}

type Runner = Pick<Packer, 'run' | 'close'>

async function ownThread(setup: PackerSetup): Promise<Runner> {
  const work = await openBatchWork(setup, () => false)
  return {
    async run(batch) {
      // A signal can only come while nothing runs.
      await setImmediate()
      return work(batch)
    },
    async close() {},
  }
}

function threads(setup: PackerSetup, count: number, signal: AbortSignal | undefined): Runner {
  const pool = new BatchPool<RecordBatch, PackedBatch>(WORKER_FILE, setup, count)
  const abort = (): void => pool.fail(new ImageError('ABORTED', 'cancelled', { cause: signal?.reason }))
  signal?.addEventListener('abort', abort)
  return {
    run: (batch) => pool.run(batch),
    close() {
      signal?.removeEventListener('abort', abort)
      return pool.close()
    },
  }
}
