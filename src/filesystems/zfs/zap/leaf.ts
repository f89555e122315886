/** A leaf of a fat ZAP (OpenZFS `include/sys/zap_leaf.h`). */
import {
  ZAP_ARRAY_CHUNK,
  ZAP_BLOCK_TYPE,
  ZAP_CHUNK_END,
  ZAP_CHUNK_TYPE,
  ZAP_ENTRY_CHUNK,
  ZAP_LEAF,
  ZAP_LEAF_IS_SORTED,
  ZAP_LEAF_MAGIC,
} from '../disk.ts'
import { HASH_BITS, type HashedEntry } from './entries.ts'

/** Bytes of a name or value in a chunk. */
export const CONTENT_SIZE = ZAP_ARRAY_CHUNK.fields.content[2]

/** Chunks of a leaf behind its hash table, which has a 16-bit number for every 32 bytes of the block. */
export function leafChunks(blockShift: number): number {
  return (2 ** blockShift - 2 * 2 ** (blockShift - 5)) / ZAP_ENTRY_CHUNK.size - ZAP_LEAF.size / ZAP_ENTRY_CHUNK.size
}

/** A leaf: a run of the sorted entries, whose hashes all begin with the `prefixLength` bits of `prefix`. */
export interface Leaf {
  readonly prefix: number
  readonly prefixLength: number
  readonly entries: readonly HashedEntry[]
}

/**
 * The block of a leaf whose chunks fit. Where names are normalized, those with the same hash have to be found from the
 * lowest differentiator on: `isSorted`.
 */
export function leafBlock({ entries, prefix, prefixLength }: Leaf, blockShift: number, isSorted: boolean): Uint8Array {
  const block = new Uint8Array(2 ** blockShift)
  const view = new DataView(block.buffer)
  const tableBits = blockShift - 5
  const chunksAt = ZAP_LEAF.size + 2 * 2 ** tableBits
  const place = (chunk: number): number => chunksAt + ZAP_ENTRY_CHUNK.size * chunk
  block.fill(0xff, ZAP_LEAF.size, chunksAt)
  let free = 0
  const putArray = (bytes: Uint8Array): number => {
    const first = free
    for (let at = 0; at < bytes.length; at += CONTENT_SIZE) {
      const next = at + CONTENT_SIZE < bytes.length ? free + 1 : ZAP_CHUNK_END
      const content = bytes.subarray(at, at + CONTENT_SIZE)
      ZAP_ARRAY_CHUNK.write(block, place(free++), { chunkType: ZAP_CHUNK_TYPE.array, content, next })
    }
    return first
  }
  // Each goes to the front of its chain.
  const ordered = isSorted ? [...entries].sort((a, b) => b.collisionDifferentiator - a.collisionDifferentiator) : entries
  for (const { name, value, hash, collisionDifferentiator } of ordered) {
    const chunk = free++
    const named = new Uint8Array(name.length + 1)
    named.set(name)
    const { integerSize, bytes } = typeof value === 'object' ? value : { integerSize: 8, bytes: bigEndian(value) }
    const bucket = ZAP_LEAF.size + 2 * ((hash >>> (HASH_BITS - prefixLength - tableBits)) & (2 ** tableBits - 1))
    ZAP_ENTRY_CHUNK.write(block, place(chunk), {
      chunkType: ZAP_CHUNK_TYPE.entry,
      valueIntegerSize: integerSize,
      next: view.getUint16(bucket, true),
      nameChunk: putArray(named),
      nameIntegers: named.length,
      valueChunk: putArray(bytes),
      valueIntegers: bytes.length / integerSize,
      collisionDifferentiator,
      hash: BigInt(hash) << BigInt(64 - HASH_BITS),
    })
    view.setUint16(bucket, chunk, true)
  }
  const count = leafChunks(blockShift)
  ZAP_LEAF.write(block, 0, {
    blockType: ZAP_BLOCK_TYPE.leaf,
    prefix,
    magic: ZAP_LEAF_MAGIC,
    freeChunks: count - free,
    entries: entries.length,
    prefixLength,
    freeList: free < count ? free : ZAP_CHUNK_END,
    flags: isSorted ? ZAP_LEAF_IS_SORTED : 0,
  })
  for (let chunk = free; chunk < count; chunk++) {
    const next = chunk + 1 < count ? chunk + 1 : ZAP_CHUNK_END
    ZAP_ARRAY_CHUNK.write(block, place(chunk), { chunkType: ZAP_CHUNK_TYPE.free, next })
  }
  return block
}

function bigEndian(value: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value))
  return bytes
}
