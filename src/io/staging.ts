/**
 * What is written appears at its path whole or not at all. It is made in a private folder beside the path, brought to stable
 * storage, and moved to the path in one step:
 *
 * - A file or link is linked to the path, which fails where something is (`link(2)`), or with `force` replaces what is there
 *   (`rename(2)`). File systems without hard links have no such exclusive step for files: there a file that came up in the
 *   last moment is replaced.
 * - A folder is moved (`rename(2)`), which replaces nothing but an empty folder. With `force` what is there is moved aside
 *   before: exchanging both in one step takes renameat2(2), which Node lacks. A run that is killed between the two leaves
 *   nothing at the path; the next one puts back what was there (`recover`).
 */
import { closeSync, constants, fchmodSync, fstatSync, futimesSync, linkSync, mkdirSync, openSync, renameSync, type Stats } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { ImageError, systemErrorCode } from '../errors.ts'
import { HeldFolder, type Identity, isSame, syncDescriptor } from './held-folder.ts'
import { mountWithin } from './mounts.ts'
import { PARTIAL_NAME, PrivateFolder } from './private-folder.ts'
import type { ProgressListener } from './progress.ts'
import { writeError } from './write-error.ts'

export interface StageOptions {
  /** Replace what is at the path, whatever it is. Default: that is EXISTS. */
  readonly force?: boolean
  /** Is told what went wrong behind an output that stands. */
  readonly onProgress?: ProgressListener | undefined
}

/** What is made, in its private folder. */
const CONTENT = 'content'

/** In the private folder: what did appear, but not for good. */
const UNDONE = 'undone'

/** In the private folder: folders that hold what was at the path, under its own name; theirs end in its mode, octal. */
const REPLACED = /^replaced-\d+-([0-7]+)$/

/**
 * `build` makes one file, folder or link at `place`, a path where nothing is and that no other user can reach, and brings all
 * that is in it to stable storage; a folder itself is synced here. It appears at `path` when `build` returns, and is removed
 * when `build` throws. Throws EXISTS, WRITE_FAILED, and what `build` throws; then what is at `path` is what was there before.
 */
export async function stage<T>(path: string, options: StageOptions, build: (place: string) => Promise<T>): Promise<T> {
  const destination = resolve(path)
  const partial = guarded(path, () => PrivateFolder.create(dirname(destination)))
  try {
    const result = await build(partial.folder.at(CONTENT))
    await new Appearance(partial, basename(destination), path, options).run()
    return result
  } catch (error) {
    throw systemErrorCode(error) === undefined ? error : writeError(path, error)
  } finally {
    removePartial(partial, options.onProgress)
  }
}

/** What stands at the path is whole, or the error is under way: that something is left is no error of its own. */
function removePartial(partial: PrivateFolder, onProgress: ProgressListener | undefined): void {
  try {
    partial.remove()
  } catch (error) {
    const why = systemErrorCode(error) ?? String(error)
    onProgress?.({ kind: 'note', message: `${partial.name}: what was replaced, or not finished, cannot be removed as a whole (${why})` })
  }
}

/** The step that makes a staged thing appear. */
class Appearance {
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

