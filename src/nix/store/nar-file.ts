/**
 * Store paths whose NARs lie in files of the host. Their trees are read from the NAR's structure, and contents stay where they
 * are: each is a range of the file, which is opened once for all of them.
 */
import { statSync } from 'node:fs'
import { utf8 } from '../../bytes/text.ts'
import { HostReader, readError } from '../../tree/host-file.ts'
import type { TreeNode } from '../../tree/tree.ts'
import { type NarWindow, readNarFast } from '../nar/fast.ts'
import { badNar, narSteps } from '../nar/grammar.ts'
import { TreeBuilder } from '../nar/tree.ts'

/** A NAR that lies in a file of the host. */
export interface NarFile {
  /** No link: that is CHANGED when it is read. */
  readonly file: string
  /** Where it begins in it, bytes. */
  readonly start: number
  /** Bytes. */
  readonly size: number
}

/** By base name. */
export type NarFiles = ReadonlyMap<string, NarFile>

export interface NarFileTreeOptions {
  /** Of every node. Default 1, as Nix has it. */
  readonly mtimeSeconds?: number | undefined
}

/** Bytes that are read at a time between contents; a content that is larger is not looked at. */
const WINDOW_SIZE = 64 << 10

/**
 * The tree of the NAR, with the modes of a store. Contents of files are not looked at; whoever reads one has CHANGED where the
 * file has another size than now. Throws BAD_INPUT for anything that the format does not allow, as `readNar`, also for bytes behind its
 * end; CHANGED where there is no file, or one that is too small; UNREADABLE.
 */
export function narFileTree({ file, start, size }: NarFile, options: NarFileTreeOptions = {}): TreeNode {
  const path = utf8(file)
  const range = { start, fileSize: fileSize(file, path) }
  const reader = new HostReader({ path, size, range }, { isWatched: false })
  try {
    const newBuilder = (): TreeBuilder =>
      new TreeBuilder(({ contentOffset, size: contentSize }) => {
        if (contentSize === 0) return EMPTY
        return { kind: 'hostFile', path, range: { start: start + contentOffset, fileSize: range.fileSize } }
      }, options.mtimeSeconds)
    const fast = newBuilder()
    const window = new Window(reader, file, size)
    if (readNarFast(window, (event) => fast.add(event)) && window.position === size) return fast.root()
    return checkedTree(new Window(reader, file, size), file, size, newBuilder())
  } finally {
    reader.close()
  }
}

/** Throws, for what is wrong is found here. */
function checkedTree(window: Window, file: string, size: number, builder: TreeBuilder): TreeNode {
  const steps = narSteps(file)
  for (let step = steps.next(); !step.done; ) {
    const { value } = step
    if (typeof value === 'number') {
      step = steps.next(window.take(value))
      continue
    }
    builder.add(value)
    if (value.kind === 'file') window.skip(value.size)
    step = steps.next(NOTHING)
  }
  if (window.position !== size) throw badNar(file, window.position, [], 'bytes follow behind its end')
  return builder.root()
}

const NOTHING = Buffer.alloc(0)
const EMPTY = { kind: 'bytes', bytes: new Uint8Array(0) } as const

function fileSize(file: string, path: Uint8Array): number {
  try {
    return statSync(file).size
  } catch (error) {
    throw readError(path, error)
  }
}

/** Used by one tree after the other. */
const memory = Buffer.allocUnsafeSlow(WINDOW_SIZE)

/** Bytes of the NAR one after the other, with leaps. */
class Window implements NarWindow {
  readonly memory = memory
  readonly #reader: HostReader
  readonly #name: string
  readonly #size: number
  /** What of the memory is filled, and with the bytes from where on. */
  #filled = 0
  #start = 0
  /** Of the next byte. */
  position = 0

  constructor(reader: HostReader, name: string, size: number) {
    this.#reader = reader
    this.#name = name
    this.#size = size
  }

  have(count: number): number {
    const at = this.position - this.#start
    if (at + count <= this.#filled) return at
    if (count > this.#size - this.position) return -1
    this.#fill(count)
    return 0
  }

  leap(count: number): boolean {
    if (count > this.#size - this.position) return false
    this.position += count
    return true
  }

  /** Good until the next is taken. */
  take(count: number): Buffer {
    const at = this.position - this.#start
    if (at + count > this.#filled) {
      this.#fill(count)
      return this.take(count)
    }
    this.position += count
    return memory.subarray(at, at + count)
  }

  skip(count: number): void {
    if (count > this.#size - this.position) throw this.#cutShort()
    this.position += count
  }

  #fill(count: number): void {
    const left = this.#size - this.position
    if (count > left) throw this.#cutShort()
    this.#filled = Math.min(WINDOW_SIZE, left)
    this.#start = this.position
    this.#reader.read(memory.subarray(0, this.#filled), this.position)
  }

  #cutShort(): Error {
    return badNar(this.#name, this.#size, [], 'it ends here, too early; it is cut short')
  }
}
