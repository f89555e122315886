/** What is done with a task, in whatever thread: streams of files are read and hashed, blocks are compressed. Nothing is decided here. */
import { createHash, type Hash, hash } from 'node:crypto'
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { printable } from '../../../bytes/text.ts'
import type { Codec } from '../../../codecs/codec.ts'
import { isSlow, probablyIncompressible } from '../../../codecs/incompressible.ts'
import { openCodec } from '../../../codecs/open.ts'
import { ImageError } from '../../../errors.ts'
import { writeError } from '../../../io/write-error.ts'
import type { Stop, Work, WorkModule } from '../../../threads/work.ts'
import { changedError, changeTimeNs, HOST_FILE_FLAGS, readError, WRITTEN_TO } from '../../../tree/host-file.ts'
import { applyPatches, type Patch } from '../../../tree/patch.ts'
import { DATA_UNCOMPRESSED } from '../disk.ts'
import { parsePatchedText } from './patched-text.ts'
import type {
  CompareResult,
  CompareTask,
  CompressResult,
  CompressTask,
  ReadResult,
  ReadTask,
  Result,
  Task,
  WorkSetup,
  WriteResult,
  WriteTask,
} from './protocol.ts'
import {
  INPUT_SLOT_SIZE,
  OUTPUT_SLOT_SIZE,
  RUN_FIELDS,
  Run,
  RunFlag,
  SEGMENT_FIELDS,
  Segment,
  SegmentFlag,
  SegmentKind,
} from './protocol.ts'

export const work: WorkModule<WorkSetup, Task, Result> = {
  module: import.meta.url,
  open: async (setup, stop) => new Tasks(setup, await openCodec(setup.codec, setup.blockSize), stop),
}

/** A host file, and what stands in it in place of its own bytes. */
interface Source {
  readonly path: Buffer
  readonly patches: readonly Patch[]
}

/** One segment of a task, and the bytes of the slot that it is about. */
interface SlotPart {
  readonly framing: Buffer
  readonly kind: number
  readonly text: Buffer
  readonly fileOffset: number
  readonly flags: number
  readonly content: Buffer
}

const NO_PATCHES: readonly Patch[] = []

interface StreamState {
  readonly hash: Hash | undefined
  /** A file of several segments stays open from its first to its last. */
  file: { readonly fd: number; readonly changeTime: bigint } | undefined
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
  readonly #streams = new Map<number, StreamState>()
  /** Room for the one byte that shows that a file has grown. */
  readonly #beyond = Buffer.alloc(1)
  /** Made when a file has to be read twice. */
  #scratch: Buffer | undefined

  constructor(setup: WorkSetup, codec: Codec, stop: Stop) {
    this.#codec = codec
    this.#slow = isSlow(setup.codec)
    this.#input = Buffer.from(setup.inputSlots)
    this.#output = Buffer.from(setup.outputSlots)
    this.#stop = stop
    this.#zeros = Buffer.alloc(setup.blockSize)
    this.#gathered = Buffer.alloc(setup.blockSize)
  }

  run(task: Task): Result {
    switch (task.kind) {
      case 'read':
        return this.#read(task)
      case 'compare':
        return this.#compare(task)
      case 'compress':
        return this.#compress(task)
      case 'write':
        return this.#write(task)
    }
  }

  /** What streams that were not read to their end have open. */
  close(): void {
    for (const { file } of this.#streams.values()) if (file) closeSync(file.fd)
    this.#streams.clear()
  }

  #read(task: ReadTask): ReadResult {
    const stream = this.#streams.get(task.stream) ?? { hash: task.hashed ? createHash('sha256') : undefined, file: undefined }
    this.#streams.set(task.stream, stream)
    const identities: Uint8Array[] = []
    for (const { framing, kind, text, fileOffset, flags, content } of this.#parts(task)) {
      if (framing.length > 0) stream.hash?.update(framing)
      if (kind === SegmentKind.none) continue
      if (kind === SegmentKind.inline) content.set(text)
      else {
        const identity = this.#readHostFile(stream, sourceOf(kind, text), fileOffset, content, flags)
        if (identity) identities.push(identity)
      }
      stream.hash?.update(content)
    }
    const result = { kind: 'read' as const, identities: new Uint8Array(Buffer.concat(identities)) }
    if (!task.last) return result
    this.#streams.delete(task.stream)
    return stream.hash ? { ...result, digest: new Uint8Array(stream.hash.digest()) } : result
  }

