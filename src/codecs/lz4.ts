/**
 * LZ4 blocks (LZ4 Block Format Description 1.6): no frame, no size, no checksum, as squashfs wants them.
 * The encoders are our own, as WebAssembly; without WebAssembly their twins in TypeScript make the same bytes.
 */
import { alignUp } from '../bytes/align.ts'
import type { Codec, CodecSpec } from './codec.ts'
import { lz4Bound, lz4FastTwin, lz4HighTwin } from './lz4-twin.ts'
import { nativeInstance } from './native.ts'

type Encoder = (source: number, length: number, target: number, work: number) => number

type Compress = (block: Uint8Array) => Uint8Array

/** The fast encoder's table: 2^13 entries of 16 bits. */
const FAST_WORK_SIZE = 2 << 13
/** The high-compression encoder's hash chains; it needs 12 bytes more for each position of the block and its end. */
const CHAINS_SIZE = (4 << 16) + (2 << 16)
const HIGH_WORK_PER_POSITION = 12
/** How far an encoder may read and write past the end of its source and target. */
const SLACK = 64

/** Open the fast mode, or with `spec.level` the high-compression mode. A result is overwritten by the next call. */
export function openLz4(spec: CodecSpec, blockSize: number): Codec {
  const high = spec.level !== undefined
  const compress = high ? (lz4HighNative(blockSize) ?? lz4HighTwin(blockSize)) : (lz4FastNative(blockSize) ?? lz4FastTwin(blockSize))
  return { spec, blockSize, compress }
}

/** The fast encoder as WebAssembly; undefined where there is none. */
export function lz4FastNative(blockSize: number): Compress | undefined {
  return instantiate('compressFast', FAST_WORK_SIZE, blockSize)
}

/** The high-compression encoder as WebAssembly; undefined where there is none. */
export function lz4HighNative(blockSize: number): Compress | undefined {
  return instantiate('compressHigh', CHAINS_SIZE + HIGH_WORK_PER_POSITION * (blockSize + 1), blockSize)
}

/** An instance with memory of its own: work area, source, target. */
function instantiate(name: 'compressFast' | 'compressHigh', workSize: number, blockSize: number): Compress | undefined {
  const work = 0
  const source = alignUp(work + workSize, 16)
  const target = alignUp(source + blockSize + SLACK, 16)
  const instance = nativeInstance(target + lz4Bound(blockSize) + SLACK)
  if (instance === undefined) return undefined
  const { bytes } = instance
  const encode = instance.exports[name] as Encoder
  return (block) => {
    // Out of shared memory this copies twice as fast as `set`.
    Buffer.from(block.buffer, block.byteOffset, block.length).copy(bytes, source)
    return bytes.subarray(target, target + encode(source, block.length, target, work))
  }
}
