/**
 * A tree as files, folders and links of the host, with its modes and times.
 *
 * Not supported: owners, which are those of the process; devices, pipes and sockets; hard links, each name becomes a file
 * of its own; names and targets that the host's file system cannot hold (WRITE_FAILED).
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  ftruncateSync,
  futimesSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { printable } from '../bytes/text.ts'
import { ImageError, systemErrorCode, throwIfAborted } from '../errors.ts'
import { checkImage, extentChunks } from '../io/stream.ts'
import { SyncQueue } from '../io/sync-queue.ts'
import { writeError } from '../io/write-error.ts'
import { contentExtents } from './content.ts'
import { checkDepth } from './depth.ts'
import { hostFileOf, readHostFile, SMALL_FILE_SIZE } from './host-file.ts'
import { type DirectoryNode, type FileNode, sortedEntries, type TreeNode } from './tree.ts'

export interface WriteTreeOptions {
  /** What `path` is called in messages, where that is another. */
  readonly label?: string
  readonly signal?: AbortSignal | undefined
  /** Bytes of contents that were written. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined
}

/** A file is new, or there is an error: nothing that is there already is written to or followed. */
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** Until they have what is in them. */
const OPEN_FOLDER_MODE = 0o700
const OPEN_FILE_MODE = 0o600

const CHUNK_SIZE = 1 << 20

/**
 * Write `node` to `path`, where nothing may be, and bring all to stable storage, but for the entry of `path` in its folder.
 * Holes of images stay holes. Throws WRITE_FAILED, what reading throws, UNSUPPORTED and ABORTED; what was written until then
 * stays.
 */
export async function writeTree(node: TreeNode, path: string, options: WriteTreeOptions = {}): Promise<void> {
  checkDepth(node)
  const root = Buffer.from(path).toString('latin1')
  const writer = new TreeWriter(root, options.label ?? path, options)
  try {
    await writer.add(node, root)
  } catch (error) {
    await writer.finish().catch(() => undefined)
    throw error
  }
  await writer.finish()
}

/** Paths are byte strings, one character a byte. */
class TreeWriter {
  readonly #root: string
  readonly #label: string
  readonly #options: WriteTreeOptions
  readonly #buffer = Buffer.allocUnsafeSlow(CHUNK_SIZE)
  readonly #syncs: SyncQueue
  #doneBytes = 0

  constructor(root: string, label: string, options: WriteTreeOptions) {
    this.#root = root
    this.#label = label
    this.#syncs = new SyncQueue(label)
    this.#options = options
  }

  async add(node: TreeNode, path: string): Promise<void> {
    throwIfAborted(this.#options.signal)
    switch (node.kind) {
      case 'file':
        return this.#addFile(node, path)
      case 'symlink':
        this.#guarded(path, (place) => {
          symlinkSync(Buffer.from(node.target), place)
          lutimesSync(place, node.mtimeSeconds, node.mtimeSeconds)
        })
        return
      case 'directory':
        this.#guarded(path, (place) => mkdirSync(place, OPEN_FOLDER_MODE))
        await this.#addEntries(node, path)
        this.#guarded(path, (place) => {
          chmodSync(place, node.mode)
          utimesSync(place, node.mtimeSeconds, node.mtimeSeconds)
          this.#syncs.addFolder(place)
        })
        return this.#syncs.room()
      default:
        throw new ImageError('UNSUPPORTED', `${this.#shown(path)}: a ${node.kind} cannot be written`, { path: this.#shown(path) })
    }
  }

  /** All is new here: a name that is there is that of another entry, to a file system that does not tell them apart. */
  async #addEntries(node: DirectoryNode, path: string): Promise<void> {
    const before: Uint8Array[] = []
    for (const entry of sortedEntries(node)) {
      const place = `${path}/${Buffer.from(entry.name).toString('latin1')}`
      try {
        await this.add(entry.node, place)
      } catch (error) {
        const twin = isThere(error, this.#shown(place)) && before.find((name) => folded(name) === folded(entry.name))
        if (!twin) throw error
        const names = `'${printable(twin)}' and '${printable(entry.name)}'`
        const what = `${this.#shown(path)}: ${names} are one name to this file system, which ignores case or how letters are encoded`
        throw new ImageError('WRITE_FAILED', `${what}; choose a folder on one that tells them apart`, {
          path: this.#shown(path),
          cause: error,
        })
      }
      before.push(entry.name)
    }
  }

  /** To be called once, after an error too. Throws WRITE_FAILED. */
  finish(): Promise<void> {
    return this.#syncs.finish()
  }

  async #addFile(node: FileNode, path: string): Promise<void> {
    const { content, size, mode, mtimeSeconds } = node
    const file = this.#guarded(path, (place) => openSync(place, NEW_FILE, OPEN_FILE_MODE))
    let isWhole = false
    try {
      if ((content.kind === 'hostFile' || content.kind === 'patched') && size <= SMALL_FILE_SIZE) {
        const bytes = this.#buffer.subarray(0, size)
        readHostFile(hostFileOf(content, size), bytes)
        this.#write(file, bytes, 0, path)
      } else {
        const extents = contentExtents(node, 0, this.#shown(path))
        checkImage({ size, extents })
        for (const extent of extents) {
          let position = extent.start
          for await (const chunk of extentChunks(extent, this.#options.signal, this.#buffer)) {
            this.#write(file, chunk, position, path)
            position += chunk.length
          }
        }
      }
      this.#guarded(path, () => {
        ftruncateSync(file, size)
        fchmodSync(file, mode)
        futimesSync(file, mtimeSeconds, mtimeSeconds)
      })
      isWhole = true
      this.#syncs.add(file)
    } finally {
      if (!isWhole) closeSync(file)
    }
    if (this.#syncs.isFull) await this.#syncs.room()
  }

  #write(file: number, bytes: Uint8Array, position: number, path: string): void {
    this.#guarded(path, () => {
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, position + done)
    })
    this.#doneBytes += bytes.length
    this.#options.onBytes?.(this.#doneBytes)
  }

  #guarded<T>(path: string, call: (place: Buffer) => T): T {
    try {
      return call(Buffer.from(path, 'latin1'))
    } catch (error) {
      throw writeError(this.#shown(path), error)
    }
  }

  /** As the user knows it. */
  #shown(path: string): string {
    return `${this.#label}${printable(Buffer.from(path.slice(this.#root.length), 'latin1'))}`
  }
}

/** Whether something was at `place` already. */
function isThere(error: unknown, place: string): boolean {
  return error instanceof ImageError && error.path === place && systemErrorCode(error.cause) === 'EEXIST'
}

/** As file systems of Macs and Windows compare names, near enough to find the one that is meant. */
function folded(name: Uint8Array): string {
  return Buffer.from(name).toString('utf8').normalize('NFC').toLowerCase()
}
