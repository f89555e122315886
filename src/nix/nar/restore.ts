/**
 * Unpacking a NAR: what Nix leaves in a store, files 0444 or 0555, folders 0555, all of time 1.
 *
 * Not supported: names and targets that the host's file system cannot hold (WRITE_FAILED); owners are those of the
 * process.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  futimesSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { printable } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { checkReplaceable, stage } from '../../io/staging.ts'
import { SyncQueue } from '../../io/sync-queue.ts'
import { writeError } from '../../io/write-error.ts'
import { type NarEvent, type ReadNarOptions, readNar } from './read.ts'

export interface RestoreOptions extends ReadNarOptions {
  /** Replace what is at the path, whatever it is. Default: that is EXISTS. */
  readonly force?: boolean
  /**
   * For file systems that ignore case, as Nix does it on macOS: of names in a folder that differ in the case of ASCII
   * letters only, all but the first get an ending `~nix~case~hack~N`. Default false.
   */
  readonly caseHack?: boolean
  readonly onProgress?: ProgressListener
}

/** Seconds since 1970 (`libstore/posix-fs-canonicalise.cc`). */
const STORE_TIME = 1

const FILE_MODE = 0o444
const EXECUTABLE_MODE = 0o555

/** Until they are full. */
const OPEN_FOLDER_MODE = 0o700
const OPEN_FILE_MODE = 0o600

/** A file is new, or there is an error: nothing that is there already is written to or followed. */
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

const CASE_HACK = '~nix~case~hack~'

/**
 * Unpack the NAR that `chunks` are to `path`, which appears whole or not at all. Throws BAD_INPUT, EXISTS, WRITE_FAILED,
 * ABORTED, and what the input throws.
 */
export async function restoreNar(chunks: AsyncIterable<Uint8Array>, path: string, options: RestoreOptions = {}): Promise<void> {
  checkReplaceable(path, options)
  await stage(path, options, async (place) => {
    const writer = new NodeWriter(Buffer.from(place).toString('latin1'), path, options)
    try {
      for await (const event of readNar(chunks, options)) {
        writer.add(event)
        if (writer.isAhead) await writer.room()
      }
    } catch (error) {
      await writer.finish().catch(() => undefined)
      throw error
    }
    await writer.finish()
    checkReplaceable(path, options)
  })
}

interface OpenFolder {
  readonly path: string
  /** With the case hack: how often a name came up, by the name in lower case. */
  readonly nameCounts: Map<string, number>
}

interface OpenFile {
  readonly descriptor: number
  readonly path: string
  readonly mode: number
  rest: number
}

/** Makes files, folders and links as they come. Paths are byte strings, one character a byte. */
class NodeWriter {
  readonly #root: string
  readonly #label: string
  readonly #options: RestoreOptions
  readonly #folders: OpenFolder[] = []
  readonly #syncs: SyncQueue
  #file: OpenFile | undefined
  #doneBytes = 0

  constructor(root: string, label: string, options: RestoreOptions) {
    this.#root = root
    this.#label = label
    this.#options = options
    this.#syncs = new SyncQueue(label)
    options.onProgress?.({ kind: 'stage', stage: 'write' })
  }

  add(event: NarEvent): void {
    switch (event.kind) {
      case 'directory': {
        const path = this.#pathOf(event.name)
        this.#guarded(path, () => mkdirSync(hostPath(path), OPEN_FOLDER_MODE))
        this.#folders.push({ path, nameCounts: new Map() })
        break
      }
      case 'file': {
        const path = this.#pathOf(event.name)
        const descriptor = this.#guarded(path, () => openSync(hostPath(path), NEW_FILE, OPEN_FILE_MODE))
        this.#file = { descriptor, path, mode: event.isExecutable ? EXECUTABLE_MODE : FILE_MODE, rest: event.size }
        this.#finishFile()
        break
      }
      case 'chunk':
        this.#write(event.bytes)
        break
      case 'symlink': {
        const path = this.#pathOf(event.name)
        this.#guarded(path, () => symlinkSync(Buffer.from(event.target), hostPath(path)))
        this.#guarded(path, () => lutimesSync(hostPath(path), STORE_TIME, STORE_TIME))
        break
      }
      case 'end': {
        const folder = this.#folders.pop()
        if (folder !== undefined) this.#finishFolder(folder.path)
      }
    }
  }

  /** Much is on its way to stable storage; `room` waits for some of it. */
  get isAhead(): boolean {
    return this.#syncs.isFull
  }

  /** Throws WRITE_FAILED. */
  room(): Promise<void> {
    return this.#syncs.room()
  }

  /** To be called once, after an error too, when a file may be open. Throws WRITE_FAILED. */
  finish(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    if (file !== undefined) closeSync(file.descriptor)
    return this.#syncs.finish()
  }

  #write(bytes: Uint8Array): void {
    const file = this.#file
    if (file === undefined) throw new RangeError('a chunk without a file')
    this.#guarded(file.path, () => {
      for (let done = 0; done < bytes.length; ) done += writeSync(file.descriptor, bytes, done)
    })
    file.rest -= bytes.length
    this.#doneBytes += bytes.length
    this.#options.onProgress?.({ kind: 'bytes', stage: 'write', doneBytes: this.#doneBytes })
    this.#finishFile()
  }

  #finishFile(): void {
    const file = this.#file
    if (file === undefined || file.rest > 0) return
    this.#guarded(file.path, () => {
      fchmodSync(file.descriptor, file.mode)
      futimesSync(file.descriptor, STORE_TIME, STORE_TIME)
    })
    this.#file = undefined
    this.#syncs.add(file.descriptor)
  }

  #finishFolder(path: string): void {
    this.#guarded(path, () => {
      chmodSync(hostPath(path), EXECUTABLE_MODE)
      utimesSync(hostPath(path), STORE_TIME, STORE_TIME)
      this.#syncs.addFolder(hostPath(path))
    })
  }

  /** Where the next node of the open folder goes. */
  #pathOf(name: Uint8Array): string {
    const folder = this.#folders.at(-1)
    if (folder === undefined) return this.#root
    const text = Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1')
    return `${folder.path}/${this.#options.caseHack ? this.#hackedName(text, folder) : text}`
  }

  #hackedName(name: string, { nameCounts, path }: OpenFolder): string {
    if (name.includes(CASE_HACK)) {
      const what = `${this.#options.name ?? 'NAR'}: ${this.#shown(path)} has an entry '${printable(Buffer.from(name, 'latin1'))}'`
      throw new ImageError('BAD_INPUT', `${what}, which the case hack would cut at ${CASE_HACK}; restore it without the case hack`, {
        path: this.#label,
      })
    }
    const key = name.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
    const count = nameCounts.get(key)
    nameCounts.set(key, count === undefined ? 0 : count + 1)
    return count === undefined ? name : `${name}${CASE_HACK}${count + 1}`
  }

  #guarded<T>(path: string, call: () => T): T {
    try {
      return call()
    } catch (error) {
      throw writeError(this.#shown(path), error)
    }
  }

  /** As the user knows it. */
  #shown(path: string): string {
    return `${this.#label}${printable(Buffer.from(path.slice(this.#root.length), 'latin1'))}`
  }
}

/** A byte string as the system calls take it: text where UTF-8 says the same, which Node handles fastest. */
function hostPath(path: string): string | Buffer {
  return /[\u0080-\u00ff]/.test(path) ? Buffer.from(path, 'latin1') : path
}
