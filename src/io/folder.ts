/** A folder of images, which appears whole or not at all. */
import { constants } from 'node:fs'
import { copyFile, link, lstat, mkdir, open, readdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { ImageError, systemErrorCode, throwIfAborted } from '../errors.ts'
import { Digests } from './digest.ts'
import { FileTarget } from './file-target.ts'
import { type BuildContext, type GrowingImage, type Image, isGrowing } from './image.ts'
import type { ProgressListener } from './progress.ts'
import { recover } from './recover.ts'
import { regionImage } from './region.ts'
import { checkReplaceable, stage } from './staging.ts'
import { placeImage } from './stream.ts'
import { SyncQueue } from './sync-queue.ts'
import { existsError, writeError } from './write-error.ts'

/** Files that are written already, by path, as they can be read back. */
export type WrittenFiles = ReadonlyMap<string, Image>

export interface FolderFile {
  /** Names between slashes, relative; folders come by themselves. */
  readonly path: string
  /** Permission bits. Default 0644. */
  readonly mode?: number
  /** What to write; `sameAs` is a file that comes earlier, of which this one becomes a hard link where the system has those. */
  readonly content:
    | { readonly kind: 'image'; readonly image: Image | GrowingImage }
    | { readonly kind: 'made'; readonly make: (written: WrittenFiles) => Image | GrowingImage }
    | { readonly kind: 'sameAs'; readonly path: string }
}

export interface SavedFile {
  readonly path: string
  /** Bytes. */
  readonly size: number
  /** Lower-case hex; undefined where no digest was asked for. */
  readonly sha256: string | undefined
}

export interface FolderOptions {
  /** Replace a folder that exists and holds no files but those of `replaceable`. */
  readonly force: boolean
  /** Paths that the files of an older result may have, as in `FolderFile`. */
  readonly replaceable: readonly string[]
  /** Compute the SHA-256 of each file. */
  readonly digest: boolean
}

/**
 * Write the files to a hidden folder, which appears at `path` once all is on stable storage (see `stage`). Throws EXISTS,
 * WRITE_FAILED, ABORTED, or what an image throws; then nothing is at `path` that was not there before.
 */
export async function saveFolder(
  files: readonly FolderFile[],
  path: string,
  options: FolderOptions,
  context: BuildContext,
): Promise<SavedFile[]> {
  const { onProgress } = context
  await checkFolderDestination(path, options, onProgress)
  return stage(path, { force: options.force, onProgress }, async (folder) => {
    const open = new OpenFiles()
    try {
      const place = { label: path, folder, digest: options.digest }
      const saved = await writeFiles(files, place, open, { ...context, onProgress: oneWriteStage(files, onProgress) })
      await open.close()
      throwIfAborted(context.signal)
      await checkFolderDestination(path, options)
      return saved
    } finally {
      // Only after an error is anything open here, and that error is the one to report.
      await open.close().catch(() => undefined)
    }
  })
}

/** Throws EXISTS or WRITE_FAILED when nothing may be written at `path`; for a check before the work begins, which reports what it puts back. */
export async function checkFolderDestination(
  path: string,
  { force, replaceable }: Omit<FolderOptions, 'digest'>,
  onProgress?: ProgressListener,
): Promise<void> {
  recover(path, onProgress)
  let foreign: string | undefined
  try {
    const destination = resolve(path)
    if (!(await lstat(destination)).isDirectory()) {
      throw new ImageError('EXISTS', `${path}: is there and is no folder; choose another name for the folder to write`, { path })
    }
    if ((await readdir(destination)).length === 0) return
    foreign = force ? await foreignIn(destination, '', replaceable) : undefined
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return
    throw writeError(path, error)
  }
  if (!force) throw existsError(path)
  if (foreign !== undefined) {
    throw new ImageError('EXISTS', `${path}: holds '${foreign}', which was not written by this command; choose another folder`, { path })
  }
  checkReplaceable(path, { force })
}

/** The first path below `folder` that is none of `known`, nor a folder of theirs; `prefix` is the folder's own, with a slash behind it. */
async function foreignIn(folder: string, prefix: string, known: readonly string[]): Promise<string | undefined> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = `${prefix}${entry.name}`
    if (!entry.isDirectory()) {
      if (!known.includes(path)) return path
      continue
    }
    if (!known.some((one) => one.startsWith(`${path}/`))) return path
    const foreign = await foreignIn(join(folder, entry.name), `${path}/`, known)
    if (foreign !== undefined) return foreign
  }
  return undefined
}

/** Writing is one stage, whose bytes are those of all files. Its total is known where all sizes are. */
function oneWriteStage(files: readonly FolderFile[], onProgress: ProgressListener | undefined): ProgressListener {
  const sizes = files.map(({ content }) => {
    if (content.kind === 'sameAs') return 0
    return content.kind === 'image' && !isGrowing(content.image) ? content.image.size : Number.NaN
  })
  const totalBytes = sizes.reduce((sum, size) => sum + size, 0)
  let isBegun = false
  let before = 0
  let doneBytes = 0
  return (event) => {
    if (event.kind === 'note' || event.stage !== 'write') onProgress?.(event)
    else if (event.kind === 'stage') {
      before += doneBytes
      doneBytes = 0
      if (!isBegun) onProgress?.({ kind: 'stage', stage: 'write', ...(Number.isNaN(totalBytes) ? {} : { totalBytes }) })
      isBegun = true
    } else {
      doneBytes = event.doneBytes
      onProgress?.({ kind: 'bytes', stage: 'write', doneBytes: before + doneBytes })
    }
  }
}

