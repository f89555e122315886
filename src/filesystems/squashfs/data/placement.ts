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
  readonly file: FileInProgress | undefined
  /** Index of the first fragment, when they are fragments. */
  readonly firstFragment: number
}

/** What is known of a file while its blocks are being written. */
export class FileInProgress implements StoredFile {
  blocksStart = 0
  sparseBytes = 0
  fragmentIndex = NO_INDEX
  fragmentOffset = 0
  readonly blockWords: Uint32Array
  #written = 0

  constructor(blockCount: number) {
    this.blockWords = blockCount === 0 ? NO_BLOCKS : new Uint32Array(blockCount)
  }

  addBlock(word: number, length: number, start: number): void {
    if (this.#written === 0) this.blocksStart = start
    this.blockWords[this.#written++] = word
    if (word === 0) this.sparseBytes += length
  }
}

interface Original {
  readonly file: FileNode
  readonly stored: FileInProgress
}

export interface PlacementOptions {
  readonly blockSize: number
  readonly fragments: boolean
  readonly identify: (file: FileNode) => boolean
}

export class Placement {
  readonly files = new Map<FileNode, FileInProgress>()
  readonly fragments: StoredFragment[] = []
  readonly #options: PlacementOptions
  /** Fragments are put together in input slots too, so that workers find all blocks in one place. */
  readonly #slots: Slots
  readonly #emit: (job: Job) => void
  readonly #originals = new Map<string, Original>()
  /** The file whose parts are coming, and what becomes of them. */
  #current: { fate: 'store'; stored: FileInProgress } | { fate: 'skip' } | { fate: 'compare'; reader: Rereader; twin: FileNode } = {
    fate: 'skip',
  }
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
    const current = this.#current
    if (current.fate === 'store') this.#store(part, slot, content, current.stored)
    else if (current.fate === 'compare') {
      if (!current.reader.matches(part.fileOffset, content)) throw changedTwin(part.file, current.twin)
      if (part.last) this.close()
    }
  }

  /** Close the file that a duplicate is compared with, if there is one. */
  close(): void {
    if (this.#current.fate === 'compare') this.#current.reader.close()
    this.#current = { fate: 'skip' }
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
      this.#current = { fate: 'skip' }
      return
    }
    const identity = given ?? (file.content.kind === 'bytes' && this.#options.identify(file) ? identityOf(file.content.bytes) : undefined)
    const key = identity ? `${file.size} ${Buffer.from(identity).toString('latin1')}` : undefined
    const original = key === undefined ? undefined : this.#originals.get(key)
    if (original && this.#sameStart(part, content, original)) return
    const stored = new FileInProgress(this.#isTail(file) ? 0 : Math.ceil(file.size / this.#options.blockSize))
    this.files.set(file, stored)
    if (key !== undefined && !original) this.#originals.set(key, { file, stored })
    this.#current = { fate: 'store', stored }
  }

  /** Whether the first part equals that of `original`; if so the file shares its blocks. */
  #sameStart(part: Part, content: Uint8Array, original: Original): boolean {
    const reader = openAgain(original.file)
    if (!reader) return false
    this.#current = { fate: 'compare', reader, twin: original.file }
    if (!reader.matches(0, content)) {
      this.close()
      return false
    }
    this.files.set(part.file, original.stored)
    return true
  }

  #isTail(file: FileNode): boolean {
    return this.#options.fragments && file.size > 0 && file.size < this.#options.blockSize
  }

  #store(part: Part, slot: number, content: Uint8Array, stored: FileInProgress): void {
    if (part.length === 0) return
    if (this.#isTail(part.file)) {
      this.#addTail(content, stored)
      return
    }
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

  #addTail(content: Uint8Array, stored: FileInProgress): void {
    if (this.#fragmentLength + content.length > this.#options.blockSize) this.#endFragment()
    if (this.#fragmentSlot === undefined) this.#fragmentSlot = this.#slots.take()
    this.#slots.view(this.#fragmentSlot, this.#fragmentStart + this.#fragmentLength, content.length).set(content)
    stored.fragmentIndex = this.#fragmentCount
    stored.fragmentOffset = this.#fragmentLength
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
