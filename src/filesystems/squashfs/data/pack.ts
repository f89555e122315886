/**
 * The data stage: every file is read once, digests are checked, duplicates removed, and blocks compressed and written, by
 * a `Stage` of threads. This thread decides, and writes where the target is no file.
 */
import type { CodecSpec } from '../../../codecs/codec.ts'
import { planReads } from '../../../data/reads.ts'
import { SEGMENT_FIELDS, Segment, SegmentFlag } from '../../../data/segments.ts'
import type { ReadResult, SlotSetup } from '../../../data/slot-work.ts'
import { SlotWriter } from '../../../data/slot-writer.ts'
import { type Placeable, type Source, Stage, TASKS_PER_THREAD } from '../../../data/stage.ts'
import { planStreams } from '../../../data/streams.ts'
import type { BuildContext } from '../../../io/image.ts'
import type { Target } from '../../../io/target.ts'
import type { DirectoryNode, FileNode, TreeDigest } from '../../../tree/tree.ts'
import { DATA_UNCOMPRESSED } from '../disk.ts'
import type { StoredData } from '../stored.ts'
import { changedTwin, identityOf, sizeTwins } from './identity.ts'
import { type InodeNumbers, type Job, Placement, SLOTS_OF_A_JOB, type Twins } from './placement.ts'
import { type CompressResult, type CompressTask, INPUT_SLOT_SIZE, OUTPUT_SLOT_SIZE, type WorkSetup } from './protocol.ts'
import { work } from './work.ts'

export interface PackRequest {
  readonly root: DirectoryNode
  /** Every file of the tree once. */
  readonly files: readonly FileNode[]
  readonly inodes: InodeNumbers
  readonly digests: readonly TreeDigest[]
  readonly codec: CodecSpec
  readonly blockSize: number
  readonly fragments: boolean
}

/**
 * Slots that no read may take: one may be filled with fragments, and one has to be free whenever a part is
 * placed. With two, no slot is free only while a full fragment slot is being compressed, which frees it.
 */
const FRAGMENT_SLOTS = 2
/** Slots that are kept for the head stream, beside those that hold what waits in unfinished fragments. */
const HEAD_SLOTS = SLOTS_OF_A_JOB + 3
/** Jobs that one write takes at least, while others are under way: a message each would cost this thread more than writing. */
const JOBS_A_WRITE = 4

/**
 * Pack the files of a tree. `start` is where the image begins in `target`, `position` where the data
 * begins, from the image's start. Throws HASH_MISMATCH, CHANGED, UNREADABLE, WORKER_DIED, ABORTED, or
 * what the target throws.
 */
export async function packData(
  request: PackRequest,
  target: Target,
  start: number,
  position: number,
  context: BuildContext,
): Promise<StoredData> {
  const packer = new Packer(request, target, start, position, context)
  try {
    return await packer.run()
  } finally {
    await packer.close()
  }
}

class Packer {
  readonly #request: PackRequest
  readonly #target: Target
  readonly #context: BuildContext
  readonly #start: number
  #position: number
  readonly #stage: Stage<WorkSetup, Job, CompressTask, CompressResult>
  readonly #placement: Placement
  readonly #identify: ReturnType<typeof sizeTwins>
  #doneBytes = 0
  /** Of what is being placed: parts that are placed, and identities that belong to them. */
  #placed = { parts: 0, identities: 0 }

  constructor(request: PackRequest, target: Target, start: number, position: number, context: BuildContext) {
    this.#request = request
    this.#target = target
    this.#start = start
    this.#position = position
    this.#context = context
    const { blockSize, fragments, codec, inodes } = request
    this.#stage = new Stage(
      {
        work,
        setup: (slots: SlotSetup): WorkSetup => ({ ...slots, codec, blockSize }),
        sources: this.#sources(),
        place: (placeable) => this.#place(placeable),
        finish: () => this.#placement.finish(),
        task: ({ runs }, outputSlot) => ({ kind: 'job', runs, outputSlot }),
        kept: { always: FRAGMENT_SLOTS, forHead: HEAD_SLOTS },
        inputSlotSize: INPUT_SLOT_SIZE,
        outputSlotSize: OUTPUT_SLOT_SIZE,
        // Own threads work ahead of what is written; the caller's thread does one thing at a time.
        spareSlots: (jobs) => (jobs === 0 ? TASKS_PER_THREAD : 4 + 4 * jobs),
      },
      context,
    )
    this.#stage.start()
    // While the threads start.
    this.#identify = sizeTwins(request.files)
    const [emit, compare] = [(job: Job) => this.#stage.queue(job), (twins: Twins) => this.#compare(twins)]
    this.#placement = new Placement({ inodes, blockSize, fragments, emit, compare }, this.#stage.inputs)
  }

