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

/** A run of a file's bytes in the slot that a read task fills. */
export interface Part {
  readonly file: FileNode
  readonly fileOffset: number
  readonly length: number
  readonly slotOffset: number
  readonly first: boolean
  readonly last: boolean
  /** With a first part: the file's place among the task's identities, or -1. */
  readonly identityIndex: number
}

/** A read task without the slot and the number it gets when it is sent. */
export interface PlannedRead {
  readonly segments: Float64Array<ArrayBuffer>
  readonly text: Uint8Array<ArrayBuffer>
  readonly parts: readonly Part[]
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

/** The files of a tree in the order of names, without recursion. */
export function* filesBelow(node: TreeNode): Generator<FileNode> {
  const stack: TreeNode[] = [node]
  for (let next = stack.pop(); next; next = stack.pop()) {
    if (next.kind === 'file') yield next
    else if (next.kind === 'directory') for (const entry of sortedEntries(next).reverse()) stack.push(entry.node)
  }
}

/** Tasks stay small: what is known of every part waits in memory until it is placed, a task a slot. */
const MOST_SEGMENTS = 1024
const MOST_TEXT = 1 << 20

/**
 * Cut a stream into reads of at most one slot. Files below a block are never cut; larger ones are cut at
 * multiples of the block size. `identify` says for which files an identity (SHA-256) is wanted.
 */
export function* planReads(stream: Stream, blockSize: number, identify: (file: FileNode) => boolean): Generator<PlannedRead> {
  let batch = new Batch()
  for (const piece of stream.pieces()) {
    if (piece instanceof Uint8Array) {
      if (batch.isFull(piece.length)) {
        yield batch.finish(false)
        batch = new Batch()
      }
      batch.addFraming(piece)
      continue
    }
    for (let offset = 0; ; ) {
      let length = fitting(piece.size - offset, batch.room, blockSize)
      if (length === undefined || batch.isFull(0)) {
        yield batch.finish(false)
        batch = new Batch()
        length = fitting(piece.size - offset, batch.room, blockSize) ?? 0
      }
      batch.addPart(piece, offset, length, identify(piece))
      offset += length
      if (offset >= piece.size) break
    }
  }
  yield batch.finish(true)
}

/** How many of `left` bytes go into `room`: all, whole blocks, or undefined for none. */
function fitting(left: number, room: number, blockSize: number): number | undefined {
  if (left <= room) return left
  const whole = left < blockSize ? 0 : room - (room % blockSize)
  return whole === 0 ? undefined : whole
}

/** One read task in the making. */
class Batch {
  readonly #segments: number[] = []
  readonly #text: Uint8Array[] = []
  readonly #parts: Part[] = []
  #textLength = 0
  #used = 0
  #identities = 0

  get room(): number {
    return INPUT_SLOT_SIZE - this.#used
  }

  isFull(textLength: number): boolean {
    if (this.#segments.length === 0) return false
    return this.#segments.length >= MOST_SEGMENTS * SEGMENT_FIELDS || this.#textLength + textLength > MOST_TEXT
  }

  addFraming(bytes: Uint8Array): void {
    this.#segments.push(SegmentKind.framing, this.#textLength, bytes.length, 0, 0, 0, 0)
    this.#addText(bytes)
  }

  addPart(file: FileNode, fileOffset: number, length: number, identify: boolean): void {
    const first = fileOffset === 0
    const last = fileOffset + length === file.size
    const inline = file.content.kind === 'bytes'
    const asked = first && identify && !inline
    // For an identity the whole file is read, whatever part this is.
    const text = asked ? partText(file, 0, file.size) : partText(file, fileOffset, length)
    const flags = (first ? SegmentFlag.first : 0) | (last ? SegmentFlag.last : 0) | (asked ? SegmentFlag.identify : 0)
    this.#segments.push(segmentKind(file), this.#textLength, text.length, fileOffset, length, this.#used, flags)
    this.#addText(text)
    this.#parts.push({ file, fileOffset, length, slotOffset: this.#used, first, last, identityIndex: asked ? this.#identities++ : -1 })
    this.#used += length
  }

  finish(last: boolean): PlannedRead {
    const text = new Uint8Array(this.#textLength)
    let at = 0
    for (const bytes of this.#text) {
      text.set(bytes, at)
      at += bytes.length
    }
    return { segments: Float64Array.from(this.#segments), text, parts: this.#parts, last }
  }

  #addText(bytes: Uint8Array): void {
    this.#text.push(bytes)
    this.#textLength += bytes.length
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
