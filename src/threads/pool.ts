/**
 * The one pool of threads: tasks go to the thread that has the least in hand, or to the one that is named, and come back as
 * promises. With `threads: 'none'` all is done in the caller's own thread, by the same code.
 *
 * - A task's error is that of its promise alone, with code, path and every other field that it had in its thread.
 * - A thread that dies or cannot be started, work that cannot be opened, a listener that throws and a signal fail the pool:
 *   all tasks, and those to come, end with that error.
 * - Threads are asked to end, each after the task it has in hand. A thread that is terminated inside zlib can take the whole
 *   process with it (an assertion of Node 24); so only those are terminated whose work is said to be terminable.
 */
import { ImageError } from '../errors.ts'
import { ownThread, startThread, type Thread, type ThreadListener } from './thread.ts'
import type { FromWork, WorkModule } from './work.ts'

export interface PoolOptions {
  /** Threads at most; each is started when there is more to do than the others have in hand. */
  readonly count: number
  /** `none`: the calling thread does everything, whatever `count` says. Default `workers`. */
  readonly threads?: 'workers' | 'none' | undefined
  /** Tasks that a thread has in hand, so that it need not wait for the caller; more wait in the pool. Default 2. */
  readonly inHand?: number
  /** A thread may be ended in the middle of a task. */
  readonly isTerminable?: boolean
  /**
   * Other pools follow soon, which get the threads of this one unless it failed. Only for work that leaves little memory
   * behind: what a thread holds is freed when it ends, or some time later.
   */
  readonly keepsThreads?: boolean
  /** Fails the pool with ABORTED. */
  readonly signal?: AbortSignal | undefined
  /** What was cancelled, as the message of ABORTED says it. */
  readonly cancelled?: string
  /** Called at most once, when the pool has failed before it was closed. */
  readonly onFailure?: (error: unknown) => void
}

export interface TaskOptions<Progress> {
  /** The thread that has to do it, from 0; it gets it at once. */
  readonly thread?: number
  /** Memory of the task that is handed over to the thread instead of copied. */
  readonly moved?: ArrayBuffer[]
  /** What the task tells; what this throws fails the pool. */
  readonly onProgress?: (progress: Progress) => void
}

interface Pending<Task, Result, Progress> {
  readonly task: Task
  readonly options: TaskOptions<Progress>
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

interface Member {
  readonly thread: Thread
  inHand: number
}

export class Pool<Setup, Task, Result, Progress = never> {
  readonly #module: WorkModule<Setup, Task, Result, Progress>
  readonly #setup: Setup
  readonly #options: PoolOptions
  readonly #inHand: number
  readonly #members: Member[] = []
  /** In the order in which they were given, from `#firstWaiting` on. */
  readonly #waiting: Pending<Task, Result, Progress>[] = []
  #firstWaiting = 0
  readonly #sent = new Map<number, Pending<Task, Result, Progress> & { readonly member: Member }>()
  readonly #stopFlag = new SharedArrayBuffer(4)
  readonly #abort: () => void
  #taskCount = 0
  #failure: { readonly error: unknown } | undefined
  #isClosed = false
  #closing: Promise<void> | undefined

