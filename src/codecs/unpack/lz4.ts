/** LZ4 frames (LZ4 Frame Format Description 1.6) and the blocks in them (LZ4 Block Format Description 1.6). Checksums are not compared. */
import { PackedBytes } from './bytes.ts'
import { damaged } from './damaged.ts'

const MAGIC = 0x184d2204
const [FIRST_SKIPPABLE, LAST_SKIPPABLE] = [0x184d2a50, 0x184d2a5f] as const

/** How far back a block may refer to the ones before. */
const HISTORY_SIZE = 64 << 10

const FLAG = { dictionary: 0x01, contentChecksum: 0x04, contentSize: 0x08, blockChecksum: 0x10, independent: 0x20 } as const

/** Of the size of a block: it is stored as it is. */
const STORED = 0x80000000

export async function* unpackLz4(packed: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
  const input = new PackedBytes(packed)
  const take = async (count: number): Promise<Buffer> => {
    const bytes = await input.take(count)
    if (bytes === undefined) throw damaged(what, 'it is cut short')
    return bytes
  }
  try {
    for (let isFirst = true; isFirst || (await input.ahead(1)).length > 0; isFirst = false) {
      const magic = (await take(4)).readUInt32LE()
      if (magic >= FIRST_SKIPPABLE && magic <= LAST_SKIPPABLE) {
        await take((await take(4)).readUInt32LE())
        continue
      }
      if (magic !== MAGIC) throw damaged(what, 'it is no LZ4 frame')
      yield* unpackFrame(take, what)
    }
  } finally {
    await input.close()
  }
}

async function* unpackFrame(take: (count: number) => Promise<Buffer>, what: string): AsyncGenerator<Uint8Array> {
  const [flags = 0, descriptor = 0] = await take(2)
  if (flags >> 6 !== 1) throw damaged(what, `version ${flags >> 6} of the LZ4 frame is not known`)
  if ((flags & FLAG.dictionary) !== 0) throw damaged(what, 'it needs a dictionary')
  const sizeCode = (descriptor >> 4) & 7
  if (sizeCode < 4) throw damaged(what, `block size ${sizeCode} is not known`)
  const blockLimit = 1 << (2 * sizeCode + 8)
  await take(((flags & FLAG.contentSize) === 0 ? 0 : 8) + 1)
  // History, then the block.
  const memory = Buffer.alloc(HISTORY_SIZE + blockLimit)
  let history = 0
  for (let header = (await take(4)).readUInt32LE(); header !== 0; header = (await take(4)).readUInt32LE()) {
    const size = (header & ~STORED) >>> 0
    if (size > blockLimit) throw damaged(what, `a block of ${size} bytes in a frame for ${blockLimit}`)
    const block = await take(size)
    const start = history
    const end = header >= STORED ? start + block.copy(memory, start) : unpackBlock(block, memory, start, start + blockLimit, what)
    if ((flags & FLAG.blockChecksum) !== 0) await take(4)
    yield memory.subarray(start, end)
    if ((flags & FLAG.independent) === 0) {
      history = Math.min(HISTORY_SIZE, end)
      memory.copyWithin(0, end - history, end)
    }
  }
  if ((flags & FLAG.contentChecksum) !== 0) await take(4)
}

/** Where what the block holds ends in `memory`; it begins at `start` and may refer to all that is before. */
function unpackBlock(block: Buffer, memory: Buffer, start: number, limit: number, what: string): number {
  let input = 0
  let output = start
  const byte = (): number => {
    const value = block[input++]
    if (value === undefined) throw damaged(what, 'a block is cut short')
    return value
  }
  const lengthFrom = (nibble: number): number => {
    let length = nibble
    for (let more = nibble === 15 ? 255 : 0; more === 255; ) {
      more = byte()
      length += more
    }
    return length
  }
  while (true) {
    const token = byte()
    const literals = lengthFrom(token >> 4)
    if (input + literals > block.length || output + literals > limit) throw damaged(what, 'literals go past the end of a block')
    output += block.copy(memory, output, input, input + literals)
    input += literals
    if (input === block.length) return output
    const offset = byte() | (byte() << 8)
    const length = lengthFrom(token & 15) + 4
    if (offset === 0 || offset > output || output + length > limit) throw damaged(what, 'a match lies outside of its block')
    if (offset >= length) output += memory.copy(memory, output, output - offset, output - offset + length)
    else for (const end = output + length; output < end; output++) memory[output] = memory[output - offset] as number
  }
}
