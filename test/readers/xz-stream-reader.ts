/**
 * Walks one .xz Stream (The .xz File Format 1.2.1) and the LZMA2 chunks in its Blocks; decodes nothing. It shares nothing with
 * the encoder, and refuses what breaks a rule: reserved bits, sizes and checksums that do not fit, an Index of other Blocks.
 */
import { crc32 } from 'node:zlib'

export interface XzBlock {
  readonly uncompressedSize: number
  readonly dictionarySize: number
  readonly filterId: number
}

export interface XzStream {
  /** Section 2.1.1.2: 0 none, 1 CRC32, 4 CRC64, 10 SHA-256. */
  readonly checkType: number
  readonly blocks: readonly XzBlock[]
  /** Where the Stream ends; what follows belongs to another. */
  readonly size: number
}

const CHECK_SIZES: Readonly<Record<number, number>> = { 0: 0, 1: 4, 4: 8, 10: 32 }

export function readXzStream(bytes: Uint8Array): XzStream {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const refuse = (what: string): never => {
    throw new Error(`xz: ${what}`)
  }
  if (buffer.toString('latin1', 0, 6) !== '\xfd7zXZ\0') refuse('no magic at the beginning')
  const checkType = buffer.readUInt16BE(6)
  if (crc32(buffer.subarray(6, 8)) !== buffer.readUInt32LE(8)) refuse('the Stream Header has another CRC32')
  const checkSize = CHECK_SIZES[checkType] ?? refuse(`check type ${checkType}`)
  const blocks: XzBlock[] = []
  const found: number[] = []
  let at = 12
  const number = (): number => {
    let value = 0
    for (let unit = 1; ; unit *= 128) {
      const byte = buffer[at++] ?? refuse('a number goes past the end')
      value += (byte & 0x7f) * unit
      if (byte < 0x80) return value
      if (unit > 2 ** 49) refuse('a number has too many bytes')
    }
  }
  while (buffer[at] !== 0) {
    const start = at
    const headerEnd = start + ((buffer[start] ?? 0) + 1) * 4
    const flags = buffer.readUInt8(start + 1)
    if (crc32(buffer.subarray(start, headerEnd - 4)) !== buffer.readUInt32LE(headerEnd - 4)) refuse('a Block Header has another CRC32')
    if ((flags & 0x3f) !== 0) refuse('more than one filter, or reserved flags')
    at += 2
    const stated = [(flags & 0x40) !== 0 ? number() : undefined, (flags & 0x80) !== 0 ? number() : undefined]
    const filterId = number()
    if (filterId !== 0x21 || number() !== 1) refuse(`filter ${filterId}`)
    const bits = buffer.readUInt8(at)
    const dictionarySize = (2 | (bits & 1)) * 2 ** ((bits >> 1) + 11)
    const { uncompressedSize, end } = walkChunks(buffer, headerEnd)
    if (stated[0] !== undefined && stated[0] !== end - headerEnd) refuse('a Block Header states another compressed size')
    if (stated[1] !== undefined && stated[1] !== uncompressedSize) refuse('a Block Header states another uncompressed size')
    at = end
    for (; at % 4 !== 0; at++) if (buffer[at] !== 0) refuse('Block Padding is not zero')
    at += checkSize
    blocks.push({ uncompressedSize, dictionarySize, filterId })
    found.push(end - start + checkSize, uncompressedSize)
  }
  const index = at++
  const records = Array.from({ length: number() * 2 }, () => number())
  if (records.join() !== found.join()) refuse(`the Index has ${records}, the Blocks are ${found}`)
  for (; at % 4 !== 0; at++) if (buffer[at] !== 0) refuse('Index Padding is not zero')
  if (crc32(buffer.subarray(index, at)) !== buffer.readUInt32LE(at)) refuse('the Index has another CRC32')
  at += 4
  if (crc32(buffer.subarray(at + 4, at + 10)) !== buffer.readUInt32LE(at)) refuse('the Stream Footer has another CRC32')
  if ((buffer.readUInt32LE(at + 4) + 1) * 4 !== at - index) refuse('the Stream Footer states another Index size')
  if (buffer.readUInt16BE(at + 8) !== checkType) refuse('the Stream Footer has other flags')
  if (buffer.toString('latin1', at + 10, at + 12) !== 'YZ') refuse('no magic at the end')
  return { checkType, blocks, size: at + 12 }
}

/** LZMA2: control byte, then sizes less one; 0 ends it. */
function walkChunks(buffer: Buffer, start: number): { readonly uncompressedSize: number; readonly end: number } {
  let at = start
  let uncompressedSize = 0
  for (let control = buffer.readUInt8(at); control !== 0; control = buffer.readUInt8(at)) {
    if (control >= 0x80) {
      uncompressedSize += ((control & 0x1f) << 16) + buffer.readUInt16BE(at + 1) + 1
      at += (control >= 0xc0 ? 6 : 5) + buffer.readUInt16BE(at + 3) + 1
    } else {
      if (control > 2) throw new Error(`xz: LZMA2 control byte ${control}`)
      const size = buffer.readUInt16BE(at + 1) + 1
      uncompressedSize += size
      at += 3 + size
    }
  }
  return { uncompressedSize, end: at + 1 }
}
