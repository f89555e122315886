/** The records of files as they are stored, in the order of the files. */
import type { FinishedJob, Stage, StageJob } from '../../../data/stage.ts'
import { COMPRESSION } from '../constants.ts'
import { EMBEDDED_SIZE_MAXIMUM } from '../disk.ts'
import type { PackedBlock } from '../packing.ts'
import type { OwnParts } from './own-files.ts'
import { CHECKSUM_SIZE, PART_FIELDS, type PackedRecords, type PackerSetup, type PackTask, PartField } from './protocol.ts'
import type { RecordRead } from './sources.ts'

/** Parts of files in an input slot, of which records are packed together. */
export interface RecordJob extends StageJob {
  /** The one slot. */
  readonly slot: number
  readonly packing: number
  readonly compressionId: number
  /** As `PackTask` has them. */
  readonly parts: Int32Array<ArrayBuffer>
  /** Of each part: the number of the file, and of its first record in that. */
  readonly files: readonly number[]
  readonly firstRecords: readonly number[]
}

export type RecordStage = Stage<PackerSetup, RecordJob, PackTask, PackedRecords, OwnParts, RecordRead>

/** A record that is not all zero, as it is stored. */
export interface PackedRecord extends PackedBlock {
  readonly index: number
  readonly logicalSize: number
  /** Where the bytes lie, which they do until the next record is asked for, or as long as the slot is held. */
  readonly slot: number
  readonly offset: number
}

/** The job that records are taken from, and how far that is. */
interface Current extends FinishedJob<RecordJob, PackedRecords> {
  part: number
  /** Of all records of the job, and of those of the part. */
  record: number
  recordOfPart: number
  outputAt: number
}

export class RecordStream {
  readonly #stage: RecordStage
  readonly #beforeWait: () => void
  #current: Current | undefined

  /** `beforeWait` is called when the next record is not there yet. */
  constructor(stage: RecordStage, beforeWait: () => void) {
    this.#stage = stage
    this.#beforeWait = beforeWait
  }

  /** The next record of a file; undefined when it has no more. Files are asked for in their order. */
  async next(file: number): Promise<PackedRecord | undefined> {
    for (;;) {
      const record = this.ready(file)
      if (record !== undefined || this.#current !== undefined) return record
      this.#beforeWait()
      const done = await this.#stage.next()
      if (done === undefined) return undefined
      this.#current = begin(done)
    }
  }

  /** The same without waiting; undefined also where `next` would have to. */
  ready(file: number): PackedRecord | undefined {
    for (let current = this.#atRecord(); current !== undefined; current = this.#atRecord()) {
      const { job, result, outputSlot, part, record, recordOfPart, outputAt } = current
      if (job.files[part] !== file) return undefined
      const size = result.sizes[record] as number
      current.record++
      current.recordOfPart++
      if (size === 0) continue
      const isCompressed = size > 0
      const stored = Math.abs(size)
      current.outputAt += stored
      const isEmbedded = isCompressed && stored <= EMBEDDED_SIZE_MAXIMUM
      return {
        index: (job.firstRecords[part] as number) + recordOfPart,
        logicalSize: job.parts[PART_FIELDS * part + PartField.recordSize] as number,
        compression: isCompressed ? job.compressionId : COMPRESSION.off,
        bytes: this.#stage.outputs.view(outputSlot, outputAt, stored),
        checksumWords: isEmbedded ? undefined : result.checksums.subarray(CHECKSUM_SIZE * record, CHECKSUM_SIZE * (record + 1)),
        slot: outputSlot,
        offset: outputAt,
      }
    }
    return undefined
  }

  /** Wait until all is read and checked. To be called when no record is left. */
  async finish(): Promise<void> {
    if (this.#atRecord() !== undefined || (await this.#stage.next()) !== undefined) throw new RangeError('records of files are left')
  }

  /** The job with the next record, zero or not; undefined when it is not done yet. */
  #atRecord(): Current | undefined {
    for (;;) {
      const current = this.#current
      if (current === undefined) {
        const done = this.#stage.ready()
        if (done === undefined) return undefined
        this.#current = begin(done)
        continue
      }
      const { parts } = current.job
      const at = PART_FIELDS * current.part
      if (at === parts.length) {
        this.#stage.outputs.release(current.outputSlot)
        this.#current = undefined
        continue
      }
      const count = Math.ceil((parts[at + PartField.length] as number) / (parts[at + PartField.recordSize] as number))
      if (current.recordOfPart < count) return current
      current.part++
      current.recordOfPart = 0
    }
  }
}

function begin(done: FinishedJob<RecordJob, PackedRecords>): Current {
  return { ...done, part: 0, record: 0, recordOfPart: 0, outputAt: 0 }
}