  constructor(partial: PrivateFolder, name: string, label: string, { force = false }: StageOptions) {
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
    const { folder } = this.#partial
    const descriptor = openSync(folder.at(CONTENT), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
    try {
      const before = fstatSync(descriptor)
      await syncDescriptor(descriptor)
      makeMovable(folder, CONTENT)
      while (!this.#isMoved()) this.#putAside()
      this.#placed = made
      restoreStatus(descriptor, before)
      await syncDescriptor(descriptor)
    } finally {
      closeSync(descriptor)
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
      if (there.isDirectory()) makeMovable(this.#parent, this.#name)
      renameSync(this.#parent.at(this.#name), aside)
    } catch (error) {
      this.#asides.pop()
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
  }

  #newAside({ mode }: Status): string {
    const { folder } = this.#partial
    const name = `replaced-${this.#asides.length}-${(mode & 0o7777n).toString(8)}`
    if (folder.status(name) === undefined) mkdirSync(folder.at(name), 0o700)
    this.#asides.push(name)
    return folder.at(`${name}/${this.#name}`)
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

type Status = NonNullable<ReturnType<HeldFolder['status']>>

/** Who may not write to a folder may not move it into another one either, unless it is root. */
function makeMovable(parent: HeldFolder, name: string): void {
  if (process.geteuid?.() === 0) return
  const folder = parent.openFolder(name)
  try {
    const mode = fstatSync(folder.descriptor).mode & 0o7777
    if ((mode & 0o200) === 0) fchmodSync(folder.descriptor, mode | 0o200)
  } finally {
    folder.close()
  }
}

/** To its old place, and with its old mode. */
function moveBack(partial: HeldFolder, aside: string, parent: HeldFolder, name: string): void {
  renameSync(partial.at(`${aside}/${name}`), parent.at(name))
  const [, mode = ''] = REPLACED.exec(aside) ?? []
  if (parent.status(name)?.isDirectory() !== true) return
  const folder = parent.openFolder(name)
  try {
    fchmodSync(folder.descriptor, Number.parseInt(mode, 8))
  } finally {
    folder.close()
  }
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

/**
 * For a check before the work begins: throws EXISTS where something is at `path` and `force` is not given, and WRITE_FAILED
 * for what may not be replaced, because something is mounted in it.
 */
export function checkReplaceable(path: string, { force = false, onProgress }: StageOptions): void {
  recover(path, onProgress)
  const status = statusAt(path)
  if (status === undefined) return
  if (!force) throw existsError(path)
  const mounted = status.isDirectory() ? mountWithin(path) : undefined
  if (mounted === undefined) return
  throw new ImageError(
    'WRITE_FAILED',
    `${path}: is not replaced, because something is mounted at ${mounted}; unmount it, or choose another output`,
    {
      path,
    },
  )
}

/**
 * Put back what a run that was killed has moved aside, where nothing is at `path`. Errors are left to those who write there.
 */
export function recover(path: string, onProgress?: ProgressListener): void {
  const destination = resolve(path)
  let parent: HeldFolder | undefined
  try {
    parent = HeldFolder.open(dirname(destination))
    const name = basename(destination)
    for (const partial of parent.status(name) === undefined ? parent.names() : []) {
      if (!PARTIAL_NAME.test(partial) || !putBackFrom(parent, partial, name)) continue
      onProgress?.({ kind: 'note', message: `${path}: what a run that was killed had moved to ${partial} is back in its place` })
      return
    }
  } catch {
    // The folder may not be there, or not be for this user.
  } finally {
    parent?.close()
  }
}

/** True when something was moved. The owner is compared, lest another user's folder become the output. */
function putBackFrom(parent: HeldFolder, partial: string, name: string): boolean {
  let folder: HeldFolder | undefined
  try {
    folder = parent.openFolder(partial)
    const owner = folder.status('.')?.uid
    if (process.geteuid !== undefined && owner !== BigInt(process.geteuid())) return false
    const held = folder.names().find((one) => REPLACED.test(one) && folder?.status(`${one}/${name}`) !== undefined)
    if (held === undefined || parent.status(name) !== undefined) return false
    moveBack(folder, held, parent, name)
    return true
  } catch {
    return false
  } finally {
    folder?.close()
  }
}

/** What is at `path` itself, not behind a link. Throws WRITE_FAILED. */
export function statusAt(path: string): ReturnType<HeldFolder['status']> {
  const destination = resolve(path)
  let parent: HeldFolder | undefined
  try {
    parent = HeldFolder.open(dirname(destination))
    return parent.status(basename(destination))
  } catch (error) {
    throw writeError(path, error)
  } finally {
    parent?.close()
  }
}

function guarded<T>(label: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw writeError(label, error)
  }
}

export function existsError(path: string): ImageError {
  return new ImageError('EXISTS', `${path}: exists already; use --force to replace it`, { path })
}
