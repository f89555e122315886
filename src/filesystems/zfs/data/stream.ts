/**
 * The records of many files on their way from reading to writing: batches of them are read in the order of the files,
 * packed wherever a thread is free, and handed on in order. Memory is bounded by the slots of the packer.
 */
import { throwIfAborted } from '../../../errors.ts'
import type { ImmediateReader } from '../../../io/image.ts'
import { openContent } from '../../../tree/content.ts'
import type { FileNode } from '../../../tree/tree.ts'
import { COMPRESSION } from '../constants.ts'
import { EMBEDDED_SIZE_MAXIMUM } from '../disk.ts'
import type { PackedBlock } from '../packing.ts'
import { fileRecords, type RecordBytes, type RecordShape } from '../zpl/content.ts'
import type { Packer } from './packer.ts'
import { AS_IT_IS, CHECKSUM_SIZE, type PackedBatch } from './protocol.ts'

export interface StreamedFile {
  /** Tells files apart. */
  readonly key: number
  readonly node: FileNode
  readonly shape: RecordShape
  /** For errors. */
  readonly path: string
}

/** A record that is not all zero, as it is stored. The bytes hold until the next is asked for. */
export interface PackedRecord extends PackedBlock {
  readonly index: number
  readonly logicalSize: number
}

export interface RecordStreamOptions {
  /** Which of the packer's packings. */
  readonly packing: number
  readonly compressionId: number
  readonly signal: AbortSignal | undefined
  /** Called with the bytes of files that were read. */
  readonly onRead: (bytes: number) => void
}

interface Batch {
  readonly slot: number
  /** Of each record: the file, the index in the file, and the bytes. */
  readonly keys: number[]
  readonly indexes: number[]
  readonly sizes: number[]
  /** Bytes of all records. */
  used: number
}

interface Sent {
  readonly batch: Batch
  readonly result: Promise<PackedBatch>
}

/** The batch that records are taken from, and how far that is. */
interface Current extends Batch {
  readonly packed: PackedBatch
  at: number
  inputAt: number
  outputAt: number
}

/** More records would make the memory of their descriptions count. */
const RECORDS_MAXIMUM = 1024
/** Large files are read in pieces of this size. */
const READ_SIZE = 1 << 20

export class RecordStream {
  readonly #packer: Packer
  readonly #options: RecordStreamOptions
  readonly #files: Iterator<StreamedFile>
  readonly #free: number[]
  readonly #sent: Sent[] = []
  readonly #zeros: Buffer
  readonly #buffer: Uint8Array
  /** The file that is read now. */
  #file: StreamedFile | undefined
  /** Of the file, when it can be read at once; else `#records`. */
  #reader: ImmediateReader | undefined
  /** How many bytes the reader has read. */
  #position = 0
  #records: AsyncGenerator<RecordBytes> | undefined
  #isAtEnd = false
  #current: Current | undefined

