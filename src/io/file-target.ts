/** A target that is a file, and the rule that nothing stands at the final path before it is whole. */
import { fdatasync, ftruncate, read, type Stats, statSync, write } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ImageError } from '../errors.ts'
import { PrivateFolder } from './private-folder.ts'
import { endedError, readBackError } from './read-back-error.ts'
import { stage, statusAt } from './staging.ts'
import type { LentTarget, Target } from './target.ts'
import { existsError, writeError } from './write-error.ts'
import { WrittenBlocks } from './written-blocks.ts'

/** Bytes after which what was written is sent on its way to the disk, so that little is left for the end. */
const FLUSH_SIZE = 64 << 20

/** What a target needs of a file that is open for reading and writing; `FileHandle` of node:fs/promises is one. */
export interface OpenFile {
  readonly fd: number
  write(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesWritten: number }>
  read(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>
  truncate(size: number): Promise<void>
  datasync(): Promise<void>
  close(): Promise<void>
}

const calls = { write: promisify(write), read: promisify(read), truncate: promisify(ftruncate), datasync: promisify(fdatasync) }

/** A file by its descriptor, which any thread of the process may use; whoever opened it closes it. */
export function lentFile(descriptor: number): OpenFile {
  return {
    fd: descriptor,
    write: (bytes, offset, length, position) => calls.write(descriptor, bytes, offset, length, position),
    read: (bytes, offset, length, position) => calls.read(descriptor, bytes, offset, length, position),
    truncate: (size) => calls.truncate(descriptor, size),
    datasync: () => calls.datasync(descriptor),
    close: async () => undefined,
  }
}

/** A target over an open file. Errors are WRITE_FAILED and name `label`. */
export class FileTarget implements Target {
  readonly #handle: OpenFile
  readonly #label: string
  readonly #isKept: boolean
  readonly #blocks = new WrittenBlocks()
  #unflushed = 0
  #flush: Promise<void> | undefined
  /** The system reports a failed flush once; it counts for all that comes after. */
  #flushError: unknown

  /** `isKept` is false for scratch files, which need not get to the disk. */
  constructor(handle: OpenFile, label: string, isKept = true) {
    this.#handle = handle
    this.#label = label
    this.#isKept = isKept
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    let done = 0
    try {
      if (this.#flushError !== undefined) throw this.#flushError
      while (done < bytes.length) {
        const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, position + done)
        done += bytesWritten
      }
    } catch (error) {
      throw writeError(this.#label, error)
    }
    this.#written(position, bytes.length)
  }

  get lent(): LentTarget {
    const written = (position: number, length: number): void => {
      if (this.#flushError !== undefined) throw writeError(this.#label, this.#flushError)
      this.#written(position, length)
    }
    return { descriptor: this.#handle.fd, label: this.#label, written, runs: (size) => this.#blocks.runs(size) }
  }

  #written(position: number, length: number): void {
    this.#blocks.add(position, length)
    this.#unflushed += length
    if (this.#unflushed >= FLUSH_SIZE) this.flush()
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(length)
    let done = 0
    while (done < length) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, position + done).catch((error: unknown) => {
        throw readBackError(this.#label, error)
      })
      if (bytesRead === 0) throw endedError(this.#label, position + done)
      done += bytesRead
    }
    return bytes
  }

  async setSize(size: number): Promise<void> {
    try {
      await this.#handle.truncate(size)
    } catch (error) {
      throw writeError(this.#label, error)
    }
  }

  /** Force what was written so far to stable storage. */
  async sync(): Promise<void> {
    await this.#flush
    try {
      if (this.#flushError !== undefined) throw this.#flushError
      await this.#handle.datasync()
    } catch (error) {
      throw writeError(this.#label, error)
    }
  }

  /** Close the file when no flush is under way any more. Some file systems keep the error of a write until then. */
  async close(): Promise<void> {
    await this.#flush
    try {
      await this.#handle.close()
    } catch (error) {
      throw writeError(this.#label, error)
    }
  }

  flush(): void {
    if (!this.#isKept || this.#flush !== undefined) return
    this.#unflushed = 0
    this.#flush = this.#handle.datasync().then(
      () => {
        this.#flush = undefined
      },
      (error: unknown) => {
        this.#flush = undefined
        this.#flushError = error
      },
    )
  }
}

export interface OutputOptions {
  /** Replace a file that exists. Without it an existing file is EXISTS. */
  readonly force?: boolean
  /** Called before the data is synced. */
  readonly onSync?: () => void
}

/**
 * Build a file: `build` writes to a hidden file, which is synced and appears at `path` when `build` returns, and is removed
 * when it throws (see `stage`). Nothing but a whole file ever stands at `path`. Throws EXISTS, WRITE_FAILED, or what `build`
 * throws.
 */
export async function writeFileAtomically<T>(path: string, options: OutputOptions, build: (target: FileTarget) => Promise<T>): Promise<T> {
  const { force = false } = options
  checkDestination(path, force)
  return stage(path, { force }, async (place) => {
    const target = new FileTarget(await open(place, 'wx+'), path)
    let isClosed = false
    try {
      const result = await build(target)
      options.onSync?.()
      await target.sync()
      isClosed = true
      await target.close()
      // What came up meanwhile may be no file.
      checkDestination(path, force)
      return result
    } finally {
      if (!isClosed) await target.close().catch(() => undefined)
    }
  })
}

/** Throws EXISTS, UNSUPPORTED or WRITE_FAILED when no file may be written at `path`; for a check before the work begins. */
export function checkDestination(path: string, force: boolean): void {
  const status = statusAt(path)
  if (status === undefined) return
  if (status.isDirectory())
    throw new ImageError('EXISTS', `${path}: is a folder; name the file to write, such as ${join(path, 'nixos.iso')}`, { path })
  // A link is replaced like a file; but one that leads to a device or pipe, as those below /dev/disk do, stands for that.
  const meant = status.isSymbolicLink() ? statusBehind(path) : status
  if (meant !== undefined && !meant.isFile() && !meant.isDirectory()) {
    throw new ImageError('UNSUPPORTED', `${path}: is a device, pipe or socket, to which this is not written; choose a file`, { path })
  }
  if (!force) throw existsError(path)
}

/** What a link leads to; undefined for a circle, or a folder that may not be looked into, which nobody means. */
function statusBehind(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

/** A scratch file without a name, so that even a killed process leaves nothing behind. */
export interface Spool {
  readonly target: FileTarget
  close(): Promise<void>
}

/**
 * Open a spool for targets that only take bytes in order. `folder` defaults to the system's temporary folder. Nobody else
 * can open it: it has its name only in a private folder, and no longer than it takes to remove it. Throws WRITE_FAILED.
 */
export async function openSpool(folder = tmpdir()): Promise<Spool> {
  const label = `scratch file in ${folder} (TMPDIR chooses the folder)`
  try {
    const partial = PrivateFolder.create(folder)
    try {
      const target = new FileTarget(await open(partial.folder.at('scratch'), 'wx+', SCRATCH_MODE), label, false)
      return { target, close: () => target.close() }
    } finally {
      partial.remove()
    }
  } catch (error) {
    throw writeError(label, error)
  }
}

/** Of a scratch file, which may hold what is a secret on the host. */
const SCRATCH_MODE = 0o600
