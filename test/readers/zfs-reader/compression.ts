/** Compressed blocks (OpenZFS `include/sys/zio_compress.h`, `module/zfs/{lz4,gzip,zle}.c`, `module/zstd/zfs_zstd.c`). */
import { inflateSync, zstdDecompressSync } from 'node:zlib'
import { readLz4Block } from '../lz4-reader.ts'
import { isZero } from './device.ts'

export const COMPRESSION = { off: 2, lzjb: 3, gzip1: 5, gzip9: 13, zle: 14, lz4: 15, zstd: 16 } as const
const ZSTD_MAGIC = Buffer.from('28b52ffd', 'hex')
const ZSTD_VERSION = 10405

/** Exactly `size` bytes. Throws when the block gives anything else. */
export function decompress(stored: Buffer, compression: number, size: number): Buffer {
  const content = contentOf(stored, compression, size)
  if (content.length !== size) throw new Error(`the block holds ${content.length} bytes, not ${size}`)
  return content
}

function contentOf(stored: Buffer, compression: number, size: number): Buffer {
  if (compression === COMPRESSION.off) return stored
  if (compression >= COMPRESSION.gzip1 && compression <= COMPRESSION.gzip9) return inflateSync(stored, { maxOutputLength: size })
  if (compression === COMPRESSION.zle) return readZle(stored, size)
  if (compression === COMPRESSION.lzjb) return readLzjb(stored, size)
  if (compression === COMPRESSION.lz4) {
    const { bytes } = readLz4Block(framed(stored, 4), size)
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  }
  if (compression === COMPRESSION.zstd) {
    const level = stored.readUInt8(4)
    if (level < 1 || level > 19 || stored.readUIntBE(5, 3) !== ZSTD_VERSION) throw new Error(`a zstd header of level ${level}`)
    return zstdDecompressSync(Buffer.concat([ZSTD_MAGIC, framed(stored, 8)]), { maxOutputLength: size })
  }
  throw new Error(`compression ${compression} is not known`)
}

/** What follows a header that begins with its length; nothing but zeros may come behind. */
function framed(stored: Buffer, headerSize: number): Buffer {
  const end = headerSize + stored.readUInt32BE(0)
  if (end > stored.length || !isZero(stored.subarray(end))) throw new Error(`${end} of ${stored.length} bytes are compressed`)
  return stored.subarray(headerSize, end)
}

/** A byte up to 63 is the length of literals, less one; one above it of zeros. */
function readZle(stored: Buffer, size: number): Buffer {
  const content = Buffer.alloc(size)
  let at = 0
  for (let input = 0; at < size; ) {
    const token = stored.readUInt8(input++)
    const length = token < 64 ? token + 1 : token - 63
    if (at + length > size) throw new Error('a run goes past the end')
    if (token < 64) {
      if (input + length > stored.length) throw new Error('literals go past the end')
      stored.copy(content, at, input, input + length)
      input += length
    }
    at += length
  }
  return content
}

/** A byte says, from its lowest bit on, which of the next eight pieces are matches: six bits of length, less three, and ten of distance. */
function readLzjb(stored: Buffer, size: number): Buffer {
  const content = Buffer.alloc(size)
  let at = 0
  for (let input = 0; at < size; ) {
    const map = stored.readUInt8(input++)
    for (let bit = 0; bit < 8 && at < size; bit++) {
      if (((map >> bit) & 1) === 0) {
        content.writeUInt8(stored.readUInt8(input++), at++)
        continue
      }
      const match = stored.readUInt16BE(input)
      input += 2
      const distance = match & 0x3ff
      if (distance === 0 || distance > at) throw new Error('a match begins before the block')
      for (let left = (match >> 10) + 3; left > 0 && at < size; left--, at++) content.writeUInt8(content.readUInt8(at - distance), at)
    }
  }
  return content
}
