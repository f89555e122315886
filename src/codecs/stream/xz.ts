/**
 * xz (The .xz File Format 1.2.1): one Stream of several Blocks with CRC32. The codec makes a whole Stream of each block;
 * what is between its Stream Header and its Index is the Block, which stands here unchanged.
 *
 * A block is as large as the dictionary of the preset, within 1 to 16 MiB, since a larger dictionary finds nothing more in
 * it. Measured with level 6 on 32 MiB of programs, against one block of `xz -6` (dictionary of 8 MiB): blocks of 1 MiB are
 * 9.8 % larger, 4 MiB 3.2 %, 8 MiB 0.8 %, 16 MiB none; `xz --lzma2=dict=512KiB`, as nixpkgs calls it, is 9.9 % larger.
 */
import { crc32 } from 'node:zlib'
import { alignUp } from '../../bytes/align.ts'
import { struct } from '../../bytes/struct.ts'
import type { CodecSpec } from '../codec.ts'
import { type Encoder, type Frame, NOTHING, type StreamFormat } from './format.ts'
import { threadCodec } from './thread-codec.ts'

/** By level, in MiB. */
const BLOCK_MIBS: readonly number[] = [1, 1, 2, 4, 4, 8, 8, 16, 16, 16]
const DEFAULT_LEVEL = 6

/** Section 2.1.1. */
const streamHeader = struct('xz Stream Header', 12, {
  magic: [0, 'bytes', 6],
  streamFlags: [6, 'u16be'],
  crc32: [8, 'u32le'],
})
/** Section 2.1.2. */
const streamFooter = struct('xz Stream Footer', 12, {
  crc32: [0, 'u32le'],
  /** In units of four bytes, less one. */
  backwardSize: [4, 'u32le'],
  streamFlags: [8, 'u16be'],
  magic: [10, 'bytes', 2],
})
const HEADER_MAGIC = Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)
const FOOTER_MAGIC = Uint8Array.of(0x59, 0x5a)
/** Section 2.1.1.2: CRC32. */
const STREAM_FLAGS = 0x0001
const CHECK_SIZE = 4
/** Section 3.1.2. */
const COMPRESSED_SIZE_PRESENT = 0x40
/** Sections 4.1 and 4.4. */
const INDEX_INDICATOR = 0
const CRC32_SIZE = 4

export function xzFormat(spec: CodecSpec): StreamFormat {
  const blockSize = (BLOCK_MIBS[spec.level ?? DEFAULT_LEVEL] ?? 16) << 20
  return {
    spec,
    blockSize,
    historySize: 0,
    isSequential: false,
    // The memory that liblzma takes, about twelve times the block, is given back with its thread only.
    ownThreadLimit: 0,
    isTerminable: true,
    openEncoder: () => xzEncoder(spec, blockSize),
    startFrame: xzFrame,
    sizeLimit: (contentSize) => {
      const blockCount = Math.ceil(contentSize / blockSize)
      // Chunks of LZMA2 that are stored hold 64 KiB and have 3 bytes before them; headers, padding, check, Index Record.
      return contentSize + Math.ceil(contentSize / 65536) * 3 + blockCount * 128 + streamHeader.size + streamFooter.size + 32
    },
  }
}

async function xzEncoder(spec: CodecSpec, blockSize: number): Promise<Encoder> {
  const codec = await threadCodec(spec, blockSize)
  return {
    encode(block) {
      const stream = codec.compress(block)
      const footer = stream.length - streamFooter.size
      const backwardSize = wordAt(stream, footer + streamFooter.fields.backwardSize[0])
      return stream.subarray(streamHeader.size, footer - (backwardSize + 1) * 4)
    },
    reset() {},
    close() {},
  }
}

function xzFrame(): Frame {
  const records: number[] = []
  return {
    head: headerBytes(),
    add(block, encoded) {
      records.push(unpaddedSize(encoded), block.length)
      return NOTHING
    },
    end() {
      const index = indexBytes(records)
      return Buffer.concat([index, footerBytes(index.length)])
    },
  }
}

/** Section 4.3: the size of a Block without its padding, from its header (section 3.1). */
export function unpaddedSize(block: Uint8Array): number {
  const headerSize = ((block[0] ?? 0) + 1) * 4
  let compressedSize = 0
  if (((block[1] ?? 0) & COMPRESSED_SIZE_PRESENT) !== 0) {
    for (let at = 2, unit = 1, byte = 0x80; byte >= 0x80; at++, unit *= 128) {
      byte = block[at] ?? 0
      compressedSize += (byte & 0x7f) * unit
    }
  }
  if (headerSize + alignUp(compressedSize, 4) + CHECK_SIZE !== block.length) {
    throw new Error(`liblzma made a Block of ${block.length} bytes whose header states ${compressedSize} for its content`)
  }
  return headerSize + compressedSize + CHECK_SIZE
}

function headerBytes(): Uint8Array {
  const header = streamHeader.encode({ magic: HEADER_MAGIC, streamFlags: STREAM_FLAGS })
  streamHeader.write(header, 0, { crc32: crc32(header.subarray(6, 8)) })
  return header
}

/** Section 4: the Index of `records`, which holds Unpadded Size and Uncompressed Size of each Block in turn. */
function indexBytes(records: readonly number[]): Uint8Array {
  const fields = [INDEX_INDICATOR, ...[records.length / 2, ...records].flatMap(variableLength)]
  const index = new Uint8Array(alignUp(fields.length, 4) + CRC32_SIZE)
  index.set(fields)
  new DataView(index.buffer).setUint32(index.length - CRC32_SIZE, crc32(index.subarray(0, -CRC32_SIZE)), true)
  return index
}

function footerBytes(indexSize: number): Uint8Array {
  const footer = streamFooter.encode({ backwardSize: indexSize / 4 - 1, streamFlags: STREAM_FLAGS, magic: FOOTER_MAGIC })
  streamFooter.write(footer, 0, { crc32: crc32(footer.subarray(4, 10)) })
  return footer
}

/** Section 1.2: seven bits a byte, the lowest first. */
function variableLength(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
  return [...bytes, rest]
}

function wordAt(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at, true)
}
