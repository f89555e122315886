/** A worker thread: reads and hashes streams of files, compresses blocks. It decides nothing. */
import { createHash, type Hash, hash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { printable } from '../../../bytes/text.ts'
import { isSlow, probablyIncompressible } from '../../../codecs/incompressible.ts'
import { openCodec } from '../../../codecs/open.ts'
import { ImageError } from '../../../errors.ts'
import { changedError, HOST_FILE_FLAGS, readError } from '../../../tree/host-file.ts'
import { DATA_UNCOMPRESSED } from '../disk.ts'
import type { CompressResult, CompressTask, Failure, ReadResult, ReadTask, Task, WorkerSetup } from './protocol.ts'
import { INPUT_SLOT_SIZE, OUTPUT_SLOT_SIZE, SEGMENT_FIELDS, Segment, SegmentFlag, SegmentKind } from './protocol.ts'

const setup = workerData as WorkerSetup
const input = Buffer.from(setup.inputSlots)
const output = Buffer.from(setup.outputSlots)
const codec = await openCodec(setup.codec, setup.blockSize)
const stopFlag = new Int32Array(setup.stopFlag)
const slow = isSlow(setup.codec)
const zeros = Buffer.alloc(setup.blockSize)
const scratch = Buffer.alloc(INPUT_SLOT_SIZE)
/** Room for the one byte that shows that a file has grown. */
const beyond = Buffer.alloc(1)
const port = parentPort

interface StreamState {
  readonly hash: Hash | undefined
  /** A file of several segments stays open from its first to its last. */
  file: { readonly fd: number; readonly changeTime: bigint } | undefined
}
const streams = new Map<number, StreamState>()

port?.on('message', (task: Task) => {
  if (task.kind === 'stop') port.close()
  if (task.kind === 'stop' || isStopped()) return
  try {
    port.postMessage(task.kind === 'read' ? read(task) : compress(task))
  } catch (error) {
    port.postMessage(failure(error))
  }
})

function isStopped(): boolean {
  return Atomics.load(stopFlag, 0) !== 0
}

function failure(error: unknown): Failure {
  if (error instanceof ImageError) return { kind: 'failure', code: error.code, message: error.message, path: error.path ?? '' }
  return { kind: 'failure', code: 'WORKER_DIED', message: `worker: ${error instanceof Error ? error.stack : error}`, path: '' }
}

function read(task: ReadTask): ReadResult {
  const stream = streams.get(task.stream) ?? { hash: task.hashed ? createHash('sha256') : undefined, file: undefined }
  const text = Buffer.from(task.text.buffer)
  const base = task.slot * INPUT_SLOT_SIZE
  const identities: Uint8Array[] = []
  for (let at = 0; at < task.segments.length; at += SEGMENT_FIELDS) {
    const field = (index: number): number => task.segments[at + index] ?? 0
    const piece = text.subarray(field(Segment.textStart), field(Segment.textStart) + field(Segment.textLength))
    if (field(Segment.kind) === SegmentKind.framing) {
      stream.hash?.update(piece)
      continue
    }
    const start = base + field(Segment.slotOffset)
    const content = input.subarray(start, start + field(Segment.length))
    const flags = field(Segment.flags)
    if (field(Segment.kind) === SegmentKind.inline) {
      content.set(piece)
    } else {
      const identity = readHostFile(stream, piece, field(Segment.fileOffset), content, flags)
      if (identity) identities.push(identity)
    }
    stream.hash?.update(content)
  }
  streams.set(task.stream, stream)
  const result = { kind: 'read' as const, id: task.id, identities: new Uint8Array(Buffer.concat(identities)) }
  if (!task.last) return result
  streams.delete(task.stream)
  return stream.hash ? { ...result, digest: new Uint8Array(stream.hash.digest()) } : result
}

/** Read one segment of a host file into `content`; returns the file's SHA-256 where that was asked for. */
function readHostFile(stream: StreamState, path: Buffer, offset: number, content: Buffer, flags: number): Uint8Array | undefined {
  const first = (flags & SegmentFlag.first) !== 0
  const last = (flags & SegmentFlag.last) !== 0
  const identify = (flags & SegmentFlag.identify) !== 0
  try {
    if (!first || !last) return readLargeFile(stream, path, offset, content, { first, last, identify })
    const fd = openSync(path, HOST_FILE_FLAGS)
    try {
      readWhole(fd, path, content)
    } finally {
      closeSync(fd)
    }
    return identify ? hash('sha256', content, 'buffer') : undefined
  } catch (error) {
    throw readError(path, error)
  }
}

function readLargeFile(
  stream: StreamState,
  path: Buffer,
  offset: number,
  content: Buffer,
  part: { first: boolean; last: boolean; identify: boolean },
): Uint8Array | undefined {
  let identity: Uint8Array | undefined
  if (part.first) {
    const fd = openSync(path, HOST_FILE_FLAGS)
    stream.file = { fd, changeTime: fstatSync(fd, { bigint: true }).ctimeNs }
    if (part.identify) identity = identifyFile(fd)
  }
  if (!stream.file) throw new ImageError('WORKER_DIED', `${printable(path)}: is not open in its worker`)
  const { fd, changeTime } = stream.file
  readFully(fd, path, content, offset)
  if (part.last) {
    expectEnd(fd, path, offset + content.length)
    // A file that was written to and kept its size shows in its change time.
    if (fstatSync(fd, { bigint: true }).ctimeNs !== changeTime) throw changedError(path, 'was written to')
    closeSync(fd)
    stream.file = undefined
  }
  return identity
}

/** SHA-256 of a whole file that will be read again, to know it from others before its first block is compressed. */
function identifyFile(fd: number): Uint8Array {
  const whole = createHash('sha256')
  let position = 0
  while (!isStopped()) {
    const count = readSync(fd, scratch, 0, scratch.length, position)
    if (count === 0) break
    whole.update(scratch.subarray(0, count))
    position += count
  }
  return whole.digest()
}

/** Reads one byte more than there should be, where the slot has room for it: most files take one call. */
function readWhole(fd: number, path: Buffer, content: Buffer): void {
  const start = content.byteOffset
  const hasRoom = (start + content.length) % INPUT_SLOT_SIZE !== 0
  const count = hasRoom ? readSync(fd, input, start, content.length + 1, null) : 0
  if (count > content.length) throw changedError(path, `grew beyond its ${content.length} bytes`)
  if (hasRoom && count === content.length) return
  readFully(fd, path, content.subarray(count), count)
  expectEnd(fd, path, content.length)
}

function readFully(fd: number, path: Buffer, content: Buffer, offset: number): void {
  let done = 0
  while (done < content.length) {
    const count = readSync(fd, content, done, content.length - done, offset + done)
    if (count === 0) throw changedError(path, `ended at byte ${offset + done}`)
    done += count
  }
}

function expectEnd(fd: number, path: Buffer, size: number): void {
  if (readSync(fd, beyond, 0, 1, size) !== 0) throw changedError(path, `grew beyond its ${size} bytes`)
}

function compress(task: CompressTask): CompressResult {
  const words = new Uint32Array(task.blocks.length)
  const start = task.outputSlot * OUTPUT_SLOT_SIZE
  let at = start
  for (const [index, piece] of task.blocks.entries()) {
    if (isStopped()) break
    const from = piece.slot * INPUT_SLOT_SIZE + piece.offset
    const block = input.subarray(from, from + piece.length)
    if (task.sparse && isZero(block)) continue
    const packed = slow && probablyIncompressible(block) ? block : codec.compress(block)
    const stored = packed.length < block.length ? packed : block
    output.set(stored, at)
    at += stored.length
    words[index] = stored === block ? block.length | DATA_UNCOMPRESSED : stored.length
  }
  return { kind: 'compress', id: task.id, words, length: at - start }
}

function isZero(block: Buffer): boolean {
  return block[0] === 0 && block[block.length - 1] === 0 && block.equals(zeros.subarray(0, block.length))
}
