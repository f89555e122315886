/** Sends many files and folders to stable storage. */
import { closeSync, constants, fsync, openSync } from 'node:fs'
import { cannotSync } from './held-folder.ts'
import { writeError } from './write-error.ts'

/** Enough for the system's threads to have something to do, and far from the limit of open files. */
const LIMIT = 128

/**
 * Takes descriptors that were written to, syncs them in the background, several at once, so that one commit of a journal
 * serves many, and closes them. The first error counts: `room` and `finish` throw it, as WRITE_FAILED of `label`.
 */
export class SyncQueue {
  readonly #label: string
  #pendingCount = 0
  /** Called when one less is pending. */
  #wake: (() => void) | undefined
  #error: unknown

  constructor(label: string) {
    this.#label = label
  }

  /** The descriptor is the queue's from now on. */
  add(descriptor: number): void {
    this.#pendingCount++
    fsync(descriptor, (error) => {
      if (error !== null && !cannotSync(error)) this.#error ??= error
      this.#close(descriptor)
      this.#pendingCount--
      this.#wake?.()
    })
  }

  /** A folder that has all its entries, mode and times. Throws errors of the system where it cannot be opened. */
  addFolder(path: string | Buffer): void {
    this.add(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY))
  }

  get isFull(): boolean {
    return this.#pendingCount >= LIMIT
  }

  /** Wait until there is room for another one. */
  async room(): Promise<void> {
    await this.#until(LIMIT - 1)
  }

  /** Wait until all is on stable storage. To be called once, after an error too: afterwards nothing is open. */
  async finish(): Promise<void> {
    await this.#until(0)
  }

  async #until(count: number): Promise<void> {
    while (this.#pendingCount > count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    if (this.#error !== undefined) throw writeError(this.#label, this.#error)
  }

  /** Some file systems keep the error of a write until then. */
  #close(descriptor: number): void {
    try {
      closeSync(descriptor)
    } catch (error) {
      this.#error ??= error
    }
  }
}
