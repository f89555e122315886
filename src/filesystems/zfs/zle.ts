/** Zero-length encoding: runs of zeros, and of anything else (OpenZFS `module/zfs/zle.c`). */

/** A count below this stands for so many bytes and one, which follow; from it on for zeros. */
const LITERALS = 64
const ZEROS = 256 - LITERALS

/** The encoded block in `output`; undefined when it does not fit. */
export function compressZle(block: Uint8Array, output: Uint8Array): Uint8Array | undefined {
  let at = 0
  let out = 0
  while (at < block.length) {
    const start = at
    if (block[at] === 0) {
      while (at < block.length && at - start < ZEROS && block[at] === 0) at++
      if (out >= output.length) return undefined
      output[out++] = at - start - 1 + LITERALS
      continue
    }
    // A single zero between other bytes costs less as one of them.
    while (at < block.length && at - start < LITERALS && (block[at] !== 0 || (block[at + 1] ?? 0) !== 0)) at++
    if (out + 1 + at - start > output.length) return undefined
    output[out++] = at - start - 1
    output.set(block.subarray(start, at), out)
    out += at - start
  }
  return output.subarray(0, out)
}
