/**
 * The compressor inside one stream of Node's zlib, called block by block, so that no block costs a new context. Output room
 * for the whole result lets the library compress in one pass, straight from the block to the result.
 */

/** As `Codec.compress`. */
export type CompressOneBlock = (block: Uint8Array, place?: Uint8Array) => Uint8Array

/** What Node's zlib streams have inside (lib/zlib.js, `processChunkSync`); not documented. */
export interface InnerStream {
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

export interface KeptContextOptions {
  /** For errors. */
  readonly name: string
  /** The most bytes of a block. */
  readonly blockSize: number
  /** More bytes than any result has, so that a full buffer never looks like one that was too small. */
  readonly room: number
  /** The flush value that ends a result. */
  readonly end: number
  /** Whether the context has to be reset before each block; else it begins anew after each end. */
  readonly resets: boolean
  /** The documented call, which makes the same bytes. */
  readonly oneShot: CompressOneBlock
}

/**
 * A compressor whose result is gone with the next call. Undefined where Node has no such inside, or it does not make the
 * bytes of the documented call.
 */
export function keptContext(
  stream: unknown,
  { name, blockSize, room, end, resets, oneShot }: KeptContextOptions,
): CompressOneBlock | undefined {
  const { _handle: handle, _writeState: state } = stream as InnerStream
  if (typeof handle?.writeSync !== 'function' || !(state instanceof Uint32Array)) return undefined
  if (resets && typeof handle.reset !== 'function') return undefined
  const own = Buffer.allocUnsafeSlow(room)
  const compress: CompressOneBlock = (block, place) => {
    const output = place !== undefined && place.length >= room ? place : own
    if (resets) handle.reset?.()
    // Node leaves the state as it is when the library fails.
    state.fill(0xffffffff)
    handle.writeSync?.(end, block, 0, block.length, output, 0, room)
    const [roomLeft = 0, inputLeft = 1] = state
    if (inputLeft !== 0 || roomLeft === 0 || roomLeft > room)
      throw new Error(`${name}: a block of ${block.length} bytes was not compressed`)
    return output.subarray(0, room - roomLeft)
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
