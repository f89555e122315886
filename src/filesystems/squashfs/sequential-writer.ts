/** Bytes one after the other into a target; positions count from the image's start, as the format's do. */
import type { Target } from '../../io/target.ts'

export class SequentialWriter {
  readonly #target: Target
  readonly #imageStart: number
  #position: number

  constructor(target: Target, imageStart: number, position: number) {
    this.#target = target
    this.#imageStart = imageStart
    this.#position = position
  }

  /** Where the next byte goes. */
  get position(): number {
    return this.#position
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return
    await this.#target.write(this.#imageStart + this.#position, bytes)
    this.#position += bytes.length
  }
}
