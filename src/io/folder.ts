/** A folder of images, which appears whole or not at all. */
import { chmod, copyFile, link, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { ImageError, systemErrorCode, throwIfAborted } from '../errors.ts'
import { imageSha256 } from './digest.ts'
import { FileTarget, syncFolder, writeError } from './file-target.ts'
import { type BuildContext, type GrowingImage, type Image, isGrowing } from './image.ts'
import type { ProgressListener } from './progress.ts'
import { regionImage } from './region.ts'
import { writeImage } from './stream.ts'

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
 * Write the files to a hidden folder beside `path`, sync it and rename it. Throws EXISTS, WRITE_FAILED, ABORTED, or
 * what an image throws; then nothing is at `path` that was not there before.
 */
export async function saveFolder(
  files: readonly FolderFile[],
  path: string,
  options: FolderOptions,
  context: BuildContext,
): Promise<SavedFile[]> {
  const destination = resolve(path)
  await checkFolderDestination(path, options)
  const temporary = await makeTemporary(path, destination)
  const open = new OpenFiles()
  try {
    const place = { label: path, folder: temporary, digest: options.digest }
    const saved = await writeFiles(files, place, open, { ...context, onProgress: oneWriteStage(files, context.onProgress) })
    await open.close()
    throwIfAborted(context.signal)
    await checkFolderDestination(path, options)
    await moveInto(temporary, destination, path, options.force)
    return saved
  } finally {
    // Only after an error is anything open here, and that error is the one to tell.
    await open.close().catch(() => undefined)
    await rm(temporary, { recursive: true, force: true })
  }
}

/** Throws EXISTS when nothing may be written at `path`; for a check before the work begins. */
export async function checkFolderDestination(path: string, { force, replaceable }: Omit<FolderOptions, 'digest'>): Promise<void> {
  const destination = resolve(path)
  let foreign: string | undefined
  try {
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
  const written = new Map<string, Image>()
  const saved = new Map<string, SavedFile>()
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
      const original = saved.get(content.path)
      const image = written.get(content.path)
      if (original === undefined || image === undefined) throw new RangeError(`${path}: ${content.path} is not written yet`)
      await linkOrCopy(join(place.folder, content.path), hostPath, join(place.label, path))
      saved.set(path, { ...original, path })
      written.set(path, image)
    } else {
      const image = content.kind === 'image' ? content.image : content.make(written)
      const result = await writeFile(image, hostPath, { ...file, label: join(place.label, path) }, place.digest, open, context)
      saved.set(path, { path, size: result.image.size, sha256: result.sha256 })
      written.set(path, result.image)
    }
  }
  for (const folder of new Set([...saved.keys()].map((path) => dirname(join(place.folder, path))))) await syncFolder(folder)
  return [...saved.values()]
}

async function writeFile(
  image: Image | GrowingImage,
  hostPath: string,
  { mode = 0o644, label }: { readonly mode?: number; readonly label: string },
  digest: boolean,
  openFiles: OpenFiles,
  context: BuildContext,
): Promise<{ readonly image: Image; readonly sha256: string | undefined }> {
  let target: FileTarget
  try {
    target = new FileTarget(await open(hostPath, 'wx+', mode), label)
    openFiles.add(target)
    // Whatever the umask says.
    await chmod(hostPath, mode)
  } catch (error) {
    throw writeError(label, error)
  }
  const packed = isGrowing(image) ? await image.pack(target, 0, context) : image
  if (!isGrowing(image)) await writeImage(image, target, 0, context)
  await target.setSize(packed.size)
  const readBack = regionImage(target, 0, packed.size)
  const [sha256] = await Promise.all([digest ? imageSha256(readBack, context.signal) : undefined, target.sync()])
  return { image: readBack, sha256 }
}

/** Some file systems have no hard links; there the bytes are copied. */
async function linkOrCopy(from: string, to: string, label: string): Promise<void> {
  try {
    await link(from, to).catch(() => copyFile(from, to))
  } catch (error) {
    throw writeError(label, error)
  }
}

async function makeTemporary(label: string, destination: string): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    const temporary = join(dirname(destination), `.kilnix-${process.pid}-${attempt}.partial`)
    try {
      await mkdir(temporary)
      return temporary
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST' && attempt < 1000) continue
      throw writeError(label, error)
    }
  }
}

/** What a rename gives where a folder stands that is not empty; EPERM is how Windows says it of any. */
const TAKEN = ['ENOTEMPTY', 'EEXIST', 'EPERM']

/** An empty folder is replaced by the rename itself; another, with `force`, is put aside for the moment of the rename. */
async function moveInto(temporary: string, destination: string, label: string, force: boolean): Promise<void> {
  const asides: string[] = []
  try {
    // Another run may put its own result there again and again, but each does so once.
    while (!(await renamedInto(temporary, destination, label, force))) {
      const aside = `${temporary}.old-${asides.length}`
      if (await renamedFrom(destination, aside)) asides.push(aside)
    }
  } catch (error) {
    const last = asides.pop()
    if (last !== undefined) await rename(last, destination).catch(() => undefined)
    await removeAll(asides)
    throw writeError(label, error)
  }
  await syncFolder(dirname(destination)).finally(() => removeAll(asides))
}

async function removeAll(folders: readonly string[]): Promise<void> {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
}

/** False where another folder has to be put aside first. */
async function renamedInto(temporary: string, destination: string, label: string, force: boolean): Promise<boolean> {
  try {
    await rename(temporary, destination)
    return true
  } catch (error) {
    const code = systemErrorCode(error) ?? ''
    if (!TAKEN.includes(code)) throw error
    if (!force && code !== 'EPERM') throw existsError(label)
    return false
  }
}

/** False where there is nothing any more. */
async function renamedFrom(destination: string, aside: string): Promise<boolean> {
  try {
    await rename(destination, aside)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}

function existsError(path: string): ImageError {
  return new ImageError('EXISTS', `${path}: exists already; use --force to replace it`, { path })
}
