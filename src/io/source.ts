/** Where bytes come from: files that are read at any position. */
import { constants, fstatSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { ImageError } from '../errors.ts'
import { blockDevice } from './block-device.ts'
import { sourceError } from './source-error.ts'

/** Bytes that can be read at any position. */
export interface RandomAccessSource {
  /** Bytes. */
  readonly size: number
  /** Exactly `length` bytes from `position` on, in memory of the caller's own. */
  read(position: number, length: number): Promise<Uint8Array>
  /** Of a source that is a file, whose bytes threads can read. */
  readonly file?: SourceFile
}

export interface SourceFile {
  readonly descriptor: number
  /** The file in errors. */
  readonly label: string
  /** Throws CHANGED once it was written to. */
  checkUnchanged(): void
}

/** A regular file or a block device, open until `close`. Errors are NOT_FOUND, UNREADABLE, or CHANGED once it is written to, and name the path. */
export class FileSource implements RandomAccessSource {
  readonly size: number
  readonly path: string
  readonly file: SourceFile
  readonly #handle: FileHandle
  /** Undefined for a device, whose node says nothing of when it was written to. */
  readonly #changeTimeNs: bigint | undefined

  private constructor(handle: FileHandle, path: string) {
    const status = fstatSync(handle.fd, { bigint: true })
    this.#handle = handle
    this.#changeTimeNs = status.isBlockDevice() ? undefined : status.ctimeNs
    this.path = path
    this.file = { descriptor: handle.fd, label: path, checkUnchanged: () => this.#checkUnchanged() }
    this.size = status.isBlockDevice() ? blockDevice(path).size : Number(status.size)
  }

  /** Throws UNSUPPORTED for what is neither. */
  static async open(path: string): Promise<FileSource> {
    // Without O_NONBLOCK a named pipe would wait for a writer.
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
      throw sourceError(path, error)
    })
    try {
      const stat = await handle.stat()
      if (!stat.isFile() && !stat.isBlockDevice())
        throw new ImageError('UNSUPPORTED', `${path}: is not a regular file; copy it to one first`, { path })
      return new FileSource(handle, path)
    } catch (error) {
      await handle.close()
      throw sourceError(path, error)
    }
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(length)
    let done = 0
    while (done < length) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, position + done).catch((error: unknown) => {
        throw sourceError(this.path, error)
      })
      if (bytesRead === 0) {
        throw new ImageError('CHANGED', `${this.path}: ended at byte ${position + done} while it was read`, { path: this.path })
      }
      done += bytesRead
    }
    this.#checkUnchanged()
    return bytes
  }

  #checkUnchanged(): void {
    if (this.#changeTimeNs === undefined || fstatSync(this.#handle.fd, { bigint: true }).ctimeNs === this.#changeTimeNs) return
    throw new ImageError('CHANGED', `${this.path}: was written to while it was read`, { path: this.path })
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}

/** A source in memory, for tests and small files. */
export function bytesSource(bytes: Uint8Array): RandomAccessSource {
  return {
    size: bytes.length,
    async read(position, length) {
      if (position < 0 || position + length > bytes.length) {
        throw new ImageError('CHANGED', `${length} bytes at ${position} are not within the ${bytes.length} of the source`)
      }
      return Uint8Array.from(bytes.subarray(position, position + length))
    },
  }
}

/** Bytes of a record or table in a file of format `what`; BAD_INPUT when they do not lie within the file. */
export async function readPart(source: RandomAccessSource, position: number, length: number, what: string): Promise<Uint8Array> {
  if (!Number.isSafeInteger(position) || position < 0 || length > source.size - position) {
    throw new ImageError('BAD_INPUT', `${what}: ${length} bytes at ${position} are not within the file, which has ${source.size} bytes`)
  }
  return source.read(position, length)
}

/** Bytes of a table that are read at a time. */
const TABLE_CHUNK_SIZE = 64 << 10

/**
 * A table of `entrySize` bytes an entry that begins at `position`: its entries from `first` up to `end`, in chunks of
 * bounded size. Throws what `readPart` throws, before memory is taken.
 */
export async function* tableChunks(
  source: RandomAccessSource,
  table: { readonly position: number; readonly entrySize: 4 | 8 | 16; readonly what: string },
  first: number,
  end: number,
): AsyncGenerator<{ readonly first: number; readonly count: number; readonly view: DataView }> {
  const step = TABLE_CHUNK_SIZE / table.entrySize
  for (let at = first; at < end; at += step) {
    const count = Math.min(step, end - at)
    const bytes = await readPart(source, table.position + at * table.entrySize, count * table.entrySize, table.what)
    yield { first: at, count, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) }
  }
}