  async run(): Promise<StoredData> {
    const { lent } = this.#target
    if (lent === undefined) await this.#writeHere()
    else await this.#writeByThreads(new SlotWriter(this.#stage, lent))
    await this.#stage.settled()
    return { files: this.#placement.files, fragments: this.#placement.fragments, end: this.#position }
  }

  /** Afterwards nothing is written any more, and no file is open. */
  close(): Promise<void> {
    return this.#stage.close()
  }

  *#sources(): Generator<Source<never>, void> {
    const { root, digests, blockSize } = this.#request
    const plan = { roomSize: INPUT_SLOT_SIZE, blockSize: () => blockSize, identify: this.#identify }
    for (const stream of planStreams(root, digests)) yield { digest: stream.digest, reads: planReads(stream, plan) }
  }

  /** Place the parts of one read; false when it has to wait for a slot or for jobs to be done. */
  #place(placeable: Placeable<never>): boolean {
    if (!('read' in placeable)) return true
    const { read, result, slot } = placeable
    const { files, segments } = read
    const placed = this.#placed
    for (; placed.parts < files.length; placed.parts++) {
      if (!this.#placement.ready || this.#stage.isFull) return false
      const file = files[placed.parts] as FileNode
      const at = placed.parts * SEGMENT_FIELDS
      this.#placement.place(file, slot, segments, at, this.#identity(file, segments[at + Segment.flags] as number, result))
      this.#doneBytes += segments[at + Segment.length] as number
    }
    this.#placed = { parts: 0, identities: 0 }
    this.#placement.endSlot()
    this.#context.onProgress?.({ kind: 'bytes', stage: 'squashfs', doneBytes: this.#doneBytes })
    return true
  }

  /** Of a file with its first part, where one is wanted: SHA-256, one character a byte. */
  #identity(file: FileNode, flags: number, { identities }: ReadResult): string | undefined {
    if ((flags & SegmentFlag.identify) !== 0) {
      const at = 32 * this.#placed.identities++
      return Buffer.from(identities.buffer).toString('latin1', at, at + 32)
    }
    if ((flags & SegmentFlag.first) === 0 || file.content.kind !== 'bytes' || !this.#identify(file)) return undefined
    return identityOf(file.content.bytes)
  }

  #compare({ slot, comparison }: Twins): void {
    const { segments, text } = comparison.finish()
    this.#stage.send({ kind: 'compare', slot, segments, text }, [text.buffer], (result) => {
      if (result.kind !== 'compare') return
      this.#stage.inputs.release(slot)
      const pair = comparison.pairs[result.different]
      // Equal digests of bytes that were read, and other bytes now: it is no accident.
      if (pair !== undefined) this.#stage.fail(changedTwin(...pair))
    })
  }

  /** Finished jobs in order, as many as there are, are written by a thread; their places are known now. */
  async #writeByThreads(writer: SlotWriter): Promise<void> {
    const { outputs } = this.#stage
    let jobs = 0
    const flush = (): void => {
      writer.flush()
      jobs = 0
    }
    for (;;) {
      let done = this.#stage.ready()
      if (done === undefined) {
        if (jobs >= JOBS_A_WRITE || this.#stage.jobsUnderWay === 0 || outputs.freeCount <= 2) flush()
        done = await this.#stage.next()
      }
      if (done === undefined) break
      const { job, result, outputSlot } = done
      this.#record(job, result.words)
      if (result.length > 0) writer.add(this.#start + this.#position, outputSlot, 0, result.length)
      this.#position += result.length
      outputs.release(outputSlot)
      jobs++
    }
    flush()
  }

  /** Where this thread has to write: finished jobs in order, one call at a time. */
  async #writeHere(): Promise<void> {
    const { outputs } = this.#stage
    for (let done = await this.#stage.next(); done !== undefined; done = await this.#stage.next()) {
      const { words, length } = done.result
      this.#record(done.job, words)
      if (length > 0) await this.#target.write(this.#start + this.#position, outputs.view(done.outputSlot, 0, length))
      this.#position += length
      outputs.release(done.outputSlot)
    }
  }

  #record({ owners, lengths }: Job, words: Uint32Array): void {
    let at = this.#position
    for (const [index, owner] of owners.entries()) {
      const word = words[index] as number
      if (typeof owner === 'number') this.#placement.fragments[owner] = { start: at, sizeWord: word }
      else owner.addBlock(word, lengths[index] as number, at)
      at += word & (DATA_UNCOMPRESSED - 1)
    }
  }
}
