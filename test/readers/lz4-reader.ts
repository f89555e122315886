/**
 * A small, strict reader of LZ4 blocks (LZ4 Block Format Description 1.6). It shares nothing with the encoder, and
 * unlike ordinary decoders it also refuses blocks that break the end-of-block conditions, on which fast decoders rely.
 */

export interface Lz4Block {
  readonly bytes: Uint8Array
  readonly matches: readonly { readonly at: number; readonly offset: number; readonly length: number }[]
}

/** Decode a block whose content is `size` bytes long; throws on every violation of the format. */
export function readLz4Block(block: Uint8Array, size: number): Lz4Block {
  const bytes = new Uint8Array(size)
  const matches: { at: number; offset: number; length: number }[] = []
  let input = 0
  let output = 0
  const nextByte = (): number => {
    const value = block[input++]
    if (value === undefined) throw new Error(`the block ends inside a sequence, after ${block.length} bytes`)
    return value
  }
  const lengthFrom = (nibble: number): number => {
    let length = nibble
    for (let more = nibble === 15 ? 255 : 0; more === 255; ) length += more = nextByte()
    return length
  }
  while (true) {
    const token = nextByte()
    const literals = lengthFrom(token >> 4)
    if (input + literals > block.length) throw new Error('literals go past the end of the block')
    if (output + literals > size) throw new Error(`content is longer than ${size} bytes`)
    bytes.set(block.subarray(input, input + literals), output)
    input += literals
    output += literals
    if (input === block.length) {
      if (matches.length > 0 && literals < 5) throw new Error(`the last ${literals} bytes are literals; 5 are required`)
      if ((token & 15) !== 0) throw new Error('the last sequence has a match length')
      break
    }
    const offset = nextByte() | (nextByte() << 8)
    if (offset === 0 || offset > output) throw new Error(`offset ${offset} at ${output} points before the block`)
    const length = lengthFrom(token & 15) + 4
    if (output + length > size) throw new Error(`content is longer than ${size} bytes`)
    if (output > size - 12) throw new Error(`a match starts at ${output}, less than 12 bytes before the end`)
    matches.push({ at: output, offset, length })
    for (const end = output + length; output < end; output++) bytes[output] = bytes[output - offset] ?? 0
  }
  if (output !== size) throw new Error(`content is ${output} bytes long, not ${size}`)
  return { bytes, matches }
}
