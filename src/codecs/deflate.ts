/**
 * Deflate (RFC 1951) a block at a time, bare or as a zlib stream (RFC 1950), by Node's own zlib.
 *
 * A new context for every block costs more than it seems: its 300 KiB are fresh pages each time, and with blocks of
 * 64 KiB half of the time went into the kernel. So one is kept and reset.
 */
import { constants, createDeflate, createDeflateRaw, deflateRawSync, deflateSync } from 'node:zlib'
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

type Compress = (block: Uint8Array) => Uint8Array

/** What Node's zlib streams have inside (lib/zlib.js, `processChunkSync`); not documented. */
interface InnerStream {
  readonly _handle?: {
    reset?(): void
    writeSync?(
      flush: number,
      input: Uint8Array,
      inputAt: number,
      inputLength: number,
      output: Uint8Array,
      outputAt: number,
      room: number,
    ): void
  }
  /** Room left in the output, and input left. */
  readonly _writeState?: Uint32Array
}

/** A compressor of blocks of at most `blockSize` bytes. A result is gone with the next call. */
export function openDeflate(spec: DeflateSpec, blockSize: number): Compress {
  const { isRaw, ...options } = { ...spec, memLevel: MEMORY_LEVEL }
  const run = isRaw ? deflateRawSync : deflateSync
  const oneShot = releasing(outputRoom, (block, chunkSize) => run(block, { ...options, chunkSize }))
  const stream = isRaw ? createDeflateRaw(options) : createDeflate(options)
  return keptContext(stream as unknown as InnerStream, blockSize, oneShot) ?? oneShot
}

/** Undefined where Node has no such inside, or it does not make the bytes of the documented call. */
function keptContext(stream: InnerStream, blockSize: number, oneShot: Compress): Compress | undefined {
  const { _handle: handle, _writeState: state } = stream
  if (typeof handle?.writeSync !== 'function' || typeof handle.reset !== 'function' || !(state instanceof Uint32Array)) return undefined
  const output = Buffer.allocUnsafeSlow(outputRoom(blockSize))
  const compress = (block: Uint8Array): Uint8Array => {
    handle.reset?.()
    state.fill(0xffffffff)
    handle.writeSync?.(constants.Z_FINISH, block, 0, block.length, output, 0, output.length)
    const [roomLeft = 0, inputLeft = 1] = state
    if (inputLeft !== 0 || roomLeft === 0 || roomLeft > output.length)
      throw new Error(`deflate: a block of ${block.length} bytes was not compressed`)
    return output.subarray(0, output.length - roomLeft)
  }
  const probe = Buffer.alloc(Math.min(blockSize, 4096), 'a block to compare')
  try {
    for (let length = probe.length; length > 0; length >>= 4) {
      const block = probe.subarray(0, length)
      if (Buffer.compare(oneShot(block), compress(block)) !== 0) return undefined
    }
  } catch {
    return undefined
  }
  return compress
}

/** Enough for the largest result (stored blocks, which small windows make shorter), so that zlib hands it over in one piece. */
function outputRoom(length: number): number {
  return length + (length >> 7) + 256
}
