/** What is done with a task, in whatever thread: what formats share, and blocks are compressed. Nothing is decided here. */
import type { Codec } from '../../../codecs/codec.ts'
import { isSlow, probablyIncompressible } from '../../../codecs/incompressible.ts'
import { openCodec } from '../../../codecs/open.ts'
import { type SlotResult, type SlotTask, SlotWork } from '../../../data/slot-work.ts'
import { type Slotted, slotted } from '../../../data/slots.ts'
import type { Stop, WorkModule } from '../../../threads/work.ts'
import { DATA_UNCOMPRESSED } from '../disk.ts'
import { type CompressResult, type CompressTask, RUN_FIELDS, Run, RunFlag, type WorkSetup } from './protocol.ts'

export const work: WorkModule<WorkSetup, CompressTask | SlotTask, CompressResult | SlotResult> = {
  module: import.meta.url,
  async open(setup, stop) {
    const slots = new SlotWork(setup, stop)
    const compressor = new Compressor(setup, await openCodec(setup.codec, setup.blockSize), stop)
    return {
      run: (task) => (task.kind === 'job' ? compressor.compress(task) : slots.run(task)),
      close: () => slots.close(),
    }
  },
}

class Compressor {
  readonly #codec: Codec
  readonly #slow: boolean
  readonly #input: Slotted
  readonly #output: Slotted
  readonly #stop: Stop
  readonly #zeros: Buffer
  /** Room for a block that lies in several places. */
  readonly #gathered: Buffer

  constructor({ codec: spec, blockSize, inputs, outputs }: WorkSetup, codec: Codec, stop: Stop) {
    this.#codec = codec
    this.#slow = isSlow(spec)
    this.#input = slotted(inputs)
    this.#output = slotted(outputs)
    this.#stop = stop
    this.#zeros = Buffer.alloc(blockSize)
    this.#gathered = Buffer.alloc(blockSize)
  }

  compress({ runs, outputSlot }: CompressTask): CompressResult {
    const words: number[] = []
    const { bytes: output, slotSize } = this.#output
    const start = outputSlot * slotSize
    let at = start
    for (let run = 0; run < runs.length && !this.#stop.isStopped(); ) {
      let block = this.#run(runs, run)
      if (runs[run + Run.flag] === RunFlag.more) {
        let length = 0
        for (let more = true; more; run += RUN_FIELDS) {
          length += this.#run(runs, run).copy(this.#gathered, length)
          more = runs[run + Run.flag] === RunFlag.more
        }
        run -= RUN_FIELDS
        block = this.#gathered.subarray(0, length)
      }
      const isSparse = runs[run + Run.flag] === RunFlag.lastSparse
      run += RUN_FIELDS
      if (isSparse && this.#isZero(block)) {
        words.push(0)
        continue
      }
      const place = output.subarray(at, start + slotSize)
      const packed = this.#slow && probablyIncompressible(block) ? block : this.#codec.compress(block, place)
      const stored = packed.length < block.length ? packed : block
      const isInPlace = stored.buffer === place.buffer && stored.byteOffset === place.byteOffset
      if (!isInPlace) Buffer.from(stored.buffer, stored.byteOffset, stored.length).copy(place)
      at += stored.length
      words.push(stored === block ? block.length | DATA_UNCOMPRESSED : stored.length)
    }
    return { kind: 'job', words: new Uint32Array(words), length: at - start }
  }

  #run(runs: Int32Array, run: number): Buffer {
    const from = (runs[run + Run.slot] as number) * this.#input.slotSize + (runs[run + Run.offset] as number)
    return this.#input.bytes.subarray(from, from + (runs[run + Run.length] as number))
  }

  #isZero(block: Buffer): boolean {
    return block[0] === 0 && block[block.length - 1] === 0 && block.equals(this.#zeros.subarray(0, block.length))
  }
}
