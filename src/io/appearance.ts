/** The step that makes a staged thing appear at its path, and what undoes it; see `stage`. */
import { fchmodSync, fstatSync, futimesSync, linkSync, mkdirSync, renameSync, type Stats } from 'node:fs'
import { dirname, join } from 'node:path'
import { ImageError, systemErrorCode } from '../errors.ts'
import { type HeldFolder, type Identity, isSame, type Status, syncDescriptor } from './held-folder.ts'
import type { PrivateFolder } from './private-folder.ts'
import { asideName, moveBack } from './recover.ts'
import { existsError } from './write-error.ts'

/** What is made, in its private folder. */
export const CONTENT = 'content'

/** In the private folder: what did appear, but not for good. */
const UNDONE = 'undone'

/** In the private folder: what was replaced for good, numbered. */
const GIVEN_UP = 'given-up-'

/** Of one thing. Methods throw EXISTS, WRITE_FAILED where what was there cannot be put back, and errors of the system. */
export class Appearance {
  readonly #partial: PrivateFolder
  readonly #parent: HeldFolder
  /** In the parent. */
  readonly #name: string
  /** As the user wrote the path. */
  readonly #label: string
  readonly #force: boolean
  /** Names in the private folder of what was at the path, the last one last. */
  readonly #asides: string[] = []
  /** What is made, once it is at the path. */
  #placed: Identity | undefined

  constructor(partial: PrivateFolder, name: string, label: string, force: boolean) {
    this.#partial = partial
    this.#parent = partial.parent
    this.#name = name
    this.#label = label
    this.#force = force
  }

  async run(): Promise<void> {
    const status = this.#partial.folder.status(CONTENT)
    if (status === undefined) throw new RangeError(`${this.#label}: nothing was made`)
    try {
      if (status.isDirectory()) await this.#placeFolder(status)
      else this.#placeFile(status)
      // Else it might be gone after a power cut.
      await syncDescriptor(this.#parent.descriptor)
    } catch (error) {
      this.#undo()
      throw error
    }
    this.#giveUpAsides()
  }

  #placeFile(made: Identity): void {
    const { folder } = this.#partial
    if (!this.#force) {
      this.#linkFile(made)
      return
    }
    const there = this.#parent.status(this.#name)
    if (there?.isDirectory()) this.#putAside()
    else if (there !== undefined) this.#keepLink(there)
    renameSync(folder.at(CONTENT), this.#parent.at(this.#name))
    this.#placed = made
  }

  /** The content keeps its name in the private folder as well, until that is removed. */
  #linkFile(made: Identity): void {
    const { folder } = this.#partial
    try {
      linkSync(folder.at(CONTENT), this.#parent.at(this.#name))
    } catch (error) {
      const code = systemErrorCode(error) ?? ''
      if (code === 'EEXIST') throw existsError(this.#label)
      if (!NO_LINKS.includes(code)) throw error
      if (this.#parent.status(this.#name) !== undefined) throw existsError(this.#label)
      renameSync(folder.at(CONTENT), this.#parent.at(this.#name))
    }
    this.#placed = made
  }

  /** So that a file that is replaced can come back. Without hard links it cannot. */
  #keepLink(there: Status): void {
    try {
      linkSync(this.#parent.at(this.#name), this.#newAside(there))
    } catch {
      this.#asides.pop()
    }
  }

  async #placeFolder(made: Identity): Promise<void> {
    const content = this.#partial.folder.openFolder(CONTENT)
    try {
      const before = fstatSync(content.descriptor)
      await syncDescriptor(content.descriptor)
      makeMovable(content)
      while (!this.#isMoved()) this.#putAside()
      this.#placed = made
      restoreStatus(content.descriptor, before)
      await syncDescriptor(content.descriptor)
    } finally {
      content.close()
    }
  }

  /** False where something has to be put aside first. */
  #isMoved(): boolean {
    try {
      renameSync(this.#partial.folder.at(CONTENT), this.#parent.at(this.#name))
      return true
    } catch (error) {
      if (!TAKEN.includes(systemErrorCode(error) ?? '') || this.#parent.status(this.#name) === undefined) throw error
      if (!this.#force) throw existsError(this.#label)
      return false
    }
  }

  /** Move what is at the path out of the way. Another run may put its own result there again and again, but each does so once. */
  #putAside(): void {
    const there = this.#parent.status(this.#name)
    if (there === undefined) return
    const aside = this.#newAside(there)
    try {
      if (there.isDirectory()) this.#makeOldMovable()
      renameSync(this.#parent.at(this.#name), aside)
    } catch (error) {
      this.#asides.pop()
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
  }

  #makeOldMovable(): void {
    const old = this.#parent.openFolder(this.#name)
    try {
      makeMovable(old)
    } finally {
      old.close()
    }
  }

  #newAside({ mode }: Status): string {
    const { folder } = this.#partial
    const name = asideName(this.#asides.length, mode)
    if (folder.status(name) === undefined) mkdirSync(folder.at(name), 0o700)
    this.#asides.push(name)
    return folder.at(`${name}/${this.#name}`)
  }

  /** What was replaced is not to come back when the new one is removed, should this process be killed before it is gone. */
  #giveUpAsides(): void {
    const { folder } = this.#partial
    for (const [index, aside] of this.#asides.entries()) renameSync(folder.at(aside), folder.at(`${GIVEN_UP}${index}`))
  }

  /** After an error nothing new is at the path, and what was there is back; where it cannot be, it is left where it is. */
  #undo(): void {
    const { folder } = this.#partial
    const last = this.#asides.pop()
    try {
      if (isSame(this.#parent.status(this.#name), this.#placed)) renameSync(this.#parent.at(this.#name), folder.at(UNDONE))
      if (last !== undefined) moveBack(folder, last, this.#parent, this.#name)
    } catch (cause) {
      if (last === undefined) return
      this.#partial.abandon()
      const where = join(dirname(this.#label), this.#partial.name, last, this.#name)
      throw new ImageError(
        'WRITE_FAILED',
        `${this.#label}: cannot be written, and what was there cannot be put back; it lies at ${where}`,
        {
          path: this.#label,
          cause,
        },
      )
    }
  }
}

/** Who may not write to a folder may not move it into another one either, unless it is root. */
function makeMovable({ descriptor }: HeldFolder): void {
  const mode = fstatSync(descriptor).mode & 0o7777
  if (process.geteuid?.() !== 0 && (mode & 0o200) === 0) fchmodSync(descriptor, mode | 0o200)
}

/** What link(2) says where there are no hard links. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EINVAL']

/** What rename(2) says where something is that it does not replace; EPERM is how Windows says it. */
const TAKEN = ['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EISDIR', 'EPERM']

/** Moving a folder may have given it another time. */
function restoreStatus(descriptor: number, { mode, atimeMs, mtimeMs }: Stats): void {
  fchmodSync(descriptor, mode & 0o7777)
  futimesSync(descriptor, atimeMs / 1000, mtimeMs / 1000)
}
