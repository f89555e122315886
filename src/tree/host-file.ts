/** Reading files of the host, with the errors that every format gives. */
import { createHash, type Hash } from 'node:crypto'
import { fstatSync, read as readAsync, readSync } from 'node:fs'
import { promisify } from 'node:util'
import { printable } from '../bytes/text.ts'
import { type ErrorCode, ImageError, systemErrorCode } from '../errors.ts'
import type { ImmediateReader } from '../io/image.ts'
import type { Proof } from '../io/proven.ts'
import { type Opened, openHost } from './open-files.ts'
import { applyPatches } from './patch.ts'
import type { Content, HostRange, Patch } from './tree.ts'

const REPEAT = 'build again when nothing writes there'

/** CHANGED for a host file that is not what it was when it was listed; `what` such as `grew beyond its 5 bytes`. */
function changedError(path: Uint8Array, what: string): ImageError {
  const name = printable(path)
  return new ImageError('CHANGED', `${name}: ${what} while it was read; ${REPEAT}`, { path: name })
}

/** CHANGED for a host file whose bytes were proven once, and are others now. */
export function otherBytesError(path: Uint8Array): ImageError {
  const name = printable(path)
  return new ImageError('CHANGED', `${name}: has other bytes than those that were checked before; ${REPEAT}`, { path: name })
}

/** CHANGED for a host file that is of another kind now. */
function noFileError(path: Uint8Array): ImageError {
  const name = printable(path)
  return new ImageError('CHANGED', `${name}: was listed as a file and is none any more; ${REPEAT}`, { path: name })
}

