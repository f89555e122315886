/** What is done with a task, in whatever thread: streams of files are read and hashed, blocks are compressed. Nothing is decided here. */
import type { Codec } from '../../../codecs/codec.ts'
import { isSlow, probablyIncompressible } from '../../../codecs/incompressible.ts'
import { openCodec } from '../../../codecs/open.ts'
import { type Rooms, StreamReader } from '../../../data/stream-reader.ts'
import { writeSlots } from '../../../data/write-slots.ts'
import type { Stop, Work, WorkModule } from '../../../threads/work.ts'
import { DATA_UNCOMPRESSED } from '../disk.ts'
import type { CompressResult, CompressTask, Result, Task, WorkSetup } from './protocol.ts'
import { INPUT_SLOT_SIZE, OUTPUT_SLOT_SIZE, RUN_FIELDS, Run, RunFlag } from './protocol.ts'

export const work: WorkModule<WorkSetup, Task, Result> = {
  module: import.meta.url,
  open: async (setup, stop) => new Tasks(setup, await openCodec(setup.codec, setup.blockSize), stop),
}

class Tasks implements Work<Task, Result> {
  readonly #codec: Codec
  readonly #slow: boolean
  readonly #input: Buffer
  readonly #output: Buffer
  readonly #stop: Stop
  readonly #zeros: Buffer
  /** Room for a block that lies in several places. */
  readonly #gathered: Buffer
  readonly #reader: StreamReader

  constructor(setup: WorkSetup, codec: Codec, stop: Stop) {
    this.#codec = codec
    this.#slow = isSlow(setup.codec)
    this.#input = Buffer.from(setup.inputSlots)
    this.#output = Buffer.from(setup.outputSlots)
    this.#stop = stop
    this.#reader = new StreamReader(stop)
    this.#zeros = Buffer.alloc(setup.blockSize)
    this.#gathered = Buffer.alloc(setup.blockSize)
  }

  run(task: Task): Result {
    switch (task.kind) {
      case 'read':
        return { kind: 'read', ...this.#reader.read(task, this.#rooms(task.slot)) }
      case 'compare':
        return { kind: 'compare', different: this.#reader.compare(task, this.#rooms(task.slot)) }
      case 'compress':
        return this.#compress(task)
      case 'write':
        writeSlots(task, this.#output, OUTPUT_SLOT_SIZE, this.#stop)
        return { kind: 'write' }
    }
  }

  close(): void {
    this.#reader.close()
  }

  /** Contents lie in the slot of the task. */
  #rooms(slot: number): Rooms {
    const base = slot * INPUT_SLOT_SIZE
    return { room: (place, length) => this.#input.subarray(base + place, base + place + length) }
  }

  #compress({ runs, outputSlot }: CompressTask): CompressResult {
    const words: number[] = []
    const start = outputSlot * OUTPUT_SLOT_SIZE
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
      const place = this.#output.subarray(at, start + OUTPUT_SLOT_SIZE)
      const packed = this.#slow && probablyIncompressible(block) ? block : this.#codec.compress(block, place)
      const stored = packed.length < block.length ? packed : block
      const isInPlace = stored.buffer === place.buffer && stored.byteOffset === place.byteOffset
      if (!isInPlace) Buffer.from(stored.buffer, stored.byteOffset, stored.length).copy(place)
      at += stored.length
      words.push(stored === block ? block.length | DATA_UNCOMPRESSED : stored.length)
    }
    return { kind: 'compress', words: new Uint32Array(words), length: at - start }
  }

  #run(runs: Int32Array, run: number): Buffer {
    const from = (runs[run + Run.slot] as number) * INPUT_SLOT_SIZE + (runs[run + Run.offset] as number)
    return this.#input.subarray(from, from + (runs[run + Run.length] as number))
  }

  #isZero(block: Buffer): boolean {
    return block[0] === 0 && block[block.length - 1] === 0 && block.equals(this.#zeros.subarray(0, block.length))
  }
}
