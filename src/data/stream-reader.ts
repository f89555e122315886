/**
 * What a thread does that reads parts of streams: it reads each into the room that its caller has for it, and hashes
 * framing and contents in order. All tasks of a stream come to the same reader, one after the other.
 */
import { createHash, type Hash, hash } from 'node:crypto'
import { printable } from '../bytes/text.ts'
import type { Stop } from '../threads/work.ts'
import { HostReader } from '../tree/host-file.ts'
import { applyPatches } from '../tree/patch.ts'
import type { Patch } from '../tree/tree.ts'
import { type HostPlace, parsePatchedText, parsePlaceText } from './patched-text.ts'
import { type Part, type Parts, partsOf, SegmentFlag, SegmentKind } from './segments.ts'

/** A part of a stream that is read. */
export interface StreamPart extends Parts {
  /** Tells streams apart. */
  readonly stream: number
  /** Whether the stream's bytes are hashed. */
  readonly hashed: boolean
  /** The last of its stream: answer with the stream's hash. */
  readonly last: boolean
}

export interface StreamPartResult {
  /** 32 bytes a segment that was flagged `identify` and `first`, in order. */
  readonly identities: Uint8Array<ArrayBuffer>
  /** SHA-256, with the last part of a hashed stream. */
  readonly digest?: Uint8Array<ArrayBuffer>
}

/** Where contents go. */
export interface Rooms {
  /** Memory for the `length` bytes of a part whose place is `place`. */
  room(place: number, length: number): Buffer
  /** The room has the bytes of its part now; it may be given away again. Bytes that are not right are noticed later. */
  filled?(place: number, content: Buffer): void
}

/** A host file, and what stands in it in place of its own bytes. */
interface Source extends HostPlace {
  readonly patches: readonly Patch[]
}

interface StreamState {
  readonly hash: Hash | undefined
  /** A file of several segments stays open from its first to its last. */
  reader: HostReader | undefined
}

const NO_PATCHES: readonly Patch[] = []
/** Bytes that are read at a time of a file that is read twice. */
const SCRATCH_SIZE = 2 << 20

export class StreamReader {
  readonly #stop: Stop
  readonly #streams = new Map<number, StreamState>()
  /** Room for a file that is read twice. */
  #spare: Buffer | undefined

  constructor(stop: Stop) {
    this.#stop = stop
  }

  /** Throws UNREADABLE and CHANGED. */
  read({ stream: index, hashed, last, ...parts }: StreamPart, rooms: Rooms): StreamPartResult {
    const stream = this.#streams.get(index) ?? { hash: hashed ? createHash('sha256') : undefined, reader: undefined }
    this.#streams.set(index, stream)
    const identities: Uint8Array[] = []
    for (const part of partsOf(parts)) {
      const { framing, kind, text, place, length } = part
      if (framing.length > 0) stream.hash?.update(framing)
      if (kind === SegmentKind.none) continue
      const content = rooms.room(place, length)
      if (kind === SegmentKind.inline) content.set(text)
      else {
        const identity = this.#readHostFile(stream, part, content)
        if (identity) identities.push(identity)
      }
      stream.hash?.update(content)
      rooms.filled?.(place, content)
    }
    const result = { identities: new Uint8Array(Buffer.concat(identities)) }
    if (!last) return result
    this.#streams.delete(index)
    return stream.hash ? { ...result, digest: new Uint8Array(stream.hash.digest()) } : result
  }

  /**
   * Read parts again and compare them with what is in the room of each: the index of the first that is different, or -1.
   * Throws UNREADABLE and CHANGED.
   */
  compare(parts: Parts, { room }: Rooms): number {
    let index = 0
    for (const part of partsOf(parts)) {
      if (this.#stop.isStopped()) break
      const content = room(part.place, part.length)
      const isSame = part.kind === SegmentKind.inline ? part.text.equals(content) : this.#hasHostFile(part, content)
      if (!isSame) return index
      index++
    }
    return -1
  }

  /** Close what streams that were not read to their end have open. */
  close(): void {
    for (const { reader } of this.#streams.values()) reader?.close()
    this.#streams.clear()
  }

  /** Whether a host file has these bytes in this part. */
  #hasHostFile({ text, kind, fileOffset, fileSize }: Part, content: Buffer): boolean {
    const { path, range, patches } = sourceOf(kind, text)
    const bytes = this.#scratch(content.length)
    const reader = new HostReader({ path, size: fileSize, range, patches }, { start: fileOffset, length: content.length })
    try {
      reader.read(bytes)
    } finally {
      reader.close()
    }
    return bytes.equals(content)
  }

  /** Read one part of a host file into `content`; returns the file's SHA-256 where that was asked for. */
  #readHostFile(stream: StreamState, { text, kind, fileOffset, fileSize, flags }: Part, content: Buffer): Uint8Array | undefined {
    const { path, range, patches } = sourceOf(kind, text)
    // `close` closes it after errors.
    if ((flags & SegmentFlag.first) !== 0) stream.reader = new HostReader({ path, size: fileSize, range })
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

  /** SHA-256 of a whole file that will be read again, to know it from others before its first part is used. */
  #identifyFile(reader: HostReader, size: number, patches: readonly Patch[]): Uint8Array {
    const whole = createHash('sha256')
    for (let position = 0; position < size && !this.#stop.isStopped(); position += SCRATCH_SIZE) {
      const chunk = this.#scratch(Math.min(SCRATCH_SIZE, size - position))
      reader.read(chunk, position)
      applyPatches(chunk, position, patches)
      whole.update(chunk)
    }
    return whole.digest()
  }

  /** Made when a file has to be read twice. */
  #scratch(length: number): Buffer {
    if (this.#spare === undefined || this.#spare.length < length) this.#spare = Buffer.alloc(Math.max(SCRATCH_SIZE, length))
    return this.#spare.subarray(0, length)
  }
}

function sourceOf(kind: number, text: Buffer): Source {
  return kind === SegmentKind.patched ? parsePatchedText(text) : { ...parsePlaceText(text), patches: NO_PATCHES }
}
