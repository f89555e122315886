/** How far a file is as it will stay, while several write to it at once. */
export class Frontier<Writer> {
  readonly #positions: Map<Writer, number>
  readonly #onMove: ((position: number) => void) | undefined
  #least = 0

  constructor(writers: Iterable<Writer>, onMove: ((position: number) => void) | undefined) {
    this.#positions = new Map([...writers].map((writer) => [writer, 0]))
    this.#onMove = onMove
  }

  /** `writer` writes nothing any more before `position`. */
  move(writer: Writer, position: number): void {
    if (this.#onMove === undefined) return
    this.#positions.set(writer, position)
    const least = Math.min(...this.#positions.values())
    if (least <= this.#least) return
    this.#least = least
    this.#onMove(least)
  }
}