/** What opening or reading gives for a path where now is nothing, a folder, a link, a socket or a pipe. */
const NO_FILE_ANY_MORE = ['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'ENXIO', 'ESPIPE', 'EAGAIN']

/** UNREADABLE for what was not listed before, so that nothing can have changed; `where` as the user knows it. */
export function unreadableError(where: string, cause: unknown): ImageError {
  return new ImageError('UNREADABLE', `${where}: cannot be read (${systemErrorCode(cause) ?? String(cause)})`, { path: where, cause })
}

/** The error for a host file that cannot be opened or read: CHANGED when it is gone, else UNREADABLE. */
export function readError(path: Uint8Array, error: unknown): ImageError {
  if (error instanceof ImageError) return error
  const name = printable(path)
  const code = systemErrorCode(error) ?? String(error)
  const gone = NO_FILE_ANY_MORE.includes(code)
  const kind: ErrorCode = gone ? 'CHANGED' : 'UNREADABLE'
  const remedy = gone ? `it was listed as a file and is none any more; ${REPEAT}` : 'make it readable for this user'
  return new ImageError(kind, `${name}: cannot be read (${code}): ${remedy}`, { path: name, cause: error })
}

/** Up to this size a file is read at once: opening it costs as much as reading, and a promise for each step more than both. */
export const SMALL_FILE_SIZE = 128 << 10

/** A file of the host as it was listed, or a part of one. */
export interface HostFile {
  readonly path: Uint8Array
  /** Bytes, of the part where there is a range. */
  readonly size: number
  /** Which part of the file it is. Default: all of it. Positions count from where it begins. */
  readonly range?: HostRange | undefined
  /** What stands in place of the file's own bytes. */
  readonly patches?: readonly Patch[] | undefined
  /** What the file's own bytes have to be. Then its time and its links may change. */
  readonly proof?: Proof | undefined
}

/** A content that lies in a host file. */
type HostContent = Extract<Content, { readonly path: Uint8Array }>

/** The host file in which a content of `size` bytes lies. */
export function hostFileOf(content: HostContent, size: number): HostFile {
  const patches = content.kind === 'patched' ? content.patches : undefined
  return { path: content.path, size, range: content.range, patches, proof: content.proof }
}

/** What was seen of a file that is read in several parts. */
export interface HostFileState {
  /** Undefined before the first part. */
  changeTimeNs: bigint | undefined
}

export interface HostReaderOptions {
  /** The first byte that is read. Default 0. */
  readonly start?: number
  /** How many bytes are read. Default: all from `start` on. */
  readonly length?: number
  /** Compare the change time before and after; default: unless there is a proof. Not where others compare the bytes. */
  readonly isWatched?: boolean
  /** The same for all parts of a file that is read in several, which then are compared with each other. */
  readonly state?: HostFileState | undefined
}

const readLater = promisify(readAsync)

/**
 * A host file, or a range of it, open for reading into given memory. Opening and reading throw UNREADABLE, or CHANGED when
 * the file has another size than was listed, is written to meanwhile, or has other bytes than were proven: by the last
 * byte of the range at the latest.
 */
export class HostReader implements ImmediateReader {
  readonly #file: HostFile
  readonly #opened: Opened
  readonly #descriptor: number
  /** Of the host file, the byte that is the first here. */
  readonly #base: number
  readonly #end: number
  readonly #state: HostFileState | undefined
  #position: number
  /** Of the bytes before `#position`, where they have to be those of a proof. */
  #hash: Hash | undefined

  /** A proof is of a whole file, which is read from its beginning to its end. */
  constructor(file: HostFile, options: HostReaderOptions = {}) {
    const { start = 0, length = file.size - start, isWatched = file.proof === undefined, state = { changeTimeNs: undefined } } = options
    if (file.proof !== undefined && length !== file.size) throw new RangeError('a part of a file is compared with the proof of the whole')
    this.#file = file
    this.#position = start
    this.#end = start + length
    this.#state = isWatched ? state : undefined
    this.#base = file.range?.start ?? 0
    this.#opened = this.#attempt(() => openHost(file.path, file.range !== undefined))
    this.#descriptor = this.#opened.descriptor
    try {
      // Of a file that others have open, this was done by the first of them.
      if (this.#opened.isNew) this.#compareState()
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Fill `bytes` with what stands at `position`; default: behind what was read last. */
  read(bytes: Uint8Array, position = this.#position): void {
    for (let done = 0; done < bytes.length; ) {
      const count = this.#attempt(() => readSync(this.#descriptor, bytes, done, bytes.length - done, this.#base + position + done))
      if (count === 0) throw changedError(this.#file.path, `ended at byte ${this.#base + position + done}`)
      done += count
    }
    this.#finish(bytes, position)
  }

  /** The same, while other work goes on. */
  async readLater(bytes: Uint8Array, position = this.#position): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await readLater(this.#descriptor, bytes, done, bytes.length - done, this.#base + position + done).catch(
        (error: unknown) => {
          throw readError(this.#file.path, error)
        },
      )
      if (bytesRead === 0) throw changedError(this.#file.path, `ended at byte ${this.#base + position + done}`)
      done += bytesRead
    }
    this.#finish(bytes, position)
  }

  close(): void {
    this.#opened.close()
  }

  #attempt<T>(step: () => T): T {
    try {
      return step()
    } catch (error) {
      throw readError(this.#file.path, error)
    }
  }

  #finish(bytes: Uint8Array, position: number): void {
    const { patches, proof } = this.#file
    if (proof !== undefined) this.#compareBytes(proof, bytes, position)
    this.#position = position + bytes.length
    if (this.#position === this.#end) this.#compareState()
    if (patches !== undefined) applyPatches(bytes, position, patches)
  }

  #compareBytes(proof: Proof, bytes: Uint8Array, position: number): void {
    const { path, size } = this.#file
    if (position === 0) this.#hash = createHash('sha256')
    else if (position !== this.#position) throw new RangeError('a file with a proof is not read in order')
    this.#hash?.update(bytes)
    if (position + bytes.length === size && !(this.#hash && proof.hasDigest(this.#hash.digest()))) throw otherBytesError(path)
  }

  /** What the system notes of the file has to be what was listed and what was seen before. */
  #compareState(): void {
    const { path } = this.#file
    const size = this.#file.range?.fileSize ?? this.#file.size
    const stats = this.#attempt(() => fstatSync(this.#descriptor, { bigint: true }))
    const actual = Number(stats.size)
    if (actual !== size) {
      if (!stats.isFile()) throw noFileError(path)
      throw changedError(path, actual > size ? `grew beyond its ${size} bytes` : `ended at byte ${actual}`)
    }
    const first = this.#opened.changeTimeNs(stats.ctimeNs)
    if (this.#state === undefined) return
    this.#state.changeTimeNs ??= first
    // A file that was written to and kept its size shows in its change time.
    if (this.#state.changeTimeNs !== stats.ctimeNs) throw changedError(path, 'was written to')
  }
}

/** Fill `bytes`, which are as many as the file has. Throws CHANGED or UNREADABLE. */
export function readHostFile(file: HostFile, bytes: Uint8Array): void {
  const reader = new HostReader(file)
  try {
    reader.read(bytes)
  } finally {
    reader.close()
  }
}
