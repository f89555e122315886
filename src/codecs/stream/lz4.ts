/**
 * LZ4's legacy frame (LZ4 Frame Format Description 1.6, "Legacy frame"): blocks of exactly 8 MiB, only the last one shorter,
 * each with its compressed size before it. The frame has no end of its own: a reader takes the next four bytes for the size of
 * a block. Four zero bytes end it for Linux (5.14, and the stable series since July 2021), but not for `lz4 -d`, which expects
 * the end of the file there, nor for older kernels.
 */
import { struct } from '../../bytes/struct.ts'
import type { CodecSpec } from '../codec.ts'
import { lz4Bound } from '../lz4-twin.ts'
import { type Encoder, type Frame, NOTHING, type StreamFormat } from './format.ts'
import { threadCodec } from './thread-codec.ts'

const BLOCK_SIZE = 8 << 20
const OWN_THREAD_LIMIT = 1 << 20

const frameMagic = struct('LZ4 legacy frame', 4, { magic: [0, 'u32le'] })
const blockHeader = struct('LZ4 legacy block', 4, { compressedSize: [0, 'u32le'] })

const MAGIC = 0x184c2102
/** The size of a block that Linux takes for the end. */
const END = blockHeader.encode({ compressedSize: 0 })

export function lz4Format(spec: CodecSpec, isLastMember: boolean): StreamFormat {
  const end = isLastMember ? NOTHING : END
  return {
    spec,
    blockSize: BLOCK_SIZE,
    historySize: 0,
    isSequential: false,
    ownThreadLimit: OWN_THREAD_LIMIT,
    isTerminable: true,
    openEncoder: () => lz4Encoder(spec),
    startFrame: () => lz4Frame(end),
    sizeLimit: (contentSize) =>
      frameMagic.size + Math.ceil(contentSize / BLOCK_SIZE) * (blockHeader.size + lz4Bound(BLOCK_SIZE)) + end.length,
  }
}

async function lz4Encoder(spec: CodecSpec): Promise<Encoder> {
  const codec = await threadCodec(spec, BLOCK_SIZE)
  return { encode: (block) => codec.compress(block), reset() {}, close() {} }
}

function lz4Frame(end: Uint8Array): Frame {
  return {
    head: frameMagic.encode({ magic: MAGIC }),
    add: (_block, encoded) => blockHeader.encode({ compressedSize: encoded.length }),
    end: () => end,
  }
}
