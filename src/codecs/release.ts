/**
 * Node's zlib returns each result in new memory outside the JavaScript heap, as large as the room asked for. The collector
 * lets tens of MiB of it pile up in every thread before it looks; so a codec frees a result itself, with the next call.
 */

/** Wraps a one-shot compressor whose results fill part of a buffer of `room(block.length)` bytes: a result is detached by the next call. */
export function releasing(room: (length: number) => number, run: (block: Uint8Array, room: number) => Uint8Array) {
  let previous: ArrayBufferLike | undefined
  return (block: Uint8Array): Uint8Array => {
    if (previous instanceof ArrayBuffer) previous.transfer(0)
    const size = room(block.length)
    const result = run(block, size)
    // Small results lie in a pool that they share with other buffers of Node: those stay.
    previous = result.buffer.byteLength === size ? result.buffer : undefined
    return result
  }
}
