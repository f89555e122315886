/** What a thread does: a module says how its work is opened, and the pool runs it in threads or in the caller's own. */

/** What the work of one thread is. Tasks are done one after the other, in the order in which they were given. */
export interface Work<Task, Result, Progress = never> {
  /** What it throws is the error of this task. `tell` gets to the caller before the result does. */
  run(task: Task, tell: (progress: Progress) => void): Result | Promise<Result>
  /** Memory of a result that is handed over to the caller instead of copied. */
  moved?(result: Result): ArrayBuffer[]
  /** No task comes any more: close what is open. */
  close?(): void
}

/** How work hears that nobody wants its results any more. */
export interface Stop {
  /** Known at once, within a task as well. */
  isStopped(): boolean
  /** Needs a turn of the event loop. */
  readonly signal: AbortSignal
}

/** To be exported as `work` by the module whose address it holds, since a thread begins by importing that. */
export interface WorkModule<Setup, Task, Result, Progress = never> {
  /** `import.meta.url`. */
  readonly module: string
  /** What it throws is the error of all tasks. */
  open(setup: Setup, stop: Stop): Work<Task, Result, Progress> | Promise<Work<Task, Result, Progress>>
}

/** What work is opened with. */
export interface ThreadSetup {
  readonly module: string
  readonly setup: unknown
  /** One 32-bit word; when it is not 0 nobody wants results any more. */
  readonly stopFlag: SharedArrayBuffer
}

/** A thread has one work after the other: `close` ends one, and after `end` nothing comes. */
export type ToThread =
  | { readonly kind: 'open'; readonly setup: ThreadSetup }
  | { readonly kind: 'task'; readonly id: number; readonly task: unknown }
  | { readonly kind: 'close' }
  | { readonly kind: 'end' }

export type FromWork =
  | { readonly kind: 'progress'; readonly id: number; readonly progress: unknown }
  | { readonly kind: 'result'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly error: unknown }
  /** The work could not be opened. */
  | { readonly kind: 'unopened'; readonly error: unknown }

/** With `closed` nothing of the work is open any more. */
export type FromThread = FromWork | { readonly kind: 'closed'; readonly heapBytes: number }
