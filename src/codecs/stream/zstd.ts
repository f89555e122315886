/**
 * Zstandard (RFC 8878): one frame with a checksum. A content of one block, 1 MiB, is compressed in one call, and its frame
 * states its size; what is larger goes through a stream.
 *
 * libzstd cuts the content into jobs for its own threads, and how it cuts does not depend on how many there are. Node's
 * libzstd has threads, but its streams stand still with them; the handle inside such a stream, called synchronously, works
 * (see `InnerStream`). A job that was begun is finished even when nobody wants it any more, so the jobs are small. Measured
 * on programs: jobs of 8 MiB that look back a quarter of the window are 0.1 % larger than libzstd's own choices, jobs of
 * 16 MiB for level 10, and for level 19 of 32 MiB that look back a whole window and cost a tenth more processor time.
 *
 * From level 20 on the gain lies in windows of 32 to 128 MiB, which no job would fill: there is one thread.
 */
import { constants, createZstdCompress, type ZstdOptions, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { CodecSpec } from '../codec.ts'
import type { InnerStream } from '../kept-context.ts'
import { compressBound } from '../zstd.ts'
import { type Encoder, type EncoderSetup, NOTHING, type StreamFormat } from './format.ts'
import { type Gathered, gathered } from './gathered.ts'

const BLOCK_SIZE = 1 << 20
const JOB_SIZE = 8 << 20
/** A quarter of the window (`ZSTD_c_overlapLog`: 9 is all of it, each less halves it). */
const OVERLAP_LOG = 7
const DEFAULT_LEVEL = 19
const FIRST_ULTRA_LEVEL = 20

export function zstdFormat(spec: CodecSpec): StreamFormat {
  return {
    spec,
    blockSize: BLOCK_SIZE,
    historySize: 0,
    isSequential: true,
    ownThreadLimit: BLOCK_SIZE + 1,
    isTerminable: false,
    openEncoder: async (setup) => innerEncoder(frameOptions(spec.level, setup)),
    startFrame: () => ({ head: NOTHING, add: () => NOTHING, end: () => NOTHING }),
    sizeLimit: (contentSize) => compressBound(contentSize) + 64,
  }
}

let threadsFound: boolean | undefined

/** Whether this Node has the inside that is described above, and a libzstd with threads. */
export function hasZstdThreads(): boolean {
  threadsFound ??= probeThreads()
  return threadsFound
}

function probeThreads(): boolean {
  const sample = Buffer.alloc(BLOCK_SIZE + 4096, 'a block to compare')
  try {
    const stream = openInner(frameOptions(1, { contentSize: sample.length, jobs: 1 }))
    if (stream === undefined) return false
    const output = gathered()
    stream.run(constants.ZSTD_e_continue, sample, output)
    finishFrame(stream, output)
    stream.close()
    return sample.equals(zstdDecompressSync(output.take()))
  } catch {
    return false
  }
}

/** The options of Node's streams, for the codec's level or for one frame; no setup, or a small content: no threads. */
export function frameOptions(level = DEFAULT_LEVEL, setup?: EncoderSetup): ZstdOptions {
  const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag, ZSTD_c_nbWorkers, ZSTD_c_jobSize, ZSTD_c_overlapLog } = constants
  const params = { [ZSTD_c_compressionLevel]: level, [ZSTD_c_checksumFlag]: 1 }
  if (setup === undefined) return { params }
  const { contentSize, jobs } = setup
  if (level >= FIRST_ULTRA_LEVEL || contentSize <= BLOCK_SIZE) return { params, pledgedSrcSize: contentSize }
  const threads = {
    [ZSTD_c_nbWorkers]: Math.min(jobs, Math.ceil(contentSize / JOB_SIZE)),
    [ZSTD_c_jobSize]: JOB_SIZE,
    [ZSTD_c_overlapLog]: OVERLAP_LOG,
  }
  return { params: { ...params, ...threads }, pledgedSrcSize: contentSize }
}

/** With the inner stream, or, where there is none, one that keeps all blocks until the last. */
function innerEncoder(given: ZstdOptions): Encoder {
  const output = gathered()
  let inner = openInner(given)
  if (inner === undefined) return keepingEncoder(given)
  let isFirst = true
  return {
    encode(block, _history, isLast) {
      inner ??= openInner(given)
      if (inner === undefined) throw new Error('zstd: no stream can be opened any more')
      if (isFirst && isLast) {
        inner.run(constants.ZSTD_e_end, block, output)
      } else {
        inner.run(constants.ZSTD_e_continue, block, output)
        if (isLast) finishFrame(inner, output)
      }
      isFirst = isLast
      return output.take()
    },
    reset() {
      if (isFirst) return
      inner?.close()
      inner = undefined
      isFirst = true
      output.take()
    },
    close() {
      inner?.close()
      inner = undefined
    },
  }
}

/**
 * Nothing tells a full room whose frame has ended from one whose frame has not, and a second end would make a second, empty
 * frame. After a flush the end has a few bytes, and they fit.
 */
function finishFrame(inner: Inner, output: Gathered): void {
  inner.run(constants.ZSTD_e_flush, NOTHING, output)
  inner.run(constants.ZSTD_e_end, NOTHING, output)
}

function keepingEncoder(given: ZstdOptions): Encoder {
  let blocks: Uint8Array[] = []
  return {
    encode(block, _history, isLast) {
      blocks.push(block.slice())
      if (!isLast) return NOTHING
      const content = Buffer.concat(blocks)
      blocks = []
      return zstdCompressSync(content, given)
    },
    reset() {
      blocks = []
    },
    close() {},
  }
}

interface Inner {
  /** Compress all of `input`, appending to `output` what has come so far (continue) or everything (flush, end). */
  run(operation: number, input: Uint8Array, output: Gathered): void
  close(): void
}

/** Undefined where Node has no such inside; throws what Node throws where libzstd does not take the parameters. */
function openInner(given: ZstdOptions): Inner | undefined {
  const stream = createZstdCompress(given)
  let failure: unknown
  stream.on('error', (error) => {
    failure = error
  })
  const { _handle: handle, _writeState: state } = stream as unknown as InnerStream
  if (typeof handle?.writeSync !== 'function' || !(state instanceof Uint32Array)) return undefined
  const room = Buffer.allocUnsafeSlow(compressBound(BLOCK_SIZE))
  const run = (operation: number, input: Uint8Array, output: Gathered): void => {
    for (let at = 0; ; ) {
      // Node leaves the state as it is when libzstd fails.
      state.fill(0xffffffff)
      handle.writeSync?.(operation, input, at, input.length - at, room, 0, room.length)
      const [roomLeft = 0, inputLeft = 0] = state
      if (roomLeft > room.length || inputLeft > input.length - at) {
        throw new Error(`zstd: ${failure instanceof Error ? failure.message : 'nothing was compressed'}`)
      }
      output.append(room.subarray(0, room.length - roomLeft))
      at = input.length - inputLeft
      if (inputLeft === 0 && (operation === constants.ZSTD_e_continue || roomLeft > 0)) return
    }
  }
  return { run, close: () => stream.close() }
}