  constructor(packer: Packer, files: Iterable<StreamedFile>, options: RecordStreamOptions) {
    this.#packer = packer
    this.#options = options
    this.#files = files[Symbol.iterator]()
    this.#free = Array.from({ length: packer.slotCount }, (_, slot) => slot)
    this.#zeros = Buffer.alloc(packer.slotSize)
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(READ_SIZE, packer.slotSize))
    this.#advanceFile()
  }

  /** The next record of the file `key`; undefined when it has no more. Files are asked for in their order. */
  async next(key: number): Promise<PackedRecord | undefined> {
    while (this.#current === undefined || this.#current.at === this.#current.keys.length) {
      if (!(await this.#nextBatch())) return undefined
    }
    return this.ready(key)
  }

  /** The same without waiting; undefined also where `next` would have to. */
  ready(key: number): PackedRecord | undefined {
    const current = this.#current
    if (current === undefined || current.keys[current.at] !== key) return undefined
    const { at, packed, slot, inputAt, outputAt } = current
    const index = current.indexes[at] as number
    const logicalSize = current.sizes[at] as number
    const size = packed.sizes[at] as number
    current.at++
    current.inputAt += logicalSize
    const checksumWords = packed.checksums.subarray(CHECKSUM_SIZE * at, CHECKSUM_SIZE * (at + 1))
    if (size === AS_IT_IS) {
      const bytes = this.#packer.input(slot).subarray(inputAt, inputAt + logicalSize)
      return { index, logicalSize, compression: COMPRESSION.off, bytes, checksumWords }
    }
    current.outputAt += size
    const bytes = this.#packer.output(slot).subarray(outputAt, outputAt + size)
    const isEmbedded = size <= EMBEDDED_SIZE_MAXIMUM
    return {
      index,
      logicalSize,
      compression: this.#options.compressionId,
      bytes,
      checksumWords: isEmbedded ? undefined : checksumWords,
    }
  }

  /** Close what is open. */
  async close(): Promise<void> {
    this.#reader?.close()
    this.#reader = undefined
    await this.#records?.return(undefined)
  }

  async #nextBatch(): Promise<boolean> {
    if (this.#current !== undefined) this.#free.push(this.#current.slot)
    this.#current = undefined
    while (this.#free.length > 0 && !this.#isAtEnd) {
      const batch: Batch = { slot: this.#free.pop() as number, keys: [], indexes: [], sizes: [], used: 0 }
      await this.#fill(batch)
      if (batch.keys.length === 0) {
        this.#free.push(batch.slot)
        continue
      }
      const task = { slot: batch.slot, packing: this.#options.packing, sizes: Int32Array.from(batch.sizes) }
      const result = this.#packer.run(task)
      // It counts when it is awaited, and that may be never.
      result.catch(() => undefined)
      this.#sent.push({ batch, result })
    }
    const head = this.#sent.shift()
    if (head === undefined) return false
    const packed = await head.result
    throwIfAborted(this.#options.signal)
    this.#current = { ...head.batch, packed, at: 0, inputAt: 0, outputAt: 0 }
    return true
  }

  /** Read until the slot is full, or nothing is left. */
  async #fill(batch: Batch): Promise<void> {
    const input = Buffer.from(this.#packer.input(batch.slot).buffer, this.#packer.input(batch.slot).byteOffset, this.#packer.slotSize)
    while (batch.keys.length < RECORDS_MAXIMUM) {
      throwIfAborted(this.#options.signal)
      const file = this.#file
      if (file === undefined) {
        this.#isAtEnd = true
        return
      }
      const { shape } = file
      if (input.length - batch.used < shape.recordSize) return
      const room = input.subarray(batch.used, batch.used + shape.recordSize)
      if (this.#records === undefined) this.#reader ??= openContent(file.node, file.path)
      if (this.#reader !== undefined) this.#fillNow(this.#reader, batch, file, room)
      else await this.#fillNext(batch, file, room)
    }
  }

  /** Read a record straight to where it belongs: without copies, and without promises, which for small files cost more than reading. */
  #fillNow(reader: ImmediateReader, batch: Batch, file: StreamedFile, room: Buffer): void {
    const { size } = file.node
    const length = Math.min(room.length, size - this.#position)
    reader.read(room.subarray(0, length))
    this.#take(batch, file, this.#position / room.length, room, length)
    this.#position += length
    if (this.#position < size) return
    this.#position = 0
    this.#reader = undefined
    reader.close()
    this.#advanceFile()
  }

  async #fillNext(batch: Batch, file: StreamedFile, room: Buffer): Promise<void> {
    this.#records ??= fileRecords(file.node, file.shape, file.path, this.#buffer)
    const { value } = await this.#records.next()
    if (value === undefined) {
      this.#records = undefined
      this.#advanceFile()
      return
    }
    room.set(value.bytes)
    this.#take(batch, file, value.index, room, value.bytes.length)
  }

  /** Records of zeros are holes. Behind `length` bytes of `room` zeros follow. */
  #take(batch: Batch, { key, shape }: StreamedFile, index: number, room: Buffer, length: number): void {
    this.#options.onRead(length)
    if (room[0] === 0 && room.compare(this.#zeros, 0, length, 0, length) === 0) return
    room.fill(0, length)
    batch.keys.push(key)
    batch.indexes.push(index)
    batch.sizes.push(shape.recordSize)
    batch.used += shape.recordSize
  }

  #advanceFile(): void {
    const { value } = this.#files.next()
    this.#file = value
  }
}