/** Files that later ones are made from stay open. */
class OpenFiles {
  readonly #handles: { close(): Promise<void> }[] = []

  add(handle: { close(): Promise<void> }): void {
    this.#handles.push(handle)
  }

  /** All of them, also when one throws; then the first error counts. */
  async close(): Promise<void> {
    const results = await Promise.allSettled(this.#handles.splice(0).map((handle) => handle.close()))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
}

interface Place {
  /** The final path as the user wrote it, for messages. */
  readonly label: string
  readonly folder: string
  readonly digest: boolean
}

async function writeFiles(files: readonly FolderFile[], place: Place, open: OpenFiles, context: BuildContext): Promise<SavedFile[]> {
  const writing = new Writing(place.digest, open, context)
  const written = new Map<string, Image>()
  /** Which of the files that were written a path is. */
  const indexes = new Map<string, number>()
  try {
    for (const file of files) {
      throwIfAborted(context.signal)
      const { content, path } = file
      const hostPath = join(place.folder, path)
      try {
        await mkdir(dirname(hostPath), { recursive: true })
      } catch (error) {
        throw writeError(join(place.label, path), error)
      }
      if (content.kind === 'sameAs') {
        const index = indexes.get(content.path)
        const image = written.get(content.path)
        if (index === undefined || image === undefined) throw new RangeError(`${path}: ${content.path} is not written yet`)
        await linkOrCopy(join(place.folder, content.path), hostPath, join(place.label, path))
        indexes.set(path, index)
        written.set(path, image)
      } else {
        const image = content.kind === 'image' ? content.image : content.make(written)
        indexes.set(path, writing.count)
        written.set(path, await writing.write(image, hostPath, { ...file, label: join(place.label, path) }))
      }
    }
    const digests = await writing.finish()
    await syncFolders([...written.keys()], place)
    return [...written].map(([path, { size }]) => ({ path, size, sha256: digests[indexes.get(path) as number] }))
  } finally {
    await writing.close()
  }
}

/** Files that are written one after the other; while the next one is, those before are hashed and synced. */
class Writing {
  readonly #openFiles: OpenFiles
  readonly #context: BuildContext
  readonly #digests: Digests | undefined
  readonly #syncs: Promise<void>[] = []

  constructor(digest: boolean, openFiles: OpenFiles, context: BuildContext) {
    this.#digests = digest ? new Digests(context) : undefined
    this.#openFiles = openFiles
    this.#context = context
  }

  get count(): number {
    return this.#syncs.length
  }

  /** The image as it lies in the file, which is open until `OpenFiles` are closed. */
  async write(
    image: Image | GrowingImage,
    hostPath: string,
    { mode = 0o644, label }: { readonly mode?: number; readonly label: string },
  ): Promise<Image> {
    const target = await createFile(hostPath, mode, label, this.#openFiles)
    const placed = await this.#place(image, target)
    const sync = target.sync()
    // It counts when it is awaited.
    sync.catch(() => undefined)
    this.#syncs.push(sync)
    return placed
  }

  /** All is on stable storage. The digest of each file, where they are wanted. */
  async finish(): Promise<readonly string[]> {
    const [digests] = await Promise.all([this.#digests?.finish() ?? [], ...this.#syncs])
    return digests
  }

  /** Nothing is done with the files any more when this resolves; to be called in any case. */
  async close(): Promise<void> {
    await Promise.allSettled([this.#digests?.close(), ...this.#syncs])
  }

  async #place(image: Image | GrowingImage, target: FileTarget): Promise<Image> {
    if (this.#digests !== undefined) return this.#digests.place(image, target)
    const { size } = await placeImage(image, target, 0, this.#context)
    await target.setSize(size)
    return regionImage(target, 0, size)
  }
}

/** All folders that the files lie in, but the outermost. */
async function syncFolders(paths: readonly string[], { folder, label }: Place): Promise<void> {
  const folders = new Set(paths.flatMap((path) => path.split('/').map((_, count, names) => names.slice(0, count).join('/'))))
  const queue = new SyncQueue(label)
  try {
    for (const path of folders) if (path !== '') queue.addFolder(join(folder, path))
  } catch (error) {
    throw writeError(label, error)
  } finally {
    await queue.finish()
  }
}

async function createFile(hostPath: string, mode: number, label: string, openFiles: OpenFiles): Promise<FileTarget> {
  try {
    const handle = await open(hostPath, 'wx+', mode)
    const target = new FileTarget(handle, label)
    openFiles.add(target)
    // Whatever the umask says.
    await handle.chmod(mode)
    return target
  } catch (error) {
    throw writeError(label, error)
  }
}

/** Some file systems have no hard links; there the bytes are copied. */
async function linkOrCopy(from: string, to: string, label: string): Promise<void> {
  try {
    await link(from, to).catch(() => copied(from, to))
  } catch (error) {
    throw writeError(label, error)
  }
}

async function copied(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_EXCL)
  const handle = await open(to, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
