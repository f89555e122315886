/**
 * The data stage: reads every file once, checks digests, removes duplicates, compresses and writes.
 *
 * Workers read, hash, compare, compress and write; this thread decides, and writes where the target is no file.
 * Streams are read ahead of need, but their parts are placed in the order of the tree, and blocks in the order of
 * their files, so the image does not depend on the number or speed of the workers. Contents are bounded by two
 * pools of slots. A head that always may take the last slots keeps the pools from locking up.
 */
import type { CodecSpec } from '../../../codecs/codec.ts'
import { type PlannedRead, planReads } from '../../../data/reads.ts'
import { SEGMENT_FIELDS, Segment, SegmentFlag } from '../../../data/segments.ts'
import { returnMemory, Slots, takeMemory } from '../../../data/slots.ts'
import { planStreams, type Stream } from '../../../data/streams.ts'
import type { BuildContext } from '../../../io/image.ts'
import type { LentTarget, Target } from '../../../io/target.ts'
import { Pool } from '../../../threads/pool.ts'
import type { DirectoryNode, FileNode, TreeDigest } from '../../../tree/tree.ts'
import { checkDigest } from '../../../tree/verified.ts'
import { DATA_UNCOMPRESSED } from '../disk.ts'
import type { StoredData } from '../stored.ts'
import { changedTwin, identityOf, sizeTwins } from './identity.ts'
import { type Job, Placement, SLOTS_OF_A_JOB, type Twins } from './placement.ts'
import {
  type CompressResult,
  INPUT_SLOT_SIZE,
  OUTPUT_SLOT_SIZE,
  type ReadResult,
  type Result,
  type Task,
  type WorkSetup,
} from './protocol.ts'
import { work } from './work.ts'

export interface PackRequest {
  readonly root: DirectoryNode
  /** Every file of the tree once. */
  readonly files: readonly FileNode[]
  readonly digests: readonly TreeDigest[]
  readonly codec: CodecSpec
  readonly blockSize: number
  readonly fragments: boolean
}

/** Streams that are read ahead of the head, a worker. */
const STREAMS_AHEAD = 2
/** Tasks a worker has in hand, so that it need not wait for this thread. */
const TASKS_PER_WORKER = 2
/**
 * Slots that no read may take: one may be filled with fragments, and one has to be free whenever a part is
 * placed. With two, no slot is free only while a full fragment slot is being compressed, which frees it.
 */
const FRAGMENT_SLOTS = 2
/** Jobs that one write takes at least, while others are under way. */
const JOBS_A_WRITE = 4
/** Slots that are kept for the head stream, beside those that hold what waits in unfinished fragments. */
const HEAD_SLOTS = SLOTS_OF_A_JOB + 3

/** What is known of a stream that is being read. */
interface OpenStream {
  readonly index: number
  readonly stream: Stream
  readonly reads: Iterator<PlannedRead, void>
  next: PlannedRead | undefined
  /** The worker that hashes it. */
  worker: number | undefined
  /** Reads that were sent, in order; placed from the front. */
  readonly sent: SentRead[]
}

interface SentRead {
  readonly read: PlannedRead
  readonly slot: number
  result: ReadResult | undefined
  placedParts: number
  /** Of the identities in the result, those that belong to parts that are placed. */
  placedIdentities: number
}

