/**
 * Where contents go: duplicates nowhere, small files into fragments, the rest into blocks. Parts come in
 * the order of the tree, so every decision is the same whatever the workers do.
 */
import { Segment, SegmentFlag } from '../../../data/segments.ts'
import type { Slots } from '../../../data/slots.ts'
import type { FileNode } from '../../../tree/tree.ts'
import { NO_INDEX } from '../disk.ts'
import type { StoredFile, StoredFragment } from '../stored.ts'
import { Comparison } from './comparison.ts'
import { OUTPUT_SLOT_SIZE, RUN_FIELDS, Run, RunFlag } from './protocol.ts'

const NO_BLOCKS = new Uint32Array(0)

/** Input slots that fragments in the making may hold. */
export const SLOTS_OF_A_JOB = 4

/** Blocks that are compressed together and written after each other. */
export interface Job {
  /** As `CompressTask` has them. */
  readonly runs: Int32Array<ArrayBuffer>
  /** Of each block: the file that it belongs to, or the index of the fragment that it is. */
  readonly owners: readonly (FileInBlocks | number)[]
  /** Of each block. */
  readonly lengths: readonly number[]
  /** Input slots to which the job holds a reference. */
  readonly slots: readonly number[]
}

/** Parts whose twins are to be compared with what lies in `slot`; holds a reference to the slot. */
export interface Twins {
  readonly slot: number
  readonly comparison: Comparison
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

/** Where files lie. There may be millions: of each there is a number, and an object only where it has blocks. */
class StoredFiles {
  readonly #inodes: InodeNumbers
  readonly #blockSize: number
  /**
   * By inode number less one: of a file in a fragment one more than its place, fragments counted as if each were a whole block;
   * of one in blocks less than 0, its place in `#inBlocks` counted from -1; 0 where nothing is known yet.
   */
  readonly #places: Float64Array
  readonly #inBlocks: FileInBlocks[] = []

  constructor(inodes: InodeNumbers, blockSize: number) {
    this.#inodes = inodes
    this.#blockSize = blockSize
    this.#places = new Float64Array(inodes.length)
  }

  has(file: FileNode): boolean {
    return this.#places[this.#index(file)] !== 0
  }

  get(file: FileNode): StoredFile | undefined {
    const known = this.#places[this.#index(file)] as number
    if (known <= 0) return known === 0 ? undefined : this.#inBlocks[-known - 1]
    const place = known - 1
    const fragmentOffset = place % this.#blockSize
    const fragmentIndex = (place - fragmentOffset) / this.#blockSize
    return { blocksStart: 0, blockWords: NO_BLOCKS, fragmentIndex, fragmentOffset, sparseBytes: 0 }
  }

  addInBlocks(file: FileNode, stored: FileInBlocks): void {
    this.#places[this.#index(file)] = -this.#inBlocks.push(stored)
  }

  addInFragment(file: FileNode, fragmentIndex: number, fragmentOffset: number): void {
    this.#places[this.#index(file)] = fragmentIndex * this.#blockSize + fragmentOffset + 1
  }

  /** `file` lies where `original` lies, which is known. */
  addTwin(file: FileNode, original: FileNode): void {
    this.#places[this.#index(file)] = this.#places[this.#index(original)] as number
  }

  #index(file: FileNode): number {
    const number = this.#inodes.numberOf(file)
    if (number === 0) throw new RangeError('squashfs: a file that is read has no inode')
    return number - 1
  }
}

/** What becomes of a file: its blocks, a place in a fragment, nothing, or a comparison with the file that has its identity. */
type Fate = FileInBlocks | 'fragment' | 'skip' | { readonly twin: FileNode }

/** The inodes of a plan are it. */
export interface InodeNumbers {
  readonly length: number
  numberOf(file: FileNode): number
}

export interface PlacementOptions {
  readonly inodes: InodeNumbers
  readonly blockSize: number
  readonly fragments: boolean
  readonly emit: (job: Job) => void
  readonly compare: (twins: Twins) => void
}

export class Placement {
  readonly files: StoredFiles
  readonly fragments: StoredFragment[] = []
  readonly #options: PlacementOptions
  readonly #slots: Slots
  /** By identity, one character a byte: the first file that has it. */
  readonly #originals = new Map<string, FileNode>()
  /** The slot from which parts come. */
  #slot = 0
  /** Of the file whose parts are coming. */
  #fate: Fate = 'skip'
  readonly #blocks: JobDraft
  /** Fragments that are whole, and the one that is being filled. */
  readonly #fragments: JobDraft
  #fragmentLength = 0
  #fragmentCount = 0
  #comparison: Comparison | undefined

  constructor(options: PlacementOptions, slots: Slots) {
    this.#options = options
    this.files = new StoredFiles(options.inodes, options.blockSize)
    this.#slots = slots
    this.#blocks = new JobDraft(slots)
    this.#fragments = new JobDraft(slots)
  }

  /** Whether `place` may be called: it needs at most one slot. */
  get ready(): boolean {
    return this.#slots.freeCount > 0
  }

  /**
   * Place the part of `file` that lies in input slot `slot`; `segments` describes it from `at` on. `identity` is that of the
   * file, one character a byte, with its first part and where one was asked for.
   */
  place(file: FileNode, slot: number, segments: Float64Array, at: number, identity: string | undefined): void {
    this.#slot = slot
    const length = segments[at + Segment.length] as number
    const offset = segments[at + Segment.place] as number
    if (((segments[at + Segment.flags] as number) & SegmentFlag.first) !== 0) this.#fate = this.#begin(file, identity)
    const fate = this.#fate
    if (fate === 'fragment') this.#addToFragment(file, offset, length)
    else if (fate instanceof FileInBlocks) this.#addBlocks(fate, offset, length)
    else if (fate !== 'skip') {
      this.#comparison ??= new Comparison()
      this.#comparison.add(file, fate.twin, segments[at + Segment.fileOffset] as number, length, offset)
    }
  }

