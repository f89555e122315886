/** Files that only this thread can read: their records one after the other into slots. */
import { alignUp } from '../../../bytes/align.ts'
import type { OwnSource } from '../../../data/stage.ts'
import { throwIfAborted } from '../../../errors.ts'
import type { ImmediateReader } from '../../../io/image.ts'
import { openContent } from '../../../tree/content.ts'
import type { FileNode } from '../../../tree/tree.ts'
import { fileRecords, type RecordBytes, type RecordShape, recordShape } from '../zpl/content.ts'

export interface OwnFile {
  readonly node: FileNode
  /** For errors. */
  readonly path: string
  /** The number that the file has. */
  readonly file: number
}

/** What lies in a slot. */
export interface OwnParts {
  readonly dataset: OwnDataset
  /** As `PackTask` has them. */
  readonly parts: readonly number[]
  /** Of each part. */
  readonly files: readonly number[]
  readonly firstRecords: readonly number[]
  /** Bytes that were read. */
  readonly bytes: number
}

export interface OwnDataset {
  readonly recordSize: number
  readonly packing: number
  readonly compressionId: number
}

interface Draft {
  readonly parts: number[]
  readonly files: number[]
  readonly firstRecords: number[]
  used: number
  bytes: number
}

/** More parts would make the memory of their descriptions count. */
const PARTS_MAXIMUM = 1024
/** What cannot be read straight into a slot is read in pieces of this size. */
const READ_SIZE = 1 << 20

export class OwnFiles implements OwnSource<OwnParts> {
  readonly #files: readonly OwnFile[]
  readonly #dataset: OwnDataset
  readonly #signal: AbortSignal | undefined
  #index = 0
  /** Of the file that is read now, when it can be read at once; else `#records`. */
  #reader: ImmediateReader | undefined
  /** How many bytes the reader has read. */
  #position = 0
  #records: AsyncGenerator<RecordBytes> | undefined

  constructor(files: readonly OwnFile[], dataset: OwnDataset, signal: AbortSignal | undefined) {
    this.#files = files
    this.#dataset = dataset
    this.#signal = signal
  }

  async fill(slot: Uint8Array): Promise<OwnParts | undefined> {
    const draft: Draft = { parts: [], files: [], firstRecords: [], used: 0, bytes: 0 }
    for (let own = this.#files[this.#index]; own !== undefined; own = this.#files[this.#index]) {
      throwIfAborted(this.#signal)
      const shape = recordShape(own.node.size, this.#dataset.recordSize)
      if (slot.length - draft.used < shape.recordSize || draft.files.length >= PARTS_MAXIMUM) break
      const room = slot.subarray(draft.used)
      if (this.#records === undefined) this.#reader ??= openContent(own.node, own.path)
      if (this.#reader !== undefined) this.#fillNow(this.#reader, draft, own, room, shape)
      else await this.#fillNext(draft, own, room, shape)
    }
    const { parts, files, firstRecords, bytes } = draft
    return bytes === 0 && this.#index === this.#files.length ? undefined : { dataset: this.#dataset, parts, files, firstRecords, bytes }
  }

  async close(): Promise<void> {
    this.#reader?.close()
    this.#reader = undefined
    await this.#records?.return(undefined)
  }

  /** Straight to where it belongs: without copies, and without promises, which for small files cost more than reading. */
  #fillNow(reader: ImmediateReader, draft: Draft, own: OwnFile, room: Uint8Array, { recordSize }: RecordShape): void {
    const { size } = own.node
    const length = Math.min(room.length - (room.length % recordSize), size - this.#position)
    reader.read(room.subarray(0, length))
    this.#take(draft, own, this.#position / recordSize, length, recordSize)
    this.#position += length
    if (this.#position < size) return
    this.#position = 0
    this.#reader = undefined
    reader.close()
    this.#index++
  }

  async #fillNext(draft: Draft, own: OwnFile, room: Uint8Array, shape: RecordShape): Promise<void> {
    this.#records ??= fileRecords(own.node, shape, own.path, new Uint8Array(Math.max(READ_SIZE, shape.recordSize)))
    const { value } = await this.#records.next()
    if (value === undefined) {
      this.#records = undefined
      this.#index++
      return
    }
    room.set(value.bytes)
    this.#take(draft, own, value.index, value.bytes.length, shape.recordSize)
  }

  #take(draft: Draft, { file }: OwnFile, firstRecord: number, length: number, recordSize: number): void {
    draft.parts.push(draft.used, length, recordSize)
    draft.files.push(file)
    draft.firstRecords.push(firstRecord)
    draft.used += alignUp(length, recordSize)
    draft.bytes += length
  }
}
