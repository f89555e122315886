/** Section 2.2, Packing Metadata: a stream of records, cut into 8 KiB blocks that are compressed alone. */
import type { Fields, Struct, StructValues } from '../../bytes/struct.ts'
import type { Codec } from '../../codecs/codec.ts'
import { METADATA_BLOCK_SIZE, METADATA_UNCOMPRESSED, REFERENCE_BLOCK_FACTOR } from './disk.ts'

/** Finished blocks wait in memory until they are taken. */
export class MetadataWriter {
  readonly #codec: Codec
  readonly #block = new Uint8Array(METADATA_BLOCK_SIZE)
  #blockUsed = 0
  #finished: Uint8Array[] = []
  #finishedBytes = 0
  /** Where every block starts, bytes from the stream's start; the last one is that of the next record. */
  readonly #blockStarts = [0]

  constructor(codec: Codec) {
    this.#codec = codec
  }

  /** On disk, from the stream's start: the block in which the next record begins. */
  get blockStart(): number {
    return this.#blockStarts.at(-1) as number
  }

  /** Where in that block's uncompressed bytes. */
  get blockOffset(): number {
    return this.#blockUsed
  }

  get reference(): number {
    return this.blockStart * REFERENCE_BLOCK_FACTOR + this.#blockUsed
  }

  /** Bytes that `take` would return. */
  get finishedBytes(): number {
    return this.#finishedBytes
  }

  /** The same for a record of fields, of which each that is not given is 0. There are many of these: none is made to be copied. */
  appendRecord<F extends Fields>(record: Struct<F>, values: StructValues<F>): void {
    const end = this.#blockUsed + record.size
    if (end >= METADATA_BLOCK_SIZE) {
      this.append(record.encode(values))
      return
    }
    this.#block.fill(0, this.#blockUsed, end)
    record.write(this.#block, this.#blockUsed, values)
    this.#blockUsed = end
  }

  append(record: Uint8Array): void {
    if (record.length < METADATA_BLOCK_SIZE - this.#blockUsed) {
      this.#block.set(record, this.#blockUsed)
      this.#blockUsed += record.length
      return
    }
    let done = 0
    while (done < record.length) {
      const count = Math.min(record.length - done, METADATA_BLOCK_SIZE - this.#blockUsed)
      this.#block.set(record.subarray(done, done + count), this.#blockUsed)
      this.#blockUsed += count
      done += count
      if (this.#blockUsed === METADATA_BLOCK_SIZE) this.#finishBlock()
    }
  }

  /** Write the last, short block; returns where each block starts. */
  finish(): readonly number[] {
    if (this.#blockUsed > 0) this.#finishBlock()
    return this.#blockStarts.slice(0, -1)
  }

  /** The blocks finished since the last call. */
  take(): Uint8Array {
    const bytes = Buffer.concat(this.#finished)
    this.#finished = []
    this.#finishedBytes = 0
    return bytes
  }

  #finishBlock(): void {
    const plain = this.#block.subarray(0, this.#blockUsed)
    const compressed = this.#codec.compress(plain)
    const smaller = compressed.length < plain.length
    const content = smaller ? compressed : plain
    const onDisk = new Uint8Array(2 + content.length)
    new DataView(onDisk.buffer).setUint16(0, content.length | (smaller ? 0 : METADATA_UNCOMPRESSED), true)
    onDisk.set(content, 2)
    this.#finished.push(onDisk)
    this.#finishedBytes += onDisk.length
    this.#blockStarts.push(this.blockStart + onDisk.length)
    this.#blockUsed = 0
  }
}
