/** The tree of a NAR whose contents stay where they are: any file can be read without unpacking the others. */
import { compareBytes } from '../../bytes/order.ts'
import { quote, utf8 } from '../../bytes/text.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import { bytesImage, type Extent, type Image } from '../../io/image.ts'
import type { RandomAccessSource } from '../../io/source.ts'
import type { Attributes, Content, Entry, TreeNode } from '../../tree/tree.ts'
import { badNar, type NarNodeEvent, narSteps } from './grammar.ts'
import type { ReadNarOptions } from './read.ts'

/** Bytes that are read at a time between contents. */
const WINDOW_SIZE = 64 << 10

/** Bytes of a content that are read at a time. */
const CHUNK_SIZE = 1 << 20

type FileEvent = NarNodeEvent & { readonly kind: 'file' }

/**
 * What is in the NAR that `source` is, without the contents of its files, which are not looked at. Throws what
 * `readNar` throws.
 */
export async function* readNarFile(
  source: RandomAccessSource,
  options: ReadNarOptions = {},
): AsyncGenerator<NarNodeEvent, void, undefined> {
  const { name = 'NAR', signal } = options
  const window = new Window(source, name)
  const steps = narSteps(name)
  for (let step = steps.next(); !step.done; ) {
    const { value } = step
    if (typeof value === 'number') {
      step = steps.next(window.takeNow(value) ?? (await window.take(value)))
      continue
    }
    throwIfAborted(signal)
    yield value
    if (value.kind === 'file') window.skip(value.size)
    step = steps.next(NOTHING)
  }
  if (window.position !== source.size) throw badNar(name, window.position, [], 'bytes follow behind its end')
}

/**
 * The tree of the NAR that `source` is, with the modes and times of a store. Contents of files are extents of `source`,
 * which has to stay open as long as they are read. Throws what `readNar` throws.
 */
export async function narTree(source: RandomAccessSource, options: ReadNarOptions = {}): Promise<TreeNode> {
  const builder = new TreeBuilder((event) => ({ kind: 'image', image: contentImage(source, event) }))
  for await (const event of readNarFile(source, options)) builder.add(event)
  return builder.root()
}

/**
 * The node at `path`, names between slashes; the whole tree for an empty one. Links are not followed. Throws NOT_FOUND;
 * `where` names the tree.
 */
export function treeMember(root: TreeNode, path: string, where: string): TreeNode {
  let node = root
  for (const name of path.split('/').filter((part) => part !== '')) {
    const bytes = utf8(name)
    const entry = node.kind === 'directory' ? node.entries.find((candidate) => compareBytes(candidate.name, bytes) === 0) : undefined
    if (entry === undefined) throw new ImageError('NOT_FOUND', `${where}: there is no ${quote(path)} in it`, { path: where })
    node = entry.node
  }
  return node
}

/** A tree in the making, with modes and times as Nix leaves them in a store (`libstore/posix-fs-canonicalise.cc`). */
export class TreeBuilder {
  readonly #contentOf: (event: FileEvent) => Content
  readonly #attributes: Readonly<Record<'file' | 'executable' | 'symlink', Attributes>>
  /** Entries of the open directories; the first list has the root alone. */
  readonly #open: Entry[][] = [[]]

  /** `mtimeSeconds` is that of every node. Default 1, as Nix has it. */
  constructor(contentOf: (event: FileEvent) => Content, mtimeSeconds = 1) {
    this.#contentOf = contentOf
    const owned = { uid: 0, gid: 0, mtimeSeconds }
    this.#attributes = { file: { ...owned, mode: 0o444 }, executable: { ...owned, mode: 0o555 }, symlink: { ...owned, mode: 0o777 } }
  }

  add(event: NarNodeEvent): void {
    const into = this.#open.at(-1)
    switch (event.kind) {
      case 'directory': {
        const entries: Entry[] = []
        into?.push({ name: event.name, node: { kind: 'directory', ...this.#attributes.executable, entries } })
        this.#open.push(entries)
        break
      }
      case 'file': {
        const attributes = event.isExecutable ? this.#attributes.executable : this.#attributes.file
        into?.push({ name: event.name, node: { kind: 'file', ...attributes, size: event.size, content: this.#contentOf(event) } })
        break
      }
      case 'symlink':
        into?.push({ name: event.name, node: { kind: 'symlink', ...this.#attributes.symlink, target: event.target } })
        break
      case 'end':
        this.#open.pop()
    }
  }

  root(): TreeNode {
    const node = this.#open[0]?.[0]?.node
    if (node === undefined) throw new RangeError('the NAR has no root')
    return node
  }
}

function contentImage(source: RandomAccessSource, { contentOffset, size }: FileEvent): Image {
  if (size === 0) return bytesImage(NOTHING)
  async function* readRange(start: number, length: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < length; at += CHUNK_SIZE) yield await source.read(contentOffset + start + at, Math.min(CHUNK_SIZE, length - at))
  }
  const extent: Extent = { start: 0, length: size, read: () => readRange(0, size), readRange }
  return { size, extents: [extent] }
}

const NOTHING = Buffer.alloc(0)

/** Bytes of a source one after the other, with leaps. */
class Window {
  readonly #source: RandomAccessSource
  readonly #name: string
  #bytes: Buffer = NOTHING
  #start = 0
  /** Of the next byte. */
  position = 0

  constructor(source: RandomAccessSource, name: string) {
    this.#source = source
    this.#name = name
  }

  takeNow(count: number): Buffer | undefined {
    const at = this.position - this.#start
    if (at + count > this.#bytes.length) return undefined
    this.position += count
    return this.#bytes.subarray(at, at + count)
  }

  async take(count: number): Promise<Buffer> {
    const left = this.#source.size - this.position
    if (count > left) throw this.#cutShort()
    const bytes = await this.#source.read(this.position, Math.min(WINDOW_SIZE, left))
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#start = this.position
    return this.takeNow(count) as Buffer
  }

  skip(count: number): void {
    if (count > this.#source.size - this.position) throw this.#cutShort()
    this.position += count
  }

  #cutShort(): Error {
    return badNar(this.#name, this.#source.size, [], 'it ends here, too early; it is cut short')
  }
}
