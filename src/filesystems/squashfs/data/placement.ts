/**
 * Where contents go: duplicates nowhere, small files into fragments, the rest into blocks. Parts come in
 * the order of the tree, so every decision is the same whatever the workers do.
 */
import type { FileNode } from '../../../tree/tree.ts'
import { NO_INDEX } from '../disk.ts'
import type { StoredFile, StoredFragment } from '../stored.ts'
import { changedTwin, identityOf, Rereader } from './identity.ts'
import { OUTPUT_SLOT_SIZE, type Piece } from './protocol.ts'
import type { Slots } from './slots.ts'
import type { Part } from './streams.ts'

const NO_BLOCKS = new Uint32Array(0)

/** Blocks of one input slot that are compressed together and written after each other; a job holds a reference to the slot. */
export interface Job {
  readonly blocks: readonly Piece[]
  /** The file they belong to; undefined for fragments. */
  readonly file: FileInBlocks | undefined
  /** Index of the first fragment, when they are fragments. */
  readonly firstFragment: number
}

/** A file in blocks, which are added as they are written. */
export class FileInBlocks implements StoredFile {
  blocksStart = 0
  sparseBytes = 0
  readonly blockWords: Uint32Array
  #written = 0

  constructor(blockCount: number) {
    this.blockWords = blockCount === 0 ? NO_BLOCKS : new Uint32Array(blockCount)
  }

  get fragmentIndex(): number {
    return NO_INDEX
  }

  get fragmentOffset(): number {
    return 0
  }

