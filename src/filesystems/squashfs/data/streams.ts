/**
 * Streams of file contents, cut into read tasks. A stream is what is hashed as a whole (a digest), or
 * the files below one entry of the root; its order is the order of names, so the place of every byte in
 * the image follows from the tree alone.
 */
import { printable } from '../../../bytes/text.ts'
import type { DirectoryNode, FileNode, TreeDigest, TreeNode } from '../../../tree/tree.ts'
import { sortedEntries } from '../../../tree/tree.ts'
import { patchedText } from './patched-text.ts'
import { INPUT_SLOT_SIZE, SEGMENT_FIELDS, SegmentFlag, SegmentKind } from './protocol.ts'

export interface Stream {
  readonly digest: TreeDigest | undefined
  pieces(): Iterable<Uint8Array | FileNode>
}

/** A read task without the slot that it gets when it is sent. */
export interface PlannedRead {
  readonly segments: Float64Array<ArrayBuffer>
  readonly text: Uint8Array<ArrayBuffer>
  /** Of the segments that are more than framing, in their order. */
  readonly files: readonly FileNode[]
  readonly last: boolean
}

/**
 * The files in the order of names, as streams: one for each digest, wherever in the tree, for each file with a proof of its
 * own that none of them covers, and for what lies between.
 */
export function* planStreams(root: DirectoryNode, digests: readonly TreeDigest[]): Generator<Stream> {
  const byNode = new Map<TreeNode, TreeDigest>()
  for (const digest of digests) byNode.set(digest.node, digest)
  for (const { node } of sortedEntries(root)) yield* streamsBelow(node, byNode)
}

function* streamsBelow(root: TreeNode, byNode: ReadonlyMap<TreeNode, TreeDigest>): Generator<Stream> {
  let between: FileNode[] = []
  const stack: TreeNode[] = [root]
  for (let node = stack.pop(); node; node = stack.pop()) {
    const digest = byNode.get(node) ?? ownDigest(node)
    if (digest !== undefined) {
      if (between.length > 0) yield streamOf(between)
      between = []
      yield { digest, pieces: () => digest.pieces() }
    } else if (node.kind === 'file') between.push(node)
    else if (node.kind === 'directory') for (const entry of sortedEntries(node).reverse()) stack.push(entry.node)
  }
  if (between.length > 0) yield streamOf(between)
}

function streamOf(files: readonly FileNode[]): Stream {
  return { digest: undefined, pieces: () => files }
}

/** A proof is of the bytes on the host, so one with patches over it says nothing of what is packed. */
function ownDigest(node: TreeNode): TreeDigest | undefined {
  if (node.kind !== 'file' || node.size === 0 || node.content.kind !== 'hostFile' || node.content.proof === undefined) return undefined
  const { path, proof } = node.content
  return { name: printable(path), node, algorithm: 'sha256', expected: proof.sha256, pieces: () => [node] }
}

/** Tasks stay small: what is known of every part waits in memory until it is placed, a task a slot. */
const MOST_SEGMENTS = 1024
const MOST_TEXT = 1 << 20

/**
 * Cut a stream into reads of at most one slot. Files below a block are never cut; larger ones are cut at
 * multiples of the block size. `identify` says for which files an identity (SHA-256) is wanted.
 */
export function* planReads(stream: Stream, blockSize: number, identify: (file: FileNode) => boolean): Generator<PlannedRead> {
  const draft = new ReadDraft()
  for (const piece of stream.pieces()) {
    if (piece instanceof Uint8Array) {
      if (draft.isFull(piece.length)) yield draft.finish(false)
      draft.addFraming(piece)
      continue
    }
    for (let offset = 0; ; ) {
      let length = fitting(piece.size - offset, draft.room, blockSize)
      if (length === undefined || draft.isFull(0)) {
        yield draft.finish(false)
        length = fitting(piece.size - offset, draft.room, blockSize) ?? 0
      }
      draft.addPart(piece, offset, length, identify(piece))
      offset += length
      if (offset >= piece.size) break
    }
  }
  yield draft.finish(true)
}

/** Parts that lie in a slot already, to be compared with the same parts of the files that are their twins. */
export class Comparison {
  readonly #draft = new ReadDraft()
  /** Of each part: the file and its twin. */
  readonly pairs: [file: FileNode, twin: FileNode][] = []

