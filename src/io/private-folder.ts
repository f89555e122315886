/**
 * Hidden folders that only this user may enter, for what is not whole yet. Their names cannot be guessed and are taken
 * exclusively (mkdtemp(3)), whatever other processes there are and whichever numbers those have. They are held by
 * descriptors and removed by them: nobody else's file is ever written to, moved or removed.
 */
import { constants, mkdtempSync, openSync, rmdirSync } from 'node:fs'
import { basename } from 'node:path'
import { systemErrorCode } from '../errors.ts'
import { HeldFolder, isSame } from './held-folder.ts'
import { removeEntry } from './remove.ts'

/** Before six characters that are chosen at random. */
const PREFIX = '.kilnix-partial-'

/** What a run that was killed may have left. */
export const PARTIAL_NAME = /^\.kilnix-partial-[0-9A-Za-z]{6}$/

const NEW_FILE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** Those of this process. */
const open = new Set<PrivateFolder>()

export class PrivateFolder {
  /** Where it was made. */
  readonly parent: HeldFolder
  readonly name: string
  /** The folder itself. */
  readonly folder: HeldFolder

  private constructor(parent: HeldFolder, name: string, folder: HeldFolder) {
    this.parent = parent
    this.name = name
    this.folder = folder
    open.add(this)
  }

  /** A new one in the folder at `path`. Throws errors of the system. */
  static create(path: string): PrivateFolder {
    const parent = HeldFolder.open(path)
    try {
      return PrivateFolder.#in(parent)
    } catch (error) {
      parent.close()
      throw error
    }
  }

  static #in(parent: HeldFolder): PrivateFolder {
    const name = basename(mkdtempSync(parent.at(PREFIX)))
    const folder = parent.openFolder(name)
    if (isOurs(folder, parent)) return new PrivateFolder(parent, name, folder)
    folder.close()
    throw Object.assign(new Error(`${name}: was exchanged for another folder`), { code: 'EACCES' })
  }

  /**
   * A new file in it, open for reading and writing. Only `mode`, less the umask, is what others may do once it is moved out
   * of here. Throws errors of the system.
   */
  openFile(name: string, mode = 0o666): number {
    return openSync(this.folder.at(name), NEW_FILE, mode)
  }

  /** Remove the folder and all in it; to be called once nothing writes there. Throws errors of the system, and then leaves the rest. */
  remove(): void {
    if (!open.delete(this)) return
    try {
      for (const entry of this.folder.names()) removeEntry(this.folder, entry)
      if (isSame(this.parent.status(this.name), this.folder.identity)) rmdirSync(this.parent.at(this.name))
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
    } finally {
      this.#close()
    }
  }

  /** Leave the folder where it is: something in it is not to be lost. */
  abandon(): void {
    if (open.delete(this)) this.#close()
  }

  #close(): void {
    this.folder.close()
    this.parent.close()
  }
}

/**
 * Others who may write to the parent could have put another folder there since it was made. Its owner is this user, or where
 * the file system gives all files one owner (FAT, NFS for root), that of the parent, who may do anything there.
 */
function isOurs(folder: HeldFolder, parent: HeldFolder): boolean {
  const user = process.geteuid?.()
  const owner = folder.status('.')?.uid
  return folder.names().length === 0 && (user === undefined || owner === BigInt(user) || owner === parent.status('.')?.uid)
}

/**
 * Remove at once what this process has under way, for a process that is about to end. Errors are not reported: nobody is left to
 * hear of them.
 */
export function removePartialsNow(): void {
  for (const folder of open) {
    try {
      folder.remove()
    } catch {}
  }
}
