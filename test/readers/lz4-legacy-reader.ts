/** Reads LZ4 legacy frames (LZ4 Frame Format Description 1.6) with the end that Linux knows (`lib/decompress_unlz4.c`, 5.14). */
import { readLz4Block } from './lz4-reader.ts'

const MAGIC = 0x184c2102
const BLOCK_SIZE = 8 << 20

export interface Lz4LegacyFrame {
  readonly content: Uint8Array
  /** Content bytes of each block. */
  readonly blockSizes: readonly number[]
  /** Where the blocks end. */
  readonly size: number
  /** Four zero bytes follow; else it is the end of `bytes`. */
  readonly endsWithZeros: boolean
}

/** A frame of `contentSize` bytes at the beginning of `bytes`; throws on every violation of the format. */
export function readLz4LegacyFrame(bytes: Uint8Array, contentSize: number): Lz4LegacyFrame {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== MAGIC) throw new Error('no LZ4 legacy magic')
  const parts: Uint8Array[] = []
  let left = contentSize
  let at = 4
  while (at < bytes.length) {
    const compressedSize = view.getUint32(at, true)
    if (compressedSize === 0) break
    at += 4
    if (at + compressedSize > bytes.length) throw new Error(`a block of ${compressedSize} bytes goes past the end`)
    const size = Math.min(left, BLOCK_SIZE)
    parts.push(readLz4Block(bytes.subarray(at, at + compressedSize), size).bytes)
    left -= size
    at += compressedSize
  }
  if (left !== 0) throw new Error(`${left} bytes are missing`)
  return { content: Buffer.concat(parts), blockSizes: parts.map((part) => part.length), size: at, endsWithZeros: at < bytes.length }
}
