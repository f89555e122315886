/** The files of a folder of pieces: what is there, how a new one comes, which go. */
import { closeSync, renameSync } from 'node:fs'
import { lstat, mkdir, readdir, rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { ImageError, systemErrorCode } from '../../errors.ts'
import { PARTIAL_NAME, PrivateFolder } from '../../io/private-folder.ts'
import { requireOwnFolder } from '../../io/trust.ts'
import { writeError } from '../../io/write-error.ts'
import { type PieceKey, parseFileName, pieceFileName } from './key.ts'

/** A piece whose content nobody has looked at yet. */
export interface FoundPiece {
  readonly file: string
  readonly sha256: string
}

/** What other runs left unfinished is theirs for a day, and then nobody's. */
const ABANDONED_MILLISECONDS = 24 * 60 * 60 * 1000

/** A piece that is being written. It stays open from its creation until it is finished or discarded. */
export interface PartialPiece {
  /** In the private folder. */
  readonly name: string
  /** For reading and writing, by any thread of the process; not to be closed. */
  readonly descriptor: number
}

/** Less the umask: a piece that others may write to is of no use. */
const PIECE_MODE = 0o644
const FOLDER_MODE = 0o755

export class PieceFiles {
  readonly folder: string
  /** The folder as messages name it. */
  readonly label: string
  /** What is being written, and where; there is a private folder as long as there is any. */
  readonly #partials = new Set<PartialPiece>()
  #private: PrivateFolder | undefined
  #serial = 0

  constructor(folder: string, label: string) {
    this.folder = folder
    this.label = label
  }

  /** Throws WRITE_FAILED, and UNTRUSTED for a folder that others may write to. */
  async create(): Promise<void> {
    try {
      await mkdir(this.folder, { recursive: true, mode: FOLDER_MODE })
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') {
        throw new ImageError('USAGE', `${this.label}: is there and is no folder; name a folder for pieces`, {
          path: this.label,
          cause: error,
        })
      }
      throw writeError(this.label, error)
    }
    await requireOwnFolder(this.folder, this.label)
  }

  /** Candidates for a piece, by `indexOf` its key. Throws UNREADABLE. */
  async list(): Promise<ReadonlyMap<string, readonly FoundPiece[]>> {
    const found = new Map<string, FoundPiece[]>()
    for (const name of (await this.#names()).sort()) {
      const parsed = parseFileName(name)
      if (parsed === undefined) continue
      const index = indexOf(parsed)
      const pieces = found.get(index) ?? []
      found.set(index, pieces)
      pieces.push({ file: join(this.folder, name), sha256: parsed.sha256 })
    }
    return found
  }

  /** An empty hidden file to write a piece to. Throws WRITE_FAILED. */
  openPartial(): PartialPiece {
    try {
      this.#private ??= PrivateFolder.create(this.folder)
      const name = `piece-${this.#serial++}`
      const partial = { name, descriptor: this.#private.openFile(name, PIECE_MODE) }
      this.#partials.add(partial)
      return partial
    } catch (error) {
      throw writeError(this.label, error)
    }
  }

  /**
   * A partial is whole: give it its name. It is not synced to the disk, for its checksum tells whether it got there.
   * Throws WRITE_FAILED.
   */
  finish(partial: PartialPiece, key: PieceKey, sha256: string): string {
    const fileName = pieceFileName(key, sha256)
    const file = join(this.folder, fileName)
    const { folder, parent } = this.#privateFolder()
    try {
      renameSync(folder.at(partial.name), parent.at(fileName))
    } catch (error) {
      throw writeError(file, error)
    }
    this.#close(partial)
    return file
  }

  /** Remove the partials among `partials` that are not finished; nothing may write to them any more. */
  discard(partials: Iterable<PartialPiece>): void {
    for (const partial of partials) if (this.#partials.has(partial)) this.#close(partial)
    if (this.#partials.size > 0) return
    const unused = this.#private
    this.#private = undefined
    if (unused !== undefined) removeIfPossible(unused)
  }

  #privateFolder(): PrivateFolder {
    if (this.#private === undefined) throw new RangeError('pieces: nothing is being written')
    return this.#private
  }

  #close(partial: PartialPiece): void {
    this.#partials.delete(partial)
    closeSync(partial.descriptor)
  }

  /** Remove a damaged piece, unless another process has put a new one in its place. Throws WRITE_FAILED. */
  async removeDamaged({ file }: FoundPiece, inode: string | undefined): Promise<void> {
    try {
      const stats = await lstat(file, { bigint: true })
      if (stats.isDirectory()) {
        throw new ImageError('WRITE_FAILED', `${file}: is a folder where a piece belongs; remove it, or name another folder for pieces`, {
          path: file,
        })
      }
      if (inode === undefined || String(stats.ino) === inode) await rm(file, { force: true })
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw writeError(file, error)
    }
  }

  /**
   * Note that pieces are used now, and remove what killed runs left long ago. The time is that of a folder made for it, so
   * that all times are of one clock, the file system's. A folder that cannot be written to keeps its times.
   */
  async touch(files: readonly string[]): Promise<void> {
    const own = this.#ownFolder()
    if (own === undefined) return
    const now = new Date(Number(own.folder.status('.')?.mtimeMs))
    await Promise.all(files.map((file) => utimes(file, now, now).catch(() => undefined)))
    try {
      this.#takeAbandoned(own, now)
    } catch {
      // Another run has taken it.
    }
    removeIfPossible(own)
  }

  #ownFolder(): PrivateFolder | undefined {
    try {
      return PrivateFolder.create(this.folder)
    } catch {
      return undefined
    }
  }

  /** Into the folder that is removed: of several runs, one gets each. */
  #takeAbandoned({ parent, folder, name: own }: PrivateFolder, now: Date): void {
    for (const name of parent.names()) {
      const status = PARTIAL_NAME.test(name) && name !== own && name !== this.#private?.name ? parent.status(name) : undefined
      if (status && now.getTime() - Number(status.mtimeMs) > ABANDONED_MILLISECONDS) renameSync(parent.at(name), folder.at(name))
    }
  }

  /** Remove the pieces that were not used for longest until at most `limitBytes` are left, or only those in use. Throws WRITE_FAILED. */
  async prune(limitBytes: number, inUse: ReadonlySet<string>): Promise<void> {
    const pieces: { readonly file: string; readonly size: number; readonly mtimeMs: number }[] = []
    for (const name of (await this.#names()).sort()) {
      const file = join(this.folder, name)
      const stats = parseFileName(name) && (await lstat(file).catch(() => undefined))
      if (stats?.isFile()) pieces.push({ file, size: stats.size, mtimeMs: stats.mtimeMs })
    }
    let total = pieces.reduce((sum, { size }) => sum + size, 0)
    for (const { file, size } of pieces.sort((a, b) => a.mtimeMs - b.mtimeMs)) {
      if (total <= limitBytes) return
      if (inUse.has(file)) continue
      try {
        await rm(file, { force: true })
      } catch (error) {
        throw writeError(file, error)
      }
      total -= size
    }
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.folder)
    } catch (error) {
      const code = systemErrorCode(error) ?? String(error)
      throw new ImageError('UNREADABLE', `${this.label}: the folder of pieces cannot be read (${code})`, { path: this.label, cause: error })
    }
  }
}

/** What is left is no harm: another run removes it when it is old. */
function removeIfPossible(partial: PrivateFolder): void {
  try {
    partial.remove()
  } catch {}
}

/** What a piece is looked up by. */
export function indexOf({ key, suffix }: { readonly key: string; readonly suffix: string }): string {
  return `${key}.${suffix}`
}