  add(file: FileNode, twin: FileNode, fileOffset: number, length: number, slotOffset: number): void {
    this.pairs.push([file, twin])
    this.#draft.addPart(twin, fileOffset, length, false, slotOffset)
  }

  finish(): Pick<PlannedRead, 'segments' | 'text'> {
    return this.#draft.finish(true)
  }
}

/** How many of `left` bytes go into `room`: all, whole blocks, or undefined for none. */
function fitting(left: number, room: number, blockSize: number): number | undefined {
  if (left <= room) return left
  const whole = left < blockSize ? 0 : room - (room % blockSize)
  return whole === 0 ? undefined : whole
}

/** One read task after the other in the making, in memory that is used again. */
class ReadDraft {
  #segments = new Float64Array(64 * SEGMENT_FIELDS)
  #segmentsLength = 0
  #text = Buffer.allocUnsafeSlow(4096)
  #textLength = 0
  /** Of the text, bytes of framing since the last part. */
  #framing = 0
  #files: FileNode[] = []
  #used = 0

  get room(): number {
    return INPUT_SLOT_SIZE - this.#used
  }

  isFull(textLength: number): boolean {
    if (this.#textLength === 0) return false
    return this.#segmentsLength >= MOST_SEGMENTS * SEGMENT_FIELDS || this.#textLength + textLength > MOST_TEXT
  }

  addFraming(bytes: Uint8Array): void {
    this.#addText(bytes)
    this.#framing += bytes.length
  }

  addPart(file: FileNode, fileOffset: number, length: number, identify: boolean, slotOffset = this.#used): void {
    const isFirst = fileOffset === 0
    const isLast = fileOffset + length === file.size
    const isAsked = isFirst && identify && file.content.kind !== 'bytes'
    // For an identity the whole file is read, whatever part this is.
    const text = isAsked ? partText(file, 0, file.size) : partText(file, fileOffset, length)
    const flags = (isFirst ? SegmentFlag.first : 0) | (isLast ? SegmentFlag.last : 0) | (isAsked ? SegmentFlag.identify : 0)
    this.#addText(text)
    this.#addSegment([segmentKind(file), text.length, fileOffset, length, slotOffset, flags, file.size])
    this.#files.push(file)
    this.#used += length
  }

  /** The task; the next one begins empty. */
  finish(last: boolean): PlannedRead {
    if (this.#framing > 0) this.#addSegment([SegmentKind.none, 0, 0, 0, 0, 0, 0])
    const read = {
      segments: this.#segments.slice(0, this.#segmentsLength),
      text: new Uint8Array(this.#text.subarray(0, this.#textLength)),
      files: this.#files,
      last,
    }
    this.#segmentsLength = 0
    this.#textLength = 0
    this.#files = []
    this.#used = 0
    return read
  }

  /** What follows the framing length, in the order of `Segment`. */
  #addSegment(values: readonly number[]): void {
    if (this.#segmentsLength === this.#segments.length) {
      const larger = new Float64Array(2 * this.#segments.length)
      larger.set(this.#segments)
      this.#segments = larger
    }
    this.#segments[this.#segmentsLength] = this.#framing
    this.#segments.set(values, this.#segmentsLength + 1)
    this.#segmentsLength += SEGMENT_FIELDS
    this.#framing = 0
  }

  #addText(bytes: Uint8Array): void {
    const end = this.#textLength + bytes.length
    if (end > this.#text.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#text.length, end))
      larger.set(this.#text.subarray(0, this.#textLength))
      this.#text = larger
    }
    this.#text.set(bytes, this.#textLength)
    this.#textLength = end
  }
}

function segmentKind({ content }: FileNode): number {
  if (content.kind === 'bytes') return SegmentKind.inline
  return content.kind === 'patched' ? SegmentKind.patched : SegmentKind.hostFile
}

function partText(file: FileNode, offset: number, length: number): Uint8Array {
  switch (file.content.kind) {
    case 'bytes':
      return file.content.bytes.subarray(offset, offset + length)
    case 'hostFile':
      return file.content.path
    case 'patched':
      return patchedText(file.content, offset, length)
    case 'image':
      throw new RangeError('squashfs: an image as content, which the plan refuses')
  }
}
