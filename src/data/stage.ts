/**
 * A data stage: threads read every file once, check digests, and pack what they read; this thread decides.
 *
 * Streams are read ahead of need, but what was read is placed in the order of the streams, and jobs come back in the
 * order in which they were placed, so nothing depends on the number or speed of the threads. Contents are bounded by
 * two pools of slots. The head stream always may take the last slots, which keeps the pools from locking up.
 *
 * A format says what streams there are, what becomes of a read (`place`, which makes jobs), and what a job is to its work.
 */
import type { BuildContext } from '../io/image.ts'
import { Pool } from '../threads/pool.ts'
import type { WorkModule } from '../threads/work.ts'
import type { TreeDigest } from '../tree/tree.ts'
import { checkDigest } from '../tree/verified.ts'
import type { PlannedRead } from './reads.ts'
import type { ReadResult, SlotResult, SlotSetup, SlotTask } from './slot-work.ts'
import { returnMemory, Slots, takeMemory } from './slots.ts'

/** A stream whose reads threads do, all of them the same thread. */
export interface ThreadSource<Read extends PlannedRead> {
  readonly digest: TreeDigest | undefined
  readonly reads: Iterator<Read, void>
}

/** A stream that only this thread can read. */
export interface OwnSource<Own> {
  /** Fill a slot; what is in it, or undefined when nothing is left. One call at a time. */
  fill(slot: Uint8Array): Promise<Own | undefined>
  /** Close what is open; after errors too. */
  close(): Promise<void>
}

export type Source<Own, Read extends PlannedRead = PlannedRead> = ThreadSource<Read> | OwnSource<Own>

/** What was read into a slot. */
export type Placeable<Own, Read extends PlannedRead = PlannedRead> =
  | { readonly slot: number; readonly read: Read; readonly result: ReadResult }
  | { readonly slot: number; readonly own: Own }

/** What is made of bytes in input slots, into one output slot. */
export interface StageJob {
  /** Input slots to which the job holds a reference. */
  readonly slots: readonly number[]
}

export interface StageFormat<Setup extends SlotSetup, Job extends StageJob, Task, Result, Own, Read extends PlannedRead = PlannedRead> {
  readonly work: WorkModule<Setup, Task | SlotTask, Result | SlotResult>
  setup(slots: SlotSetup): Setup
  readonly sources: Iterator<Source<Own, Read>, void>
  /** Place what was read, by `queue`; false to be called with the same again, when a slot is free or jobs are done. */
  place(placeable: Placeable<Own, Read>): boolean
  /** Nothing comes any more. */
  finish(): void
  task(job: Job, outputSlot: number): Task
  /** Input slots that no read may take, and those that only reads of the head stream may take. */
  readonly kept: { readonly always: number; readonly forHead: number }
  readonly inputSlotSize: number
  readonly outputSlotSize: number
  /** Slots beyond those that are kept, for so many threads; 1 in the caller's own thread. */
  spareSlots(jobs: number): number
}

/** Streams that are read ahead of the head, a thread. */
const STREAMS_AHEAD = 2
/** Tasks a thread has in hand, so that it need not wait for this thread. */
export const TASKS_PER_THREAD = 2

interface Sent<Own, Read extends PlannedRead> {
  readonly slot: number
  placeable: Placeable<Own, Read> | undefined
}

/** What is known of a stream that is being read. */
interface OpenStream<Own, Read extends PlannedRead> {
  readonly index: number
  readonly source: Source<Own, Read>
  next: Read | undefined
  /** The thread that hashes it. */
  thread: number | undefined
  /** What was asked for, in order; placed from the front. */
  readonly sent: Sent<Own, Read>[]
  /** Of an own source. */
  isFilling: boolean
  isAtEnd: boolean
}

export interface FinishedJob<Job, Result> {
  readonly job: Job
  readonly result: Result
  /** To be released when its bytes are used. */
  readonly outputSlot: number
}

interface SentJob<Job, Result> {
  readonly job: Job
  outputSlot: number | undefined
  result: Result | undefined
}

export class Stage<
  Setup extends SlotSetup,
  Job extends StageJob,
  Task extends { readonly kind: 'job' },
  Result extends { readonly kind: 'job' },
  Own = never,
  Read extends PlannedRead = PlannedRead,