  /** No part comes any more of the slot from which the last ones came: hand out what belongs to it. */
  endSlot(): void {
    this.#emitBlocks()
    if (this.#comparison === undefined) return
    this.#slots.hold(this.#slot)
    this.#options.compare({ slot: this.#slot, comparison: this.#comparison })
    this.#comparison = undefined
  }

  /** No part comes any more: hand out the last fragments. */
  finish(): void {
    this.#endFragment()
    this.#emitFragments()
  }

  #begin(file: FileNode, identity: string | undefined): Fate {
    if (this.files.has(file)) return 'skip'
    if (identity !== undefined) {
      const original = this.#originals.get(identity)
      if (original === undefined) this.#originals.set(identity, file)
      else if (this.files.has(original)) {
        this.files.addTwin(file, original)
        return { twin: original }
      }
    }
    if (this.#options.fragments && file.size > 0 && file.size < this.#options.blockSize) return 'fragment'
    const stored = new FileInBlocks(Math.ceil(file.size / this.#options.blockSize))
    this.files.addInBlocks(file, stored)
    return stored
  }

  #addBlocks(stored: FileInBlocks, offset: number, length: number): void {
    const { blockSize } = this.#options
    for (let start = 0; start < length; start += blockSize) {
      const size = Math.min(blockSize, length - start)
      if (this.#blocks.length + size > OUTPUT_SLOT_SIZE) this.#emitBlocks()
      this.#blocks.addRun(this.#slot, offset + start, size)
      this.#blocks.endBlock(stored)
    }
  }

  #emitBlocks(): void {
    if (this.#blocks.length > 0) this.#options.emit(this.#blocks.take())
  }

  #addToFragment(file: FileNode, offset: number, length: number): void {
    if (this.#fragmentLength + length > this.#options.blockSize) this.#endFragment()
    this.#fragments.addRun(this.#slot, offset, length)
    this.files.addInFragment(file, this.#fragmentCount, this.#fragmentLength)
    this.#fragmentLength += length
  }

  #endFragment(): void {
    if (this.#fragmentLength === 0) return
    this.#fragments.endBlock(this.#fragmentCount++)
    this.#fragmentLength = 0
    if (this.#fragments.length + this.#options.blockSize > OUTPUT_SLOT_SIZE) this.#emitFragments()
  }

  #emitFragments(): void {
    if (this.#fragments.length === 0) return
    // In the order in which they were placed.
    this.#emitBlocks()
    this.#options.emit(this.#fragments.take())
  }
}

/** The blocks of one job in the making. Their bytes stay in the slots where they lie, as long as those are few. */
class JobDraft {
  /** Bytes of all runs. */
  length = 0
  readonly #pool: Slots
  #runs: number[] = []
  #owners: (FileInBlocks | number)[] = []
  #lengths: number[] = []
  #slots: number[] = []
  /** Of the block that is being made. */
  #blockLength = 0
  /** Runs of the blocks that are whole end here. */
  #wholeRuns = 0
  /** A slot to which runs were moved, and bytes of it that are used. */
  #own: number | undefined
  #ownLength = 0

  constructor(pool: Slots) {
    this.#pool = pool
  }

  addRun(slot: number, offset: number, length: number): void {
    if (this.#slots.at(-1) !== slot) {
      if (this.#slots.length === SLOTS_OF_A_JOB) this.#moveTogether()
      this.#pool.hold(slot)
      this.#slots.push(slot)
    }
    const last = this.#runs.length - RUN_FIELDS
    const isNext = last >= this.#wholeRuns && this.#runs[last + Run.slot] === slot
    if (isNext && (this.#runs[last + Run.offset] as number) + (this.#runs[last + Run.length] as number) === offset) {
      ;(this.#runs[last + Run.length] as number) += length
    } else this.#runs.push(slot, offset, length, RunFlag.more)
    this.length += length
    this.#blockLength += length
  }

  endBlock(owner: FileInBlocks | number): void {
    this.#runs[this.#runs.length - 1] = typeof owner === 'number' ? RunFlag.last : RunFlag.lastSparse
    this.#owners.push(owner)
    this.#lengths.push(this.#blockLength)
    this.#wholeRuns = this.#runs.length
    this.#blockLength = 0
  }

  /** The job; the next one begins empty. */
  take(): Job {
    const job = { runs: new Int32Array(this.#runs), owners: this.#owners, lengths: this.#lengths, slots: this.#slots }
    this.#runs = []
    this.#owners = []
    this.#lengths = []
    this.#slots = []
    this.#wholeRuns = 0
    this.#own = undefined
    this.#ownLength = 0
    this.length = 0
    return job
  }

  /** A few small files among large ones would hold many slots: they get one of their own. */
  #moveTogether(): void {
    this.#own ??= this.#pool.take()
    for (let run = 0; run < this.#runs.length; run += RUN_FIELDS) {
      const slot = this.#runs[run + Run.slot] as number
      if (slot === this.#own) continue
      const length = this.#runs[run + Run.length] as number
      this.#pool.copy(slot, this.#runs[run + Run.offset] as number, length, this.#own, this.#ownLength)
      this.#runs[run + Run.slot] = this.#own
      this.#runs[run + Run.offset] = this.#ownLength
      this.#ownLength += length
    }
    for (const slot of this.#slots) if (slot !== this.#own) this.#pool.release(slot)
    this.#slots = [this.#own]
  }
}
