/**
 * Deflate (RFC 1951) a block at a time, bare or as a zlib stream (RFC 1950), by Node's own zlib.
 *
 * A new context for every block costs more than it seems: its 300 KiB are fresh pages each time, and with blocks of
 * 64 KiB half of the time went into the kernel. So one is kept and reset.
 */
import { constants, createDeflate, createDeflateRaw, deflateRawSync, deflateSync } from 'node:zlib'
import { type CompressOneBlock, keptContext } from './kept-context.ts'
import { releasing } from './release.ts'

export interface DeflateSpec {
  /** 1 to 9. */
  readonly level: number
  /** The decoder needs `2 ** windowBits` bytes; 9 to 15. */
  readonly windowBits: number
  /** Without the header and checksum of RFC 1950. */
  readonly isRaw: boolean
}

const MEMORY_LEVEL = 9

/** A compressor of blocks of at most `blockSize` bytes. A result is gone with the next call. */
export function openDeflate(spec: DeflateSpec, blockSize: number): CompressOneBlock {
  const { isRaw, ...options } = { ...spec, memLevel: MEMORY_LEVEL }
  const run = isRaw ? deflateRawSync : deflateSync
  const oneShot = releasing(outputRoom, (block, chunkSize) => run(block, { ...options, chunkSize }))
  const stream = isRaw ? createDeflateRaw(options) : createDeflate(options)
  const kept = { name: 'deflate', blockSize, room: outputRoom(blockSize), end: constants.Z_FINISH, resets: true, oneShot }
  return keptContext(stream, kept) ?? oneShot
}

/** Enough for the largest result (stored blocks, which small windows make shorter), so that zlib hands it over in one piece. */
function outputRoom(length: number): number {
  return length + (length >> 7) + 256
}