> {
  readonly inputs: Slots
  readonly outputs: Slots
  readonly #format: StageFormat<Setup, Job, Task, Result, Own, Read>
  readonly #isOwnThread: boolean
  readonly #pool: Pool<Setup, Task | SlotTask, Result | SlotResult>
  #streamCount = 0
  #streamsLeft = true
  readonly #open: OpenStream<Own, Read>[] = []
  /** Jobs in the order in which they were placed; the first is the next to be handed out. */
  readonly #jobs: SentJob<Job, Result>[] = []
  /** Jobs that no thread has got yet; a suffix of `#jobs`. */
  readonly #waiting: SentJob<Job, Result>[] = []
  /** Tasks under way beside reads and jobs. */
  #others = 0
  /** Own sources that are being read. */
  readonly #fills = new Set<Promise<void>>()
  #isPlaced = false
  #error: { readonly cause: unknown } | undefined
  #isClosed = false
  #wake: (() => void) | undefined

  constructor(format: StageFormat<Setup, Job, Task, Result, Own, Read>, { jobs, threads = 'workers', signal }: BuildContext) {
    this.#format = format
    this.#isOwnThread = threads === 'none'
    const spare = format.spareSlots(this.#isOwnThread ? 0 : jobs)
    const slots = (count: number, size: number): Slots => new Slots(count, size, this.#isOwnThread ? takeMemory(count * size) : undefined)
    this.inputs = slots(format.kept.always + format.kept.forHead + spare, format.inputSlotSize)
    this.outputs = slots(spare, format.outputSlotSize)
    const memory = ({ memory: own, slotSize }: Slots) => ({ memory: own, slotSize })
    const setup = format.setup({ inputs: memory(this.inputs), outputs: memory(this.outputs) })
    this.#pool = new Pool(format.work, setup, { count: jobs, threads, signal, onFailure: (error) => this.fail(error) })
  }

  /** Start the threads, which takes a while. */
  start(): void {
    this.#pool.start()
  }

  /** Whether more jobs wait than threads will soon have done; then nothing is to be placed. */
  get isFull(): boolean {
    return this.#waiting.length > 8 * this.#pool.size
  }

  /** Jobs that a thread has, or that are done and not handed out. */
  get jobsUnderWay(): number {
    return this.#jobs.length - this.#waiting.length
  }

  /** Tasks that were sent beside reads and jobs, and are not done. */
  get tasksUnderWay(): number {
    return this.#others
  }

  /** The next job in the order of placing, when it is done; `next` also waits for it. */
  ready(): FinishedJob<Job, Result> | undefined {
    const [first] = this.#jobs
    if (first?.result === undefined || first.outputSlot === undefined || this.#error !== undefined) return undefined
    this.#jobs.shift()
    return { job: first.job, result: first.result, outputSlot: first.outputSlot }
  }

  /** The next job in the order of placing; undefined when all were handed out. Throws what anything here throws. */
  async next(): Promise<FinishedJob<Job, Result> | undefined> {
    for (;;) {
      this.#advance()
      const done = this.ready()
      if (done !== undefined) return done
      if (this.#error !== undefined) throw this.#error.cause
      if (this.#isPlaced && this.#jobs.length === 0) return undefined
      await this.#event()
    }
  }

  /** When at most `count` other tasks are under way. Throws what anything here throws. */
  async settled(count = 0): Promise<void> {
    while (this.#error === undefined && this.#others > count) await this.#event()
    // A listener may have ended all meanwhile, and then nothing would be left that wakes this thread.
    if (this.#error !== undefined) throw this.#error.cause
  }

  /** A job that was placed. */
  queue(job: Job): void {
    const sent: SentJob<Job, Result> = { job, outputSlot: undefined, result: undefined }
    this.#jobs.push(sent)
    this.#waiting.push(sent)
  }

  /** Another task, by whichever thread is free first; what `onResult` throws is an error of all. */
  send(task: SlotTask, moved: ArrayBuffer[], onResult: (result: Result | SlotResult) => void): void {
    this.#others++
    this.#run(undefined, task, moved, (result) => {
      this.#others--
      onResult(result)
    })
  }

  /** All ends with this error. */
  fail(cause: unknown): void {
    this.#error ??= { cause }
    this.#notify()
  }

  /** Afterwards no thread runs, and no file is open. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#pool.close()
    await Promise.all(this.#fills)
    for (const { source } of this.#open) if ('fill' in source) await source.close()
    if (this.#isOwnThread) for (const { memory } of [this.inputs, this.outputs]) returnMemory(memory)
  }

  #event(): Promise<void> {
    return new Promise<void>((resolve) => (this.#wake = resolve))
  }

  #notify(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  /** Do all that can be done now. */
  #advance(): void {
    if (this.#error !== undefined || this.#isClosed) return
    try {
      this.#openStreams()
      while (this.#placeHead());
      this.#dispatch()
    } catch (error) {
      this.fail(error)
    }
  }

  #openStreams(): void {
    while (this.#streamsLeft && this.#open.length < 1 + STREAMS_AHEAD * this.#pool.size) {
      const source = this.#format.sources.next().value
      if (source === undefined) {
        this.#streamsLeft = false
        return
      }
      const next = 'reads' in source ? (source.reads.next().value ?? undefined) : undefined
      this.#open.push({ index: this.#streamCount++, source, next, thread: undefined, sent: [], isFilling: false, isAtEnd: false })
    }
  }

  /** Place what the head stream has read; true when the next stream became the head. */
  #placeHead(): boolean {
    const [head] = this.#open
    if (head === undefined) {
      if (!this.#isPlaced && !this.#streamsLeft) {
        this.#format.finish()
        this.#isPlaced = true
      }
      return false
    }
    for (let [sent] = head.sent; sent?.placeable; [sent] = head.sent) {
      if (!this.#format.place(sent.placeable)) return false
      this.inputs.release(sent.slot)
      head.sent.shift()
      if ('result' in sent.placeable && sent.placeable.read.last) return this.#endHead(head, sent.placeable.result.digest)
    }
    return head.isAtEnd && head.sent.length === 0 && this.#endHead(head, undefined)
  }

  #endHead({ source }: OpenStream<Own, Read>, digest: Uint8Array | undefined): true {
    if ('digest' in source && source.digest !== undefined) checkDigest(source.digest, digest ?? new Uint8Array(0))
    this.#open.shift()
    this.#openStreams()
    return true
  }

  /** Give every thread something to do: reads while few jobs wait, else the oldest job. */
  #dispatch(): void {
    for (const [position, open] of this.#open.entries()) this.#fillOwn(open, position)
    for (let busy = true; busy; ) {
      busy = false
      for (let thread = 0; thread < this.#pool.size; thread++) {
        if (this.#pool.inHand(thread) >= TASKS_PER_THREAD) continue
        const few = this.#waiting.length < 2 * this.#pool.size
        if ((few && this.#sendRead(thread)) || this.#sendJob(thread) || (!few && this.#sendRead(thread))) busy = true
      }
    }
  }

  /** Whether a stream may take a slot that stands so far behind the head. */
  #hasSlot(position: number): boolean {
    const { always, forHead } = this.#format.kept
    return this.inputs.freeCount > (position === 0 ? always : always + forHead)
  }

  #sendRead(thread: number): boolean {
    for (const [position, open] of this.#open.entries()) {
      const { source, next: read } = open
      if (read === undefined || !('reads' in source) || (open.thread !== undefined && open.thread !== thread)) continue
      if (!this.#hasSlot(position)) return false
      const sent: Sent<Own, Read> = { slot: this.inputs.take(), placeable: undefined }
      open.thread = thread
      open.sent.push(sent)
      open.next = source.reads.next().value ?? undefined
      const { segments, text, last } = read
      const hashed = source.digest !== undefined
      this.#run(thread, { kind: 'read', stream: open.index, slot: sent.slot, segments, text, hashed, last }, [text.buffer], (result) => {
        if (result.kind === 'read') sent.placeable = { slot: sent.slot, read, result }
      })
      return true
    }
    return false
  }

  #fillOwn(open: OpenStream<Own, Read>, position: number): void {
    const { source } = open
    if (!('fill' in source) || open.isFilling || open.isAtEnd || !this.#hasSlot(position)) return
    const sent: Sent<Own, Read> = { slot: this.inputs.take(), placeable: undefined }
    open.isFilling = true
    open.sent.push(sent)
    const fill = source.fill(this.inputs.view(sent.slot, 0, this.inputs.slotSize)).then(
      (own) => {
        open.isFilling = false
        if (own !== undefined) sent.placeable = { slot: sent.slot, own }
        else {
          open.isAtEnd = true
          open.sent.pop()
          this.inputs.release(sent.slot)
        }
      },
      (error: unknown) => this.fail(error),
    )
    this.#fills.add(fill)
    void fill.then(() => {
      this.#fills.delete(fill)
      this.#advance()
      this.#notify()
    })
  }

  #sendJob(thread: number): boolean {
    const [sent] = this.#waiting
    if (sent === undefined || this.outputs.freeCount === 0) return false
    this.#waiting.shift()
    sent.outputSlot = this.outputs.take()
    this.#run(thread, this.#format.task(sent.job, sent.outputSlot), [], (result) => {
      if (result.kind !== 'job') return
      sent.result = result as Result
      for (const slot of sent.job.slots) this.inputs.release(slot)
    })
    return true
  }

  #run(thread: number | undefined, task: Task | SlotTask, moved: ArrayBuffer[], onResult: (result: Result | SlotResult) => void): void {
    this.#pool
      .run(task, { moved, ...(thread !== undefined && { thread }) })
      .then((result) => {
        onResult(result)
        this.#advance()
        this.#notify()
      })
      .catch((error: unknown) => this.fail(error))
  }
}
