/**
 * A folder of uncompressed NARs, each under its hash, for any number of processes: files appear in one step and are never
 * changed. Nothing in it is believed: whoever takes a file compares it with its hash first, so that what a power cut or
 * somebody else has left of one is seen, and fetched anew.
 */
import { lstat, mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { systemErrorCode } from '../../errors.ts'
import { PARTIAL_NAME, PrivateFolder } from '../../io/private-folder.ts'
import { requireOwnFolder } from '../../io/trust.ts'
import { writeError } from '../../io/write-error.ts'
import { formatNix32 } from '../store/hash.ts'

const NAME = /^[0-9a-z]{52}\.nar$/

/** What was used within a day may be in use, and what is unfinished may be going on. */
const KEPT_MILLISECONDS = 24 * 60 * 60 * 1000

export class NarCache {
  readonly folder: string
  readonly #limit: number
  readonly #private: PrivateFolder
  /** When this began, by the clock of the file system. */
  readonly #seconds: number
  #count = 0

  private constructor(folder: string, limit: number, partial: PrivateFolder) {
    this.folder = folder
    this.#limit = limit
    this.#private = partial
    this.#seconds = Number(partial.folder.status('.')?.mtimeNs ?? 0n) / 1e9
  }

  /** `limit` in bytes. Throws WRITE_FAILED, and UNTRUSTED for a folder to which others may write. */
  static async open(folder: string, limit: number): Promise<NarCache> {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      await requireOwnFolder(folder, folder, 'folder of NARs')
      return new NarCache(folder, limit, PrivateFolder.create(folder))
    } catch (error) {
      throw writeError(folder, error)
    }
  }

  /** Where the NAR of that hash is, or would be. */
  place(narHash: Uint8Array): string {
    return join(this.folder, `${formatNix32(narHash)}.nar`)
  }

  /** Whether a file of that size lies at its place; it has to be compared. */
  async has(narHash: Uint8Array, narSize: number): Promise<boolean> {
    const found = await lstat(this.place(narHash)).catch(() => undefined)
    return found?.isFile() === true && found.size === narSize
  }

  /** A name in a folder of this process, where nothing is. */
  unfinished(): string {
    return join(this.folder, this.#private.name, String(this.#count++))
  }

  /** The finished file comes to its place, and another one there goes. */
  async keep(file: string, narHash: Uint8Array): Promise<void> {
    try {
      await rename(file, this.place(narHash))
    } catch (error) {
      throw writeError(this.folder, error)
    }
  }

  async used(narHash: Uint8Array): Promise<void> {
    await utimes(this.place(narHash), this.#seconds, this.#seconds).catch(() => undefined)
  }

  /** Down to the limit: those that were used least recently go, but none of the last day. */
  async trim(): Promise<void> {
    const now = this.#seconds * 1000
    const files: { readonly path: string; readonly size: number; readonly usedAt: number }[] = []
    for (const name of await readdir(this.folder)) {
      const path = join(this.folder, name)
      const found = await stat(path).catch((error: unknown) => {
        if (systemErrorCode(error) !== 'ENOENT') throw writeError(path, error)
      })
      if (found === undefined) continue
      const isOld = now - found.mtimeMs > KEPT_MILLISECONDS
      if (PARTIAL_NAME.test(name) && isOld) await rm(path, { recursive: true, force: true })
      if (NAME.test(name) && found.isFile()) files.push({ path, size: found.size, usedAt: found.mtimeMs })
    }
    let total = files.reduce((sum, { size }) => sum + size, 0)
    for (const { path, size, usedAt } of files.sort((a, b) => a.usedAt - b.usedAt)) {
      if (total <= this.#limit || now - usedAt <= KEPT_MILLISECONDS) return
      await rm(path, { force: true })
      total -= size
    }
  }

  close(): void {
    this.#private.remove()
  }
}
