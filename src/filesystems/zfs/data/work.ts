/** What is done with a batch of records, in whatever thread. */
import type { WorkModule } from '../../../threads/work.ts'
import { COMPRESSION } from '../constants.ts'
import { openPacking } from '../packing.ts'
import { AS_IT_IS, CHECKSUM_SIZE, type PackedBatch, type PackerSetup, type RecordBatch } from './protocol.ts'

export const work: WorkModule<PackerSetup, RecordBatch, PackedBatch> = {
  module: import.meta.url,
  async open(setup, { isStopped }) {
    const { slotSize } = setup
    const packings = await Promise.all(setup.packings.map((packing) => openPacking(packing)))
    return {
      run({ slot, packing, sizes }) {
        const pack = packings[packing]
        if (pack === undefined) throw new RangeError(`there is no packing ${packing}`)
        const packed = { sizes: new Int32Array(sizes.length), checksums: new Uint8Array(CHECKSUM_SIZE * sizes.length) }
        const input = new Uint8Array(setup.input, slot * slotSize, slotSize)
        const output = new Uint8Array(setup.output, slot * slotSize, slotSize)
        let from = 0
        let to = 0
        for (const [index, size] of sizes.entries()) {
          if (isStopped()) break
          const { bytes, compression, checksumWords } = pack(input.subarray(from, from + size), output.subarray(to), true)
          const isAsItIs = compression === COMPRESSION.off
          packed.sizes[index] = isAsItIs ? AS_IT_IS : bytes.length
          if (checksumWords !== undefined) packed.checksums.set(checksumWords, CHECKSUM_SIZE * index)
          from += size
          if (!isAsItIs) to += bytes.length
        }
        return packed
      },
    }
  },
}
