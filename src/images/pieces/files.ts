/** The files of a folder of pieces: what is there, how a new one comes, which go. */
import { lstat, mkdir, readdir, rename, rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { ImageError, systemErrorCode } from '../../errors.ts'
import { openTemporary, writeError } from '../../io/file-target.ts'
import { type PieceKey, parseFileName, pieceFileName } from './key.ts'

/** A piece whose content nobody has looked at yet. */
export interface FoundPiece {
  readonly file: string
  readonly sha256: string
}

/** What other runs left unfinished is theirs for a day, and then nobody's. */
const ABANDONED_MILLISECONDS = 24 * 60 * 60 * 1000

const PARTIAL = /^\.kilnix-\d+-\d+\.partial$/

export class PieceFiles {
  readonly folder: string
  /** The folder as messages name it. */
  readonly label: string
  /** Files that are being written. */
  readonly #partials = new Set<string>()

  constructor(folder: string, label: string) {
    this.folder = folder
    this.label = label
  }

  /** Throws WRITE_FAILED. */
  async create(): Promise<void> {
    try {
      await mkdir(this.folder, { recursive: true })
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') {
        throw new ImageError('USAGE', `${this.label}: is there and is no folder; name a folder for pieces`, {
          path: this.label,
          cause: error,
        })
      }
      throw writeError(this.label, error)
    }
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
  async openPartial(): Promise<string> {
    const { handle, temporary } = await openTemporary(this.label, this.folder)
    this.#partials.add(temporary)
    await handle.close()
    return temporary
  }

  /**
   * A partial is whole: give it its name. It is not synced to the disk, for its checksum tells whether it got there.
   * Throws WRITE_FAILED.
   */
  async finish(partial: string, key: PieceKey, sha256: string): Promise<string> {
    const file = join(this.folder, pieceFileName(key, sha256))
    try {
      await rename(partial, file)
    } catch (error) {
      throw writeError(file, error)
    }
    this.#partials.delete(partial)
    return file
  }

  /** Remove the partials among `partials` that are not finished. */
  async discard(partials: Iterable<string>): Promise<void> {
    for (const partial of partials) {
      if (this.#partials.delete(partial)) await rm(partial, { force: true })
    }
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
   * Note that pieces are used now, and remove what killed runs left long ago. The time is that of a file made for it, so
   * that all times are of one clock, the file system's. A folder that cannot be written to keeps its times.
   */
  async touch(files: readonly string[]): Promise<void> {
    const now = await this.#now()
    if (now === undefined) return
    await Promise.all(files.map((file) => utimes(file, now, now).catch(() => undefined)))
    for (const name of await this.#names()) {
      const file = join(this.folder, name)
      if (!PARTIAL.test(name) || this.#partials.has(file)) continue
      const stats = await lstat(file).catch(() => undefined)
      if (stats && now.getTime() - stats.mtimeMs > ABANDONED_MILLISECONDS) await rm(file, { force: true }).catch(() => undefined)
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

  async #now(): Promise<Date | undefined> {
    try {
      const { handle, temporary } = await openTemporary(this.label, this.folder)
      try {
        return (await handle.stat()).mtime
      } finally {
        await handle.close()
        await rm(temporary, { force: true })
      }
    } catch {
      return undefined
    }
  }
}

/** What a piece is looked up by. */
export function indexOf({ key, suffix }: { readonly key: string; readonly suffix: string }): string {
  return `${key}.${suffix}`
}
