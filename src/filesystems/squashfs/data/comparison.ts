/** Files that seem to be the same, to be compared byte for byte. */
import { ReadDraft } from '../../../data/reads.ts'
import type { Parts } from '../../../data/segments.ts'
import type { FileNode } from '../../../tree/tree.ts'

/** Parts that lie in a slot already, to be compared with the same parts of the files that are their twins. */
export class Comparison {
  readonly #draft = new ReadDraft()
  /** Of each part: the file and its twin. */
  readonly pairs: [file: FileNode, twin: FileNode][] = []

  add(file: FileNode, twin: FileNode, fileOffset: number, length: number, slotOffset: number): void {
    this.pairs.push([file, twin])
    this.#draft.addPart(twin, fileOffset, length, { place: slotOffset })
  }

  finish(): Parts {
    return this.#draft.finish(true)
  }
}
