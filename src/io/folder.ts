/** A folder of images, which appears whole or not at all. */
import { chmod, copyFile, link, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
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
  /** Replace a folder that exists and holds nothing but names of `replaceable`. */
  readonly force: boolean
  /** Names that an older result may have at its top. */
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
    await moveInto(temporary, destination, path)
    return saved
  } finally {
    await open.close()
    await rm(temporary, { recursive: true, force: true })
  }
}

/** Throws EXISTS when nothing may be written at `path`; for a check before the work begins. */
export async function checkFolderDestination(path: string, { force, replaceable }: Omit<FolderOptions, 'digest'>): Promise<void> {
  const destination = resolve(path)
  let names: string[]
  try {
    if (!(await lstat(destination)).isDirectory()) {
      throw new ImageError('EXISTS', `${path}: is there and is no folder; choose another name for the folder to write`, { path })
    }
    names = await readdir(destination)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return
    throw writeError(path, error)
  }
  if (names.length === 0) return
  if (!force) throw new ImageError('EXISTS', `${path}: exists already; use --force to replace it`, { path })
  const foreign = names.find((name) => !replaceable.includes(name))
  if (foreign !== undefined) {
    throw new ImageError('EXISTS', `${path}: holds '${foreign}', which was not written by this command; choose another folder`, { path })
  }
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

  async close(): Promise<void> {
    for (const handle of this.#handles.splice(0)) await handle.close()
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

/** An empty folder is replaced by the rename itself; another is put aside for the moment of the rename. */
async function moveInto(temporary: string, destination: string, label: string): Promise<void> {
  const aside = join(dirname(temporary), `${basename(temporary)}.old`)
  try {
    const isAside = await rename(temporary, destination).then(
      () => false,
      async (error: unknown) => {
        if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes(systemErrorCode(error) ?? '')) throw error
        await rename(destination, aside)
        await rename(temporary, destination).catch(async (failure: unknown) => {
          await rename(aside, destination)
          throw failure
        })
        return true
      },
    )
    await syncFolder(dirname(destination))
    if (isAside) await rm(aside, { recursive: true, force: true })
  } catch (error) {
    throw writeError(label, error)
  }
}
