/** What is done with file contents, in whatever thread: they are read, and records of them packed and written. */
import { type SlotResult, type SlotTask, SlotWork } from '../../../data/slot-work.ts'
import { type Slotted, slotted } from '../../../data/slots.ts'
import type { Stop, WorkModule } from '../../../threads/work.ts'
import { COMPRESSION } from '../constants.ts'
import { openPacking, type PackBlock } from '../packing.ts'
import { CHECKSUM_SIZE, PART_FIELDS, type PackedRecords, type PackerSetup, type PackTask, PartField } from './protocol.ts'

export const work: WorkModule<PackerSetup, PackTask | SlotTask, PackedRecords | SlotResult> = {
  module: import.meta.url,
  async open(setup, stop) {
    const slots = new SlotWork(setup, stop)
    const packings = await Promise.all(setup.packings.map((packing) => openPacking(packing)))
    const packer = new RecordPacker(slotted(setup.inputs), slotted(setup.outputs), packings, stop)
    return {
      run: (task) => (task.kind === 'job' ? packer.pack(task) : slots.run(task)),
      close: () => slots.close(),
    }
  },
}

class RecordPacker {
  readonly #inputs: Slotted
  readonly #outputs: Slotted
  readonly #packings: readonly PackBlock[]
  readonly #stop: Stop
  readonly #zeros: Buffer

  constructor(inputs: Slotted, outputs: Slotted, packings: readonly PackBlock[], stop: Stop) {
    this.#inputs = inputs
    this.#outputs = outputs
    this.#packings = packings
    this.#stop = stop
    this.#zeros = Buffer.alloc(inputs.slotSize)
  }

  pack({ slot, outputSlot, packing, parts }: PackTask): PackedRecords {
    const pack = this.#packings[packing]
    if (pack === undefined) throw new RangeError(`there is no packing ${packing}`)
    const input = slotOf(this.#inputs, slot)
    const output = slotOf(this.#outputs, outputSlot)
    const sizes: number[] = []
    const checksums: Uint8Array[] = []
    let to = 0
    for (let at = 0; at < parts.length; at += PART_FIELDS) {
      const recordSize = parts[at + PartField.recordSize] as number
      let from = parts[at + PartField.offset] as number
      const end = from + (parts[at + PartField.length] as number)
      for (; from < end && !this.#stop.isStopped(); from += recordSize) {
        const record = input.subarray(from, from + recordSize)
        const length = Math.min(recordSize, end - from)
        if (this.#isZero(record, length)) {
          sizes.push(0)
          checksums.push(NO_CHECKSUM)
          continue
        }
        record.fill(0, length)
        const room = output.subarray(to)
        const { bytes, compression, checksumWords } = pack(record, room, true)
        const isAsItIs = compression === COMPRESSION.off
        if (isAsItIs) record.copy(room)
        sizes.push(isAsItIs ? -bytes.length : bytes.length)
        checksums.push(checksumWords ?? NO_CHECKSUM)
        to += bytes.length
      }
    }
    return { kind: 'job', sizes: Int32Array.from(sizes), checksums: new Uint8Array(Buffer.concat(checksums)) }
  }

  #isZero(record: Buffer, length: number): boolean {
    return record[0] === 0 && record[length - 1] === 0 && record.compare(this.#zeros, 0, length, 0, length) === 0
  }
}

const NO_CHECKSUM = new Uint8Array(CHECKSUM_SIZE)

function slotOf({ bytes, slotSize }: Slotted, slot: number): Buffer {
  return bytes.subarray(slot * slotSize, (slot + 1) * slotSize)
}
