/**
 * From a plan to bytes. Many small files are one extent with the headers around them: neither an object nor a
 * wait for each. A large file is an extent of its own, or several where it is an image with holes.
 */
import { printable } from '../../bytes/text.ts'
import type { Extent, Image } from '../../io/image.ts'
import { imageChunks } from '../../io/stream.ts'
import { contentExtents } from '../../tree/content.ts'
import { hostFileOf, readHostFile, SMALL_FILE_SIZE } from '../../tree/host-file.ts'
import type { Content, FileNode } from '../../tree/tree.ts'
import { FILE_KINDS, HEADER_SIZE, writeHeader, writeTrailer } from './disk.ts'
import type { CpioPlan, CpioRecord } from './plan.ts'

/** An extent of small files ends with the file that makes it this long: what one read holds in memory. */
const RUN_SIZE = 256 * 1024
/** Framing is handed on when it has grown to this many bytes. */
const FRAMING_SIZE = 64 * 1024

/** Consecutive records, or parts of them: bytes from `start` to `end` of the archive, without the contents that stand apart. */
interface Run {
  readonly firstRecord: number
  /** The record after the last. */
  readonly endRecord: number
  readonly start: number
  readonly end: number
}

type Part = Run | FilePart

interface FilePart {
  readonly start: number
  readonly name: Uint8Array
  readonly file: FileNode
}

/** The archive as extents, in order; together they cover all of it but holes of files that are images. */
export function archiveExtents(plan: CpioPlan): Extent[] {
  const extents: Extent[] = []
  for (const part of partsOf(plan, standsApart, RUN_SIZE)) {
    if ('file' in part) extents.push(...contentExtents(part.file, part.start, printable(part.name)))
    else extents.push(runExtent(plan, part))
  }
  return extents
}

/** The archive as framing bytes and files whose content stands there, in order. Empty files do not appear. */
export function* archivePieces(plan: CpioPlan): Generator<Uint8Array | FileNode> {
  for (const part of partsOf(plan, () => true, FRAMING_SIZE)) yield 'file' in part ? part.file : framingOf(plan, part)
}

/** A header with the name behind it, at `offset` of zeroed bytes. */
export function writeRecordHead(target: Uint8Array, offset: number, { name, node, inode, linkCount, dataSize }: CpioRecord): void {
  const isDevice = node.kind === 'characterDevice' || node.kind === 'blockDevice'
  writeHeader(target, offset, {
    inode,
    mode: FILE_KINDS[node.kind] + node.mode,
    userId: node.uid,
    groupId: node.gid,
    linkCount,
    mtimeSeconds: node.mtimeSeconds,
    fileSize: dataSize,
    ownMajor: isDevice ? node.major : 0,
    ownMinor: isDevice ? node.minor : 0,
    nameSize: name.length + 1,
  })
  target.set(name, offset + HEADER_SIZE)
}

/**
 * Cut the archive into runs and the contents that stand apart. A run ends before such a content, and at the
 * record that makes it `runSize` long.
 */
function* partsOf(plan: CpioPlan, isApart: (file: FileNode) => boolean, runSize: number): Generator<Part> {
  const { records, trailerStart, size } = plan
  let firstRecord = 0
  let start = 0
  for (const [index, { name, node, dataStart, dataSize }] of records.entries()) {
    if (node.kind === 'file' && dataSize > 0 && isApart(node)) {
      yield { firstRecord, endRecord: index + 1, start, end: dataStart }
      yield { start: dataStart, name, file: node }
      // What pads the content begins the next run.
      start = dataStart + dataSize
      firstRecord = index + 1
      continue
    }
    const end = records[index + 1]?.start ?? trailerStart
    if (end - start < runSize) continue
    yield { firstRecord, endRecord: index + 1, start, end }
    start = end
    firstRecord = index + 1
  }
  if (size > start) yield { firstRecord, endRecord: records.length, start, end: size }
}

function standsApart({ size }: FileNode): boolean {
  return size > SMALL_FILE_SIZE
}

function runExtent(plan: CpioPlan, run: Run): Extent {
  return {
    start: run.start,
    length: run.end - run.start,
    async *read() {
      const bytes = framingOf(plan, run)
      for (const { node, dataStart, dataSize } of plan.records.slice(run.firstRecord, run.endRecord)) {
        if (node.kind !== 'file' || standsApart(node)) continue
        const at = dataStart - run.start
        await readContent(node.content, bytes.subarray(at, at + dataSize))
      }
      yield bytes
    },
  }
}

/** Fill `place`, which is zero, with a content of its size; empty for a name whose content stands with another. */
function readContent(content: Content, place: Uint8Array): Promise<void> | undefined {
  if (place.length === 0) return undefined
  switch (content.kind) {
    case 'bytes':
      place.set(content.bytes)
      return undefined
    case 'hostFile':
    case 'patched':
      readHostFile(hostFileOf(content, place.length), place)
      return undefined
    case 'image':
      return readImage(content.image, place)
  }
}

async function readImage(image: Image, place: Uint8Array): Promise<void> {
  let position = 0
  for await (const chunk of imageChunks(image)) {
    place.set(chunk, position)
    position += chunk.length
  }
}

/** The bytes of a run with zeros for the contents of its files. */
function framingOf({ records, trailerStart }: CpioPlan, { firstRecord, endRecord, start, end }: Run): Uint8Array {
  const bytes = new Uint8Array(end - start)
  for (let index = firstRecord; index < endRecord; index++) {
    const record = records[index]
    if (record === undefined) continue
    writeRecordHead(bytes, record.start - start, record)
    if (record.node.kind === 'symlink') bytes.set(record.node.target, record.dataStart - start)
  }
  if (end > trailerStart) writeTrailer(bytes, trailerStart - start)
  return bytes
}
