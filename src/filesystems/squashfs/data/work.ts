/** What is done with a task, in whatever thread: streams of files are read and hashed, blocks are compressed. Nothing is decided here. */
import { createHash, type Hash, hash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { printable } from '../../../bytes/text.ts'
import type { Codec } from '../../../codecs/codec.ts'
import { isSlow, probablyIncompressible } from '../../../codecs/incompressible.ts'
import { openCodec } from '../../../codecs/open.ts'
import { writeError } from '../../../io/write-error.ts'
import type { Stop, Work, WorkModule } from '../../../threads/work.ts'
import { HostReader } from '../../../tree/host-file.ts'
import { applyPatches } from '../../../tree/patch.ts'
import type { Patch } from '../../../tree/tree.ts'
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
  readonly fileSize: number
  readonly flags: number
  readonly content: Buffer
}

const NO_PATCHES: readonly Patch[] = []

interface StreamState {
  readonly hash: Hash | undefined
  /** A file of several segments stays open from its first to its last. */
  reader: HostReader | undefined
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
  /** Room for a file that is read twice. */
  #spare: Buffer | undefined

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
    for (const { reader } of this.#streams.values()) reader?.close()
    this.#streams.clear()
  }

  #read(task: ReadTask): ReadResult {
    const stream = this.#streams.get(task.stream) ?? { hash: task.hashed ? createHash('sha256') : undefined, reader: undefined }
    this.#streams.set(task.stream, stream)
    const identities: Uint8Array[] = []
    for (const part of this.#parts(task)) {
      const { framing, kind, text, content } = part
      if (framing.length > 0) stream.hash?.update(framing)
      if (kind === SegmentKind.none) continue
      if (kind === SegmentKind.inline) content.set(text)
      else {
        const identity = this.#readHostFile(stream, part)
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
        fileSize: field(Segment.fileSize),
        flags: field(Segment.flags),
        content: this.#input.subarray(start, start + field(Segment.length)),
      }
    }
  }

  /** An equal hash makes no equal file: the bytes are read again. */
  #compare(task: CompareTask): CompareResult {
    let index = 0
    for (const part of this.#parts(task)) {
      if (this.#stop.isStopped()) break
      const isSame = part.kind === SegmentKind.inline ? part.text.equals(part.content) : this.#hasHostFile(part)
      if (!isSame) return { kind: 'compare', different: index }
      index++
    }
    return { kind: 'compare', different: -1 }
  }

  /** Whether a host file has the bytes that lie in the slot. */
  #hasHostFile({ text, kind, fileOffset, fileSize, content }: SlotPart): boolean {
    const { path, patches } = sourceOf(kind, text)
    const bytes = this.#scratch().subarray(0, content.length)
    const reader = new HostReader({ path, size: fileSize, patches }, { start: fileOffset, length: content.length })
    try {
      reader.read(bytes)
    } finally {
      reader.close()
    }
    return bytes.equals(content)
  }

  /** Read one part of a host file into `content`; returns the file's SHA-256 where that was asked for. */
  #readHostFile(stream: StreamState, { text, kind, fileOffset, fileSize, flags, content }: SlotPart): Uint8Array | undefined {
    const { path, patches } = sourceOf(kind, text)
    // The work closes it after errors.
    if ((flags & SegmentFlag.first) !== 0) stream.reader = new HostReader({ path, size: fileSize })
    const { reader } = stream
    if (reader === undefined) throw new RangeError(`${printable(path)}: is not open in its worker`)
    const isLast = (flags & SegmentFlag.last) !== 0
    const isAsked = (flags & SegmentFlag.identify) !== 0
    const identity = isAsked && !isLast ? this.#identifyFile(reader, fileSize, patches) : undefined
    reader.read(content, fileOffset)
    applyPatches(content, fileOffset, patches)
    if (isLast) {
      stream.reader = undefined
      reader.close()
    }
    return isAsked && isLast ? hash('sha256', content, 'buffer') : identity
  }

  /** SHA-256 of a whole file that will be read again, to know it from others before its first block is compressed. */
  #identifyFile(reader: HostReader, size: number, patches: readonly Patch[]): Uint8Array {
    const whole = createHash('sha256')
    for (let position = 0; position < size && !this.#stop.isStopped(); position += INPUT_SLOT_SIZE) {
      const chunk = this.#scratch().subarray(0, size - position)
      reader.read(chunk, position)
      applyPatches(chunk, position, patches)
      whole.update(chunk)
    }
    return whole.digest()
  }

  /** Made when a file has to be read twice. */
  #scratch(): Buffer {
    this.#spare ??= Buffer.alloc(INPUT_SLOT_SIZE)
    return this.#spare
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
