/** A store path as a compressed cpio archive: each file is read once, for the archive and for the NAR hash. */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { cpioPieces } from '../../archives/cpio/index.ts'
import type { StreamCompressor } from '../../codecs/stream/index.ts'
import { ImageError } from '../../errors.ts'
import { writeError } from '../../io/write-error.ts'
import { HostReader, hostFileOf } from '../../tree/host-file.ts'
import type { FileNode, TreeDigest } from '../../tree/tree.ts'
import { checkDigest } from '../../tree/verified.ts'
import type { PieceSettings } from './key.ts'
import type { BuildTask, Built, TaskControl } from './protocol.ts'
import type { StorePathContent } from './store-path.ts'

/** Names within the archive begin with it: Linux unpacks at the root. */
const PREFIX = 'nix/store'

/** Archives stand one after the other at multiples of 4 (Linux, Documentation/driver-api/early-userspace/buffer-format.rst). */
const ALIGNMENT = 4

/** Bytes that are compressed, and written, at a time. */
const CHUNK_SIZE = 1 << 20

type CpioSettings = PieceSettings & { readonly kind: 'cpio' }

/** Throws what `cpioPieces` and `openStreamCompressor` throw, HASH_MISMATCH, CHANGED, UNREADABLE, WRITE_FAILED, ABORTED. */
export async function buildCpio(
  { descriptor, label }: BuildTask,
  { codec }: CpioSettings,
  { root, digest }: StorePathContent,
  control: TaskControl,
): Promise<Built> {
  const compressor = await control.compressors.open(codec)
  const writer = new PieceWriter(descriptor, label, compressor)
  try {
    const check = digest && new DigestCheck(digest)
    let doneBytes = 0
    let toldBytes = 0
    const onChunk = (chunk: Uint8Array): void => {
      if (control.isStopped()) throw new ImageError('ABORTED', 'cancelled')
      check?.update(chunk)
      doneBytes += chunk.length
      if (doneBytes - toldBytes < CHUNK_SIZE) return
      toldBytes = doneBytes
      control.onProgress(doneBytes)
    }
    for (const piece of cpioPieces(root, { prefix: PREFIX })) {
      if (!('kind' in piece)) {
        writer.add(piece)
        continue
      }
      check?.advanceTo(piece)
      readInto(writer, piece, onChunk)
    }
    check?.finish()
    return writer.end()
  } finally {
    writer.close()
  }
}

/** Takes the framing of a digest up to each file, so that its files can be hashed as they come. */
class DigestCheck {
  readonly #digest: TreeDigest
  readonly #pieces: Iterator<Uint8Array | FileNode>
  readonly #hash = createHash('sha256')

  constructor(digest: TreeDigest) {
    this.#digest = digest
    this.#pieces = digest.pieces()[Symbol.iterator]()
  }

  advanceTo(file: FileNode): void {
    if (this.#hashFraming() !== file) throw new RangeError(`${this.#digest.name}: archive and NAR have their files in different orders`)
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk)
  }

  finish(): void {
    if (this.#hashFraming() !== undefined) throw new RangeError(`${this.#digest.name}: the archive lacks a file of the NAR`)
    checkDigest(this.#digest, this.#hash.digest())
  }

  /** Hash up to the next file, which is returned, or to the end. */
  #hashFraming(): FileNode | undefined {
    for (let next = this.#pieces.next(); !next.done; next = this.#pieces.next()) {
      if ('kind' in next.value) return next.value
      this.#hash.update(next.value)
    }
    return undefined
  }
}

/** Read a file into the writer's own memory. Throws CHANGED or UNREADABLE. */
function readInto(writer: PieceWriter, { content, size }: FileNode, onChunk: (chunk: Uint8Array) => void): void {
  if (content.kind === 'bytes') {
    for (let at = 0; at < size; ) {
      const part = content.bytes.subarray(at, at + writer.room.length)
      onChunk(part)
      writer.add(part)
      at += part.length
    }
    return
  }
  if (content.kind === 'image') throw new RangeError('a store path holds an image as content')
  const reader = new HostReader(hostFileOf(content, size))
  try {
    for (let left = size; left > 0; ) {
      const part = writer.room.subarray(0, left)
      reader.read(part)
      onChunk(part)
      writer.filled(part.length)
      left -= part.length
    }
  } finally {
    reader.close()
  }
}

/** Gathers bytes into chunks of one size, so that the result does not depend on how they come; compresses, hashes and writes them. */
class PieceWriter {
  readonly #label: string
  readonly #file: number
  readonly #compressor: StreamCompressor
  readonly #hash = createHash('sha256')
  readonly #chunk = Buffer.allocUnsafeSlow(CHUNK_SIZE)
  #used = 0
  #size = 0
  #isWhole = false

  constructor(descriptor: number, label: string, compressor: StreamCompressor) {
    this.#file = descriptor
    this.#label = label
    this.#compressor = compressor
  }

  add(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const part = bytes.subarray(done, done + this.room.length)
      this.room.set(part)
      this.filled(part.length)
      done += part.length
    }
  }

  /** Where the next bytes may be put; never empty. */
  get room(): Buffer {
    return this.#chunk.subarray(this.#used)
  }

  /** `count` bytes were put there. */
  filled(count: number): void {
    this.#used += count
    if (this.#used === CHUNK_SIZE) this.#flush()
  }

  end(): Built {
    this.#flush()
    this.#write(this.#compressor.end())
    this.#isWhole = true
    this.#write(Buffer.alloc(-this.#size & (ALIGNMENT - 1)))
    return { kind: 'built', size: this.#size, sha256: this.#hash.digest('hex') }
  }

  close(): void {
    if (!this.#isWhole) this.#compressor.reset()
  }

  #flush(): void {
    const chunk = this.#chunk.subarray(0, this.#used)
    this.#used = 0
    if (chunk.length > 0) this.#write(this.#compressor.push(chunk))
  }

  #write(bytes: Uint8Array): void {
    this.#hash.update(bytes)
    this.#size += bytes.length
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done)
    } catch (error) {
      throw writeError(this.#label, error)
    }
  }
}