  /** Contents lie in the slot of the task. */
  *#parts({ slot, segments, text }: ReadTask | CompareTask): Generator<SlotPart> {
    const base = slot * INPUT_SLOT_SIZE
    const bytes = Buffer.from(text.buffer, text.byteOffset, text.length)
    let textAt = 0
    const take = (length: number): Buffer => {
      textAt += length
      return bytes.subarray(textAt - length, textAt)
    }
    for (let at = 0; at < segments.length; at += SEGMENT_FIELDS) {
      const field = (index: number): number => segments[at + index] as number
      const start = base + field(Segment.slotOffset)
      yield {
        framing: take(field(Segment.framingLength)),
        kind: field(Segment.kind),
        text: take(field(Segment.textLength)),
        fileOffset: field(Segment.fileOffset),
        flags: field(Segment.flags),
        content: this.#input.subarray(start, start + field(Segment.length)),
      }
    }
  }

  /** An equal hash makes no equal file: the bytes are read again. */
  #compare(task: CompareTask): CompareResult {
    let index = 0
    for (const { kind, text, fileOffset, content } of this.#parts(task)) {
      if (this.#stop.isStopped()) break
      const isSame = kind === SegmentKind.inline ? text.equals(content) : this.#hasHostFile(sourceOf(kind, text), fileOffset, content)
      if (!isSame) return { kind: 'compare', different: index }
      index++
    }
    return { kind: 'compare', different: -1 }
  }

  /** Whether a host file has `content` from `offset` on. */
  #hasHostFile({ path, patches }: Source, offset: number, content: Buffer): boolean {
    this.#scratch ??= Buffer.alloc(INPUT_SLOT_SIZE)
    const bytes = this.#scratch.subarray(0, content.length)
    try {
      const fd = openSync(path, HOST_FILE_FLAGS)
      try {
        for (let done = 0; done < bytes.length; ) {
          const count = readSync(fd, bytes, done, bytes.length - done, offset + done)
          if (count === 0) return false
          done += count
        }
      } finally {
        closeSync(fd)
      }
    } catch (error) {
      throw readError(path, error)
    }
    applyPatches(bytes, offset, patches)
    return bytes.equals(content)
  }

  /** Read one segment of a host file into `content`; returns the file's SHA-256 where that was asked for. */
  #readHostFile(stream: StreamState, source: Source, offset: number, content: Buffer, flags: number): Uint8Array | undefined {
    const { path, patches } = source
    const first = (flags & SegmentFlag.first) !== 0
    const last = (flags & SegmentFlag.last) !== 0
    const identify = (flags & SegmentFlag.identify) !== 0
    try {
      if (!first || !last) return this.#readLargeFile(stream, source, offset, content, { first, last, identify })
      const fd = openSync(path, HOST_FILE_FLAGS)
      try {
        const before = changeTimeNs(fd)
        this.#readWhole(fd, path, content)
        if (changeTimeNs(fd) !== before) throw changedError(path, WRITTEN_TO)
      } finally {
        closeSync(fd)
      }
      applyPatches(content, 0, patches)
      return identify ? hash('sha256', content, 'buffer') : undefined
    } catch (error) {
      throw readError(path, error)
    }
  }

  #readLargeFile(
    stream: StreamState,
    { path, patches }: Source,
    offset: number,
    content: Buffer,
    part: { first: boolean; last: boolean; identify: boolean },
  ): Uint8Array | undefined {
    let identity: Uint8Array | undefined
    if (part.first) {
      const fd = openSync(path, HOST_FILE_FLAGS)
      stream.file = { fd, changeTime: changeTimeNs(fd) }
      if (part.identify) identity = this.#identifyFile(fd, patches)
    }
    if (!stream.file) throw new ImageError('WORKER_DIED', `${printable(path)}: is not open in its worker`)
    const { fd, changeTime } = stream.file
    readFully(fd, path, content, offset)
    applyPatches(content, offset, patches)
    if (part.last) {
      this.#expectEnd(fd, path, offset + content.length)
      if (changeTimeNs(fd) !== changeTime) throw changedError(path, WRITTEN_TO)
      closeSync(fd)
      stream.file = undefined
    }
    return identity
  }

  /** SHA-256 of a whole file that will be read again, to know it from others before its first block is compressed. */
  #identifyFile(fd: number, patches: readonly Patch[]): Uint8Array {
    this.#scratch ??= Buffer.alloc(INPUT_SLOT_SIZE)
    const whole = createHash('sha256')
    let position = 0
    while (!this.#stop.isStopped()) {
      const count = readSync(fd, this.#scratch, 0, this.#scratch.length, position)
      if (count === 0) break
      const chunk = this.#scratch.subarray(0, count)
      applyPatches(chunk, position, patches)
      whole.update(chunk)
      position += count
    }
    return whole.digest()
  }

  /** Reads one byte more than there should be, where the slot has room for it: most files take one call. */
  #readWhole(fd: number, path: Buffer, content: Buffer): void {
    const start = content.byteOffset
    const hasRoom = (start + content.length) % INPUT_SLOT_SIZE !== 0
    const count = hasRoom ? readSync(fd, this.#input, start, content.length + 1, null) : 0
    if (count > content.length) throw changedError(path, `grew beyond its ${content.length} bytes`)
    if (hasRoom && count === content.length) return
    readFully(fd, path, content.subarray(count), count)
    this.#expectEnd(fd, path, content.length)
  }

  #expectEnd(fd: number, path: Buffer, size: number): void {
    if (readSync(fd, this.#beyond, 0, 1, size) !== 0) throw changedError(path, `grew beyond its ${size} bytes`)
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

  #write({ descriptor, label, position, slots }: WriteTask): WriteResult {
    let at = position
    try {
      for (let index = 0; index < slots.length && !this.#stop.isStopped(); index += 2) {
        const start = (slots[index] as number) * OUTPUT_SLOT_SIZE
        const end = start + (slots[index + 1] as number)
        for (let from = start; from < end; ) {
          const count = writeSync(descriptor, this.#output, from, end - from, at)
          from += count
          at += count
        }
      }
    } catch (error) {
      throw writeError(label, error)
    }
    return { kind: 'write' }
  }

  #isZero(block: Buffer): boolean {
    return block[0] === 0 && block[block.length - 1] === 0 && block.equals(this.#zeros.subarray(0, block.length))
  }
}

function sourceOf(kind: number, text: Buffer): Source {
  return kind === SegmentKind.patched ? parsePatchedText(text) : { path: text, patches: NO_PATCHES }
}

function readFully(fd: number, path: Buffer, content: Buffer, offset: number): void {
  let done = 0
  while (done < content.length) {
    const count = readSync(fd, content, done, content.length - done, offset + done)
    if (count === 0) throw changedError(path, `ended at byte ${offset + done}`)
    done += count
  }
}