interface SentJob {
  readonly job: Job
  outputSlot: number | undefined
  result: CompressResult | undefined
}

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
  readonly #inputs: Slots
  readonly #outputs: Slots
  readonly #placement: Placement
  readonly #pool: Pool<WorkSetup, Task, Result>
  readonly #identify: ReturnType<typeof sizeTwins>
  readonly #streams: Iterator<Stream, void>
  #streamCount = 0
  #streamsLeft = true
  readonly #open: OpenStream[] = []
  /** Jobs in the order of the image; the first is the next to be written. */
  readonly #jobs: SentJob[] = []
  /** Jobs that no worker has got yet; a suffix of `#jobs`. */
  readonly #waiting: SentJob[] = []
  /** Comparisons under way. */
  #comparing = 0
  #doneBytes = 0
  #finished = false
  /** Writes of workers under way. */
  #writes = 0
  /** The loop of this thread that writes, while it runs. */
  #writing: Promise<void> | undefined
  #error: unknown
  #closed = false
  #wake: (() => void) | undefined

  constructor(request: PackRequest, target: Target, start: number, position: number, context: BuildContext) {
    this.#request = request
    this.#target = target
    this.#start = start
    this.#position = position
    this.#context = context
    const { jobs, threads = 'workers', signal } = context
    // Own threads work ahead of what is written; the caller's thread does one thing at a time.
    const spare = threads === 'workers' ? 4 + 4 * jobs : TASKS_PER_WORKER
    const slots = (count: number, size: number): Slots => new Slots(count, size, threads === 'none' ? takeMemory(count * size) : undefined)
    this.#inputs = slots(FRAGMENT_SLOTS + HEAD_SLOTS + spare, INPUT_SLOT_SIZE)
    this.#outputs = slots(spare, OUTPUT_SLOT_SIZE)
    const { blockSize, fragments, codec } = request
    const setup = { codec, blockSize, inputSlots: this.#inputs.memory, outputSlots: this.#outputs.memory }
    this.#pool = new Pool(work, setup, { count: jobs, threads, signal, onFailure: (error) => this.#fail(error) })
    this.#pool.start()
    // While the threads start.
    this.#identify = sizeTwins(request.files)
    const [emit, compare] = [this.#queue.bind(this), this.#compare.bind(this)]
    this.#placement = new Placement({ blockSize, fragments, emit, compare }, this.#inputs)
    this.#streams = planStreams(request.root, request.digests)
  }

  async run(): Promise<StoredData> {
    while (!this.#step()) await new Promise<void>((resolve) => (this.#wake = resolve))
    return { files: this.#placement.files, fragments: this.#placement.fragments, end: this.#position }
  }

  /** Afterwards nothing is written any more, and no file is open. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#pool.close()
    await this.#writing
    if (this.#context.threads === 'none') for (const { memory } of [this.#inputs, this.#outputs]) returnMemory(memory)
  }

  /** Do all that can be done now; true when everything is written. */
  #step(): boolean {
    if (this.#error !== undefined) throw this.#error
    this.#openStreams()
    while (this.#placeHead());
    this.#dispatch()
    this.#startWriting()
    // A listener of progress may have cancelled meanwhile, and then nothing may be left that would wake this thread.
    if (this.#error !== undefined) throw this.#error
    return this.#finished && this.#jobs.length === 0 && this.#comparing === 0 && this.#writes === 0 && this.#writing === undefined
  }

  #fail(error: unknown): void {
    this.#error ??= error
    this.#notify()
  }

  #notify(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  #openStreams(): void {
    while (this.#streamsLeft && this.#open.length < 1 + STREAMS_AHEAD * this.#pool.size) {
      const stream = this.#streams.next().value
      if (stream === undefined) {
        this.#streamsLeft = false
        return
      }
      const reads = planReads(stream, { roomSize: INPUT_SLOT_SIZE, blockSize: this.#request.blockSize, identify: this.#identify })
      this.#open.push({ index: this.#streamCount++, stream, reads, next: reads.next().value ?? undefined, worker: undefined, sent: [] })
    }
  }

  /** Place what the head stream has read; true when the next stream became the head. */
  #placeHead(): boolean {
    const head = this.#open[0]
    if (head === undefined) {
      if (!this.#finished && !this.#streamsLeft) {
        this.#placement.finish()
        this.#finished = true
      }
      return false
    }
    for (let sent = head.sent[0]; sent?.result; sent = head.sent[0]) {
      if (!this.#placeRead(sent, sent.result)) return false
      this.#inputs.release(sent.slot)
      head.sent.shift()
      if (sent.read.last) {
        if (head.stream.digest) checkDigest(head.stream.digest, sent.result.digest ?? new Uint8Array(0))
        this.#open.shift()
        this.#openStreams()
        return true
      }
    }
    return false
  }

  /** Place the parts of one read; false when it has to wait for a slot or for jobs to be done. */
  #placeRead(sent: SentRead, result: ReadResult): boolean {
    const { files, segments } = sent.read
    for (; sent.placedParts < files.length; sent.placedParts++) {
      if (!this.#placement.ready || this.#waiting.length > 8 * this.#pool.size) return false
      const file = files[sent.placedParts] as FileNode
      const at = sent.placedParts * SEGMENT_FIELDS
      this.#placement.place(file, sent.slot, segments, at, this.#identity(file, segments[at + Segment.flags] as number, sent, result))
      this.#doneBytes += segments[at + Segment.length] as number
    }
    this.#placement.endSlot()
    this.#context.onProgress?.({ kind: 'bytes', stage: 'squashfs', doneBytes: this.#doneBytes })
    return true
  }

  /** Of a file with its first part, where one is wanted: SHA-256, one character a byte. */
  #identity(file: FileNode, flags: number, sent: SentRead, { identities }: ReadResult): string | undefined {
    if ((flags & SegmentFlag.identify) !== 0) {
      const at = 32 * sent.placedIdentities++
      return Buffer.from(identities.buffer).toString('latin1', at, at + 32)
    }
    if ((flags & SegmentFlag.first) === 0 || file.content.kind !== 'bytes' || !this.#identify(file)) return undefined
    return identityOf(file.content.bytes)
  }

  #queue(job: Job): void {
    const sent: SentJob = { job, outputSlot: undefined, result: undefined }
    this.#jobs.push(sent)
    this.#waiting.push(sent)
  }

  /** Give every worker something to do: reads while few jobs wait, else the oldest job. */
  #dispatch(): void {
    for (let busy = true; busy; ) {
      busy = false
      for (let worker = 0; worker < this.#pool.size; worker++) {
        if (this.#pool.inHand(worker) >= TASKS_PER_WORKER) continue
        const few = this.#waiting.length < 2 * this.#pool.size
        if ((few && this.#sendRead(worker)) || this.#sendJob(worker) || (!few && this.#sendRead(worker))) busy = true
      }
    }
  }

  #sendRead(worker: number): boolean {
    for (const [position, open] of this.#open.entries()) {
      if (open.next === undefined || (open.worker !== undefined && open.worker !== worker)) continue
      const kept = position === 0 ? FRAGMENT_SLOTS : FRAGMENT_SLOTS + HEAD_SLOTS
      if (this.#inputs.freeCount <= kept) return false
      const sent: SentRead = { read: open.next, slot: this.#inputs.take(), result: undefined, placedParts: 0, placedIdentities: 0 }
      const { segments, text, last } = open.next
      open.worker = worker
      open.sent.push(sent)
      open.next = open.reads.next().value ?? undefined
      const hashed = open.stream.digest !== undefined
      const task: Task = { kind: 'read', stream: open.index, slot: sent.slot, segments, text, hashed, last }
      this.#send(worker, task, [text.buffer], (result) => {
        if (result.kind === 'read') sent.result = result
      })
      return true
    }
    return false
  }

  #sendJob(worker: number): boolean {
    const sent = this.#waiting[0]
    if (sent === undefined || this.#outputs.freeCount === 0) return false
    this.#waiting.shift()
    sent.outputSlot = this.#outputs.take()
    const { runs, slots } = sent.job
    this.#send(worker, { kind: 'compress', runs, outputSlot: sent.outputSlot }, [], (result) => {
      if (result.kind !== 'compress') return
      sent.result = result
      for (const slot of slots) this.#inputs.release(slot)
    })
    return true
  }

  /** By whichever worker is free first. */
  #compare({ slot, comparison }: Twins): void {
    this.#comparing++
    const { segments, text } = comparison.finish()
    this.#send(undefined, { kind: 'compare', slot, segments, text }, [text.buffer], (result) => {
      if (result.kind !== 'compare') return
      this.#comparing--
      this.#inputs.release(slot)
      const pair = comparison.pairs[result.different]
      // Equal digests of bytes that were read, and other bytes now: it is no accident.
      if (pair !== undefined) this.#fail(changedTwin(...pair))
    })
  }

  #send(thread: number | undefined, task: Task, moved: ArrayBuffer[], onResult: (result: Result) => void): void {
    this.#pool
      .run(task, { moved, ...(thread !== undefined && { thread }) })
      .then((result) => {
        onResult(result)
        this.#notify()
      })
      .catch((error: unknown) => this.#fail(error))
  }

  #startWriting(): void {
    if (this.#target.lent !== undefined) this.#sendWrites(this.#target.lent)
    else if (this.#writing === undefined && this.#jobs[0]?.result) {
      this.#writing = this.#write().finally(() => {
        this.#writing = undefined
        this.#notify()
      })
    }
  }

  /** Finished jobs in order, as many as there are, are written by a worker; their places are known now. */
  #sendWrites(lent: LentTarget): void {
    let count = 0
    while (this.#jobs[count]?.result) count++
    // A message each would cost this thread more than the writing costs the worker.
    if (count === 0 || (count < JOBS_A_WRITE && count < this.#jobs.length - this.#waiting.length && this.#outputs.freeCount > 2)) return
    const slots: number[] = []
    const position = this.#start + this.#position
    for (const { job, result, outputSlot } of this.#jobs.splice(0, count)) {
      if (result === undefined || outputSlot === undefined) continue
      this.#record(job, result.words)
      this.#position += result.length
      slots.push(outputSlot, result.length)
    }
    this.#writes++
    const { descriptor, label } = lent
    this.#send(undefined, { kind: 'write', descriptor, label, position, slots }, [], () => {
      this.#writes--
      for (let index = 0; index < slots.length; index += 2) this.#outputs.release(slots[index] as number)
      lent.written(slots.reduce((sum, value, index) => sum + (index % 2 === 1 ? value : 0), 0))
    })
  }

  /** Where this thread has to write: finished jobs in order, one call at a time; never rejects. */
  async #write(): Promise<void> {
    try {
      for (let sent = this.#jobs[0]; sent?.result && sent.outputSlot !== undefined && !this.#stopped; sent = this.#jobs[0]) {
        this.#jobs.shift()
        const { words, length } = sent.result
        this.#record(sent.job, words)
        if (length > 0) await this.#target.write(this.#start + this.#position, this.#outputs.view(sent.outputSlot, 0, length))
        this.#position += length
        this.#outputs.release(sent.outputSlot)
        this.#notify()
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  get #stopped(): boolean {
    return this.#closed || this.#error !== undefined
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