  constructor(module: WorkModule<Setup, Task, Result, Progress>, setup: Setup, options: PoolOptions) {
    const { signal, cancelled = 'cancelled', inHand = 2 } = options
    this.#module = module
    this.#setup = setup
    this.#options = options
    this.#inHand = inHand
    this.#abort = () => this.fail(new ImageError('ABORTED', cancelled, { cause: signal?.reason }))
    signal?.addEventListener('abort', this.#abort)
    if (signal?.aborted) this.#abort()
  }

  /** Threads at most. */
  get size(): number {
    return this.#options.threads === 'none' ? 1 : this.#options.count
  }

  /** Tasks that thread `index` was sent and has not answered. */
  inHand(index: number): number {
    return this.#members[index]?.inHand ?? 0
  }

  /** Start all threads now, so that they are there when the first tasks come. */
  start(): void {
    while (this.#failure === undefined && this.#members.length < this.size) this.#startMember()
  }

  /**
   * Have a task done; the tasks begin in the order of the calls. Rejects with what `run` throws in the thread, or with what
   * the pool has failed with: WORKER_DIED, ABORTED, or what `fail` was told. It counts when it is awaited, and that may be never.
   */
  run(task: Task, options: TaskOptions<Progress> = {}): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    promise.catch(() => undefined)
    const pending = { task, options, resolve, reject }
    if (options.thread === undefined) this.#waiting.push(pending)
    else {
      while (this.#failure === undefined && this.#members.length <= options.thread) this.#startMember()
      const member = this.#members[options.thread]
      if (this.#failure === undefined && member !== undefined) this.#send(member, pending)
      else this.#waiting.push(pending)
    }
    this.#dispatch()
    return promise
  }

  /** All tasks, and those to come, end with `error`; what threads have in hand ends soon. The first error counts. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = { error }
    Atomics.store(new Int32Array(this.#stopFlag), 0, 1)
    this.#rejectAll(error)
    if (!this.#isClosed) this.#options.onFailure?.(error)
  }

  /** No task comes any more, and nobody waits for one. Afterwards no thread runs but those that are kept, and nothing of theirs is open. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#isClosed = true
    this.#options.signal?.removeEventListener('abort', this.#abort)
    const { isTerminable = false, keepsThreads = false } = this.#options
    const how = keepsThreads && this.#failure === undefined ? 'kept' : 'asked'
    this.fail(new ImageError('ABORTED', this.#options.cancelled ?? 'cancelled'))
    await Promise.all(this.#members.map(({ thread, inHand }) => thread.end(isTerminable && inHand > 0 ? 'atOnce' : how)))
  }

  #rejectAll(error: unknown): void {
    for (const { reject } of this.#sent.values()) reject(error)
    this.#sent.clear()
    for (const { reject } of this.#waiting.splice(0).slice(this.#firstWaiting)) reject(error)
    this.#firstWaiting = 0
  }

  /** The oldest task goes to the thread with the least in hand. */
  #dispatch(): void {
    if (this.#failure !== undefined) this.#rejectAll(this.#failure.error)
    for (let pending = this.#waiting[this.#firstWaiting]; pending !== undefined; pending = this.#waiting[this.#firstWaiting]) {
      let member = this.#idlest()
      if ((member === undefined || member.inHand > 0) && this.#members.length < this.size) member = this.#startMember()
      // Starting one may have failed.
      if (member === undefined || member.inHand >= this.#inHand) return
      this.#firstWaiting++
      this.#send(member, pending)
    }
    this.#waiting.length = 0
    this.#firstWaiting = 0
  }

  #idlest(): Member | undefined {
    let idlest = this.#members[0]
    for (const member of this.#members) if (idlest !== undefined && member.inHand < idlest.inHand) idlest = member
    return idlest
  }

  #send(member: Member, pending: Pending<Task, Result, Progress>): void {
    const id = this.#taskCount++
    this.#sent.set(id, { ...pending, member })
    member.inHand++
    member.thread.send(id, pending.task, pending.options.moved ?? [])
  }

  /** Undefined, and everything has failed, when the system gives no thread. */
  #startMember(): Member | undefined {
    const listener: ThreadListener = { onMessage: (message) => this.#onMessage(message), onDeath: (error) => this.fail(error) }
    try {
      const member: Member = { thread: this.#open(listener), inHand: 0 }
      this.#members.push(member)
      return member
    } catch (error) {
      this.fail(error)
      return undefined
    }
  }

  #open(listener: ThreadListener): Thread {
    if (this.#options.threads === 'none') {
      const flag = new Int32Array(this.#stopFlag)
      return ownThread(this.#module, this.#setup, () => flag[0] !== 0, listener)
    }
    const setup = { module: this.#module.module, setup: this.#setup, stopFlag: this.#stopFlag }
    return startThread(this.#members.length + 1, setup, listener)
  }

  #onMessage(message: FromWork): void {
    if (message.kind === 'unopened') {
      this.fail(message.error)
      return
    }
    const { id } = message
    const sent = this.#sent.get(id)
    if (sent === undefined) return
    if (message.kind === 'progress') {
      try {
        sent.options.onProgress?.(message.progress as Progress)
      } catch (error) {
        this.fail(error)
      }
      return
    }
    this.#sent.delete(id)
    sent.member.inHand--
    if (message.kind === 'failure') sent.reject(message.error)
    else sent.resolve(message.result as Result)
    this.#dispatch()
  }
}