  addBlock(word: number, length: number, start: number): void {
    if (this.#written === 0) this.blocksStart = start
    this.blockWords[this.#written++] = word
    if (word === 0) this.sparseBytes += length
  }
}

/** A file in a fragment. Most files are; so these hold no more than they have to. */
class FileInFragment implements StoredFile {
  readonly fragmentIndex: number
  readonly fragmentOffset: number

  constructor(fragmentIndex: number, fragmentOffset: number) {
    this.fragmentIndex = fragmentIndex
    this.fragmentOffset = fragmentOffset
  }

  get blocksStart(): number {
    return 0
  }

  get sparseBytes(): number {
    return 0
  }

  get blockWords(): Uint32Array {
    return NO_BLOCKS
  }
}

type Fate =
  | { readonly kind: 'blocks'; readonly stored: FileInBlocks }
  | { readonly kind: 'fragment' | 'skip' }
  | { readonly kind: 'compare'; readonly reader: Rereader; readonly twin: FileNode }

const SKIP: Fate = { kind: 'skip' }
const FRAGMENT: Fate = { kind: 'fragment' }

export interface PlacementOptions {
  readonly blockSize: number
  readonly fragments: boolean
  readonly identify: (file: FileNode) => boolean
}

export class Placement {
  readonly files = new Map<FileNode, StoredFile>()
  readonly fragments: StoredFragment[] = []
  readonly #options: PlacementOptions
  /** Fragments are put together in input slots too, so that workers find all blocks in one place. */
  readonly #slots: Slots
  readonly #emit: (job: Job) => void
  /** By identity, one character a byte: the first file that has it. */
  readonly #originals = new Map<string, FileNode>()
  /** What becomes of the file whose parts are coming. */
  #fate: Fate = SKIP
  #fragmentSlot: number | undefined
  #fragmentBlocks: Piece[] = []
  #fragmentStart = 0
  #fragmentLength = 0
  #fragmentCount = 0

  constructor(options: PlacementOptions, slots: Slots, emit: (job: Job) => void) {
    this.#options = options
    this.#slots = slots
    this.#emit = emit
  }

  /** Whether `place` may be called: it needs at most one slot. */
  get ready(): boolean {
    return this.#slots.freeCount > 0
  }

  /** Place a part that lies in input slot `slot`. */
  place(part: Part, slot: number, identity: Uint8Array | undefined): void {
    const content = this.#slots.view(slot, part.slotOffset, part.length)
    if (part.first) this.#begin(part, content, identity)
    const fate = this.#fate
    switch (fate.kind) {
      case 'blocks':
        this.#addBlocks(part, slot, fate.stored)
        return
      case 'fragment':
        this.#addToFragment(part.file, content)
        return
      case 'compare':
        if (!fate.reader.matches(part.fileOffset, content)) throw changedTwin(part.file, fate.twin)
        if (part.last) this.close()
        return
      case 'skip':
    }
  }

  /** Close the file that a duplicate is compared with, if there is one. */
  close(): void {
    if (this.#fate.kind === 'compare') this.#fate.reader.close()
    this.#fate = SKIP
  }

  /** No part comes any more: hand out the last fragments. */
  finish(): void {
    this.#endFragment()
    this.#emitFragments()
  }

  fragmentWritten(index: number, fragment: StoredFragment): void {
    this.fragments[index] = fragment
  }

  #begin(part: Part, content: Uint8Array, given: Uint8Array | undefined): void {
    const { file } = part
    if (this.files.has(file)) {
      this.#fate = SKIP
      return
    }
    const identity = given ?? (file.content.kind === 'bytes' && this.#options.identify(file) ? identityOf(file.content.bytes) : undefined)
    if (identity) {
      const key = Buffer.from(identity).toString('latin1')
      const original = this.#originals.get(key)
      if (original === undefined) this.#originals.set(key, file)
      else if (this.#sameStart(part, content, original)) return
    }
    if (this.#options.fragments && file.size > 0 && file.size < this.#options.blockSize) {
      this.#fate = FRAGMENT
      return
    }
    const stored = new FileInBlocks(Math.ceil(file.size / this.#options.blockSize))
    this.files.set(file, stored)
    this.#fate = { kind: 'blocks', stored }
  }

  /** Whether there is `original` to share the place of; if so their bytes are compared. Throws CHANGED. */
  #sameStart(part: Part, content: Uint8Array, original: FileNode): boolean {
    const stored = this.files.get(original)
    const reader = openAgain(original)
    if (!reader || !stored) return false
    this.#fate = { kind: 'compare', reader, twin: original }
    // Equal digests of bytes that were read, and other bytes now: it is no accident.
    if (!reader.matches(0, content)) throw changedTwin(part.file, original)
    this.files.set(part.file, stored)
    return true
  }

  #addBlocks(part: Part, slot: number, stored: FileInBlocks): void {
    const { blockSize } = this.#options
    for (let start = 0; start < part.length; start += OUTPUT_SLOT_SIZE) {
      const end = Math.min(part.length, start + OUTPUT_SLOT_SIZE)
      const blocks: Piece[] = []
      for (let at = start; at < end; at += blockSize) {
        blocks.push({ slot, offset: part.slotOffset + at, length: Math.min(blockSize, end - at) })
      }
      this.#slots.hold(slot)
      this.#emit({ blocks, file: stored, firstFragment: 0 })
    }
  }

  #addToFragment(file: FileNode, content: Uint8Array): void {
    if (this.#fragmentLength + content.length > this.#options.blockSize) this.#endFragment()
    if (this.#fragmentSlot === undefined) this.#fragmentSlot = this.#slots.take()
    this.#slots.view(this.#fragmentSlot, this.#fragmentStart + this.#fragmentLength, content.length).set(content)
    this.files.set(file, new FileInFragment(this.#fragmentCount, this.#fragmentLength))
    this.#fragmentLength += content.length
  }

  #endFragment(): void {
    if (this.#fragmentSlot === undefined || this.#fragmentLength === 0) return
    this.#fragmentBlocks.push({ slot: this.#fragmentSlot, offset: this.#fragmentStart, length: this.#fragmentLength })
    this.#fragmentCount++
    this.#fragmentStart += this.#fragmentLength
    this.#fragmentLength = 0
    if (this.#fragmentStart + this.#options.blockSize > OUTPUT_SLOT_SIZE) this.#emitFragments()
  }

  #emitFragments(): void {
    if (this.#fragmentBlocks.length === 0) return
    this.#emit({ blocks: this.#fragmentBlocks, file: undefined, firstFragment: this.#fragmentCount - this.#fragmentBlocks.length })
    this.#fragmentSlot = undefined
    this.#fragmentBlocks = []
    this.#fragmentStart = 0
  }
}

/** The original again; one that cannot be opened any more makes no duplicate. */
function openAgain(file: FileNode): Rereader | undefined {
  try {
    return new Rereader(file)
  } catch {
    return undefined
  }
}
