/**
 * Folders of the host that are held by a descriptor: what is done in one is done in that very folder, whatever its path
 * leads to by then. Linux reaches the entries of a descriptor through /proc (proc_pid_fd(5)), since Node has no openat(2);
 * elsewhere, and where /proc is not mounted, the path is taken, and the folder is compared before each use.
 */
import { type BigIntStats, closeSync, constants, fstatSync, fsync, lstatSync, openSync, readdirSync } from 'node:fs'
import { systemErrorCode } from '../errors.ts'

/** What tells a file or folder from all others. */
export interface Identity {
  readonly dev: bigint
  readonly ino: bigint
}

export function isSame(a: Identity | undefined, b: Identity | undefined): boolean {
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino
}

/** Windows knows neither flag; there they are undefined, which counts as 0 here. */
const FOLDER_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY

/** Names are those of single entries; as bytes, they need not be UTF-8. Methods throw errors of the system, which callers name. */
export class HeldFolder {
  readonly descriptor: number
  readonly identity: Identity
  /** Ends in a slash. */
  readonly #prefix: string
  readonly #isByDescriptor: boolean
  #isOpen = true

  private constructor(descriptor: number, path: string) {
    this.descriptor = descriptor
    this.identity = fstatSync(descriptor, { bigint: true })
    const prefix = `/proc/self/fd/${descriptor}/`
    this.#isByDescriptor = isSame(statusOf(`${prefix}.`), this.identity)
    this.#prefix = this.#isByDescriptor ? prefix : `${path}/`
  }

  /** A link to a folder is followed; ENOTDIR for anything else. */
  static open(path: string): HeldFolder {
    return HeldFolder.#open(path, FOLDER_FLAGS)
  }

  /** A folder in this one. ELOOP or ENOTDIR for a link or anything else. */
  openFolder(name: string): HeldFolder {
    return HeldFolder.#open(this.at(name), FOLDER_FLAGS | constants.O_NOFOLLOW)
  }

  static #open(path: string, flags: number): HeldFolder {
    const descriptor = openedFolder(path, flags)
    try {
      return new HeldFolder(descriptor, path)
    } catch (error) {
      closeSync(descriptor)
      throw error
    }
  }

  /** The entry `name`, for calls of the system. ENOENT where that is to go by the path, and another folder has come there. */
  at(name: string): string
  at(name: Buffer): Buffer
  at(name: string | Buffer): string | Buffer {
    if (!this.#isByDescriptor && !isSame(statusOf(this.#prefix), this.identity)) {
      throw Object.assign(new Error(`${this.#prefix} is another folder now`), { code: 'ENOENT' })
    }
    return typeof name === 'string' ? `${this.#prefix}${name}` : Buffer.concat([Buffer.from(this.#prefix), name])
  }

  /** Of the entry itself, not of what a link leads to; undefined where there is none. */
  status(name: string): Status | undefined {
    return statusOf(this.at(name))
  }

  names(): string[] {
    return readdirSync(this.at('.'))
  }

  /** The same where names need not be UTF-8. */
  byteNames(): Buffer[] {
    return readdirSync(this.at('.'), 'buffer')
  }

  close(): void {
    if (this.#isOpen) closeSync(this.descriptor)
    this.#isOpen = false
  }
}

/** Linux: a descriptor of something that may not be read (open(2), O_PATH). Node does not name it. */
export const O_PATH = process.platform === 'linux' ? 0o10000000 : 0

/** Who may write to a folder need not be allowed to list it; then it cannot be synced either. */
function openedFolder(path: string, flags: number): number {
  try {
    return openSync(path, flags)
  } catch (error) {
    if (O_PATH === 0 || systemErrorCode(error) !== 'EACCES') throw error
    return openSync(path, flags | O_PATH)
  }
}

/** What the system says of a file, a folder or a link. */
export type Status = BigIntStats

function statusOf(path: string): Status | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })
}

/** What file systems answer that cannot do it. */
const CANNOT_SYNC = ['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EBADF', 'EISDIR', 'EPERM', 'EACCES']

/** To stable storage: content, mode, times, and the entries of a folder. A file system that cannot sync a folder is no error. */
export function syncDescriptor(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fsync(descriptor, (error) => (error === null || cannotSync(error) ? resolve() : reject(error)))
  })
}

export function cannotSync(error: unknown): boolean {
  return CANNOT_SYNC.includes(systemErrorCode(error) ?? '')
}
