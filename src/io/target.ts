/** Where bytes go. */
import type { ByteRun } from './byte-run.ts'

/** A place to write with random access. Nothing that was not written reads back as other than zero. */
export interface Target {
  /** Write all of `bytes` at `position`. The caller does not touch `bytes` until the promise settles. */
  write(position: number, bytes: Uint8Array): Promise<void>
  /** Read back `length` bytes that were written before. */
  read(position: number, length: number): Promise<Uint8Array>
  /** Make the target exactly `size` bytes long. */
  setSize(size: number): Promise<void>
  /** For writing past this object, where any thread can; undefined where only `write` will do. */
  readonly lent?: LentTarget
  /** A hint that much has been written and little is to come: it may go to stable storage meanwhile. */
  flush?(): void
}

/** The open file of a target. Who writes to it by itself makes the errors itself, with `writeError`, and tells what was written. */
export interface LentTarget {
  readonly descriptor: number
  /** The file in errors. */
  readonly label: string
  /** These bytes were written. Throws WRITE_FAILED when what was written before did not get to the disk. */
  written(position: number, length: number): void
  /** Of the first `size` bytes those that may be other than zero, ascending. */
  runs(size: number): readonly ByteRun[]
}

/** A target in memory, for tests and small images. */
export class BufferTarget implements Target {
  /** Zeros behind the size: room to grow into, so that many writes at the end do not copy the whole each time. */
  #buffer = new Uint8Array(0)
  #size = 0

  async write(position: number, bytes: Uint8Array): Promise<void> {
    if (position + bytes.length > this.#size) await this.setSize(position + bytes.length)
    this.#buffer.set(bytes, position)
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    return this.#buffer.slice(position, Math.min(position + length, this.#size))
  }

  async setSize(size: number): Promise<void> {
    if (size > this.#buffer.length) {
      const next = new Uint8Array(Math.max(size, 2 * this.#size))
      next.set(this.#buffer.subarray(0, this.#size))
      this.#buffer = next
    } else if (size < this.#size) this.#buffer.fill(0, size, this.#size)
    this.#size = size
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#size)
  }
}
