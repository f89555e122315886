/** A target that is a file, and the rule that nothing stands at the final path before it is whole. */
import { type FileHandle, lstat, open, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { ImageError, systemErrorCode } from '../errors.ts'
import type { Target } from './target.ts'

/** Bytes after which what was written is sent on its way to the disk, so that little is left for the end. */
const FLUSH_SIZE = 64 << 20

/** A target over an open file. Errors are WRITE_FAILED and name `label`. */
export class FileTarget implements Target {
  readonly #handle: FileHandle
  readonly #label: string
  readonly #isKept: boolean
  #unflushed = 0
  #flush: Promise<void> | undefined
  /** The system tells of a failed flush once; it counts for all that comes after. */
  #flushError: unknown

  /** `isKept` is false for scratch files, which need not get to the disk. */
  constructor(handle: FileHandle, label: string, isKept = true) {
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
    this.#unflushed += bytes.length
    if (this.#unflushed >= FLUSH_SIZE) this.flush()
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(length)
    let done = 0
    while (done < length) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, position + done).catch((error: unknown) => {
        throw readBackError(this.#label, error)
      })
      if (bytesRead === 0) throw new ImageError('CHANGED', `${this.#label}: ended at byte ${position + done} while it was read back`)
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

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'the file system is full; free space there or choose another output',
  EDQUOT: 'the disk quota is used up; free space there or choose another output',
  EFBIG: 'the file system or ulimit -f does not allow a file of this size',
  EACCES: 'no permission to write there; choose another output',
  EPERM: 'no permission to write there; choose another output',
  EROFS: 'the file system is read-only; choose another output',
  ENOENT: 'its folder does not exist; create it first',
  ENOTDIR: 'a part of the path is not a folder',
  ENAMETOOLONG: 'the name is too long for the file system',
  EBUSY: 'something is mounted there or uses it; choose another output',
}

/** WRITE_FAILED for `label` from a system error, with a remedy where one is known. */
export function writeError(label: string, error: unknown): ImageError {
  if (error instanceof ImageError) return error
  const code = systemErrorCode(error) ?? 'unknown error'
  return new ImageError('WRITE_FAILED', `${label}: cannot be written (${code}): ${REMEDIES[code] ?? 'see the cause'}`, {
    path: label,
    cause: error,
  })
}

function readBackError(label: string, error: unknown): ImageError {
  const code = systemErrorCode(error) ?? 'unknown error'
  return new ImageError('UNREADABLE', `${label}: what was written cannot be read back (${code}); choose another disk`, {
    path: label,
    cause: error,
  })
}

export interface OutputOptions {
  /** Replace a file that exists. Without it an existing file is EXISTS. */
  readonly force?: boolean
  /** Called before the data is synced. */
  readonly onSync?: () => void
}

/**
 * Build a file: `build` writes to a hidden temporary file beside `path`, which is synced and renamed
 * when `build` returns and removed when it throws. Nothing but a whole file ever stands at `path`.
 * A killed process may leave `.kilnix-*.partial` beside it, never `path`.
 *
 * Throws EXISTS, WRITE_FAILED, or what `build` throws.
 */
export async function writeFileAtomically<T>(path: string, options: OutputOptions, build: (target: FileTarget) => Promise<T>): Promise<T> {
  const destination = resolve(path)
  await checkDestination(path, options.force === true)
  const { handle, temporary } = await openTemporary(path, dirname(destination))
  const target = new FileTarget(handle, path)
  let renamed = false
  try {
    const result = await build(target)
    options.onSync?.()
    await target.sync()
    await target.close()
    // A file that came up meanwhile is not replaced without `force`.
    await checkDestination(path, options.force === true)
    try {
      await rename(temporary, destination)
    } catch (error) {
      throw writeError(path, error)
    }
    renamed = true
    await syncFolder(dirname(destination))
    return result
  } finally {
    if (!renamed) {
      await target.close().catch(() => undefined)
      await rm(temporary, { force: true })
    }
  }
}

/** Throws EXISTS or USAGE when nothing may be written at `path`; for a check before the work begins. */
export async function checkDestination(path: string, force: boolean): Promise<void> {
  let stat: Awaited<ReturnType<typeof lstat>>
  try {
    stat = await lstat(resolve(path))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return
    throw writeError(path, error)
  }
  if (stat.isDirectory())
    throw new ImageError('EXISTS', `${path}: is a folder; name the file to write, such as ${join(path, 'nixos.iso')}`, { path })
  if (!stat.isFile() && !stat.isSymbolicLink()) {
    throw new ImageError('UNSUPPORTED', `${path}: is not a regular file; write to a file, or stream with '-o -' and redirect`, { path })
  }
  if (!force) throw new ImageError('EXISTS', `${path}: exists already; use --force to replace it`, { path })
}

/** A new file with a hidden name of this process in `folder`. Throws WRITE_FAILED for `label`. */
export async function openTemporary(label: string, folder: string): Promise<{ handle: FileHandle; temporary: string }> {
  for (let attempt = 0; ; attempt++) {
    const temporary = join(folder, `.kilnix-${process.pid}-${attempt}.partial`)
    try {
      return { handle: await open(temporary, 'wx+'), temporary }
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST' && attempt < 1000) continue
      throw writeError(label, error)
    }
  }
}

/** Make the rename itself durable. Some file systems cannot sync a folder; the file is whole all the same. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  if (handle === undefined) return
  try {
    await handle.sync()
  } catch (error) {
    if (systemErrorCode(error) === 'EIO') throw writeError(basename(folder), error)
  } finally {
    await handle.close()
  }
}

/** A scratch file without a name, so that even a killed process leaves nothing behind. */
export interface Spool {
  readonly target: FileTarget
  close(): Promise<void>
}

/** Open a spool for targets that only take bytes in order. `folder` defaults to the system's temporary folder. */
export async function openSpool(folder = tmpdir()): Promise<Spool> {
  const label = `scratch file in ${folder} (TMPDIR chooses the folder)`
  const { handle, temporary } = await openTemporary(label, folder)
  await rm(temporary, { force: true })
  const target = new FileTarget(handle, label, false)
  return { target, close: () => target.close() }
}
