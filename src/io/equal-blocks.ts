/** Bytes in blocks of one size, however they come. */

/** The same bytes in blocks of `size`, only the last one shorter. A block is good until the next but one is asked for. */
export async function* equalBlocks(chunks: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let [block, spare] = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)]
  let length = 0
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const count = Math.min(size - length, chunk.length - at)
      block.set(chunk.subarray(at, at + count), length)
      at += count
      length += count
      if (length < size) continue
      yield block
      ;[block, spare] = [spare, block]
      length = 0
    }
  }
  if (length > 0) yield block.subarray(0, length)
}
