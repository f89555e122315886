/** ZAPs of many blocks: a table of leaves by the first bits of the hash, and in each leaf chains of chunks. */
import { number64 } from './device.ts'
import { type NameHash, nameHash, normalizationOf, type ZapEntry } from './zap.ts'

const HASH_BITS = 28
const CHUNK_SIZE = 24
const ARRAY_SIZE = 21
const CHUNK = { array: 251, entry: 252, free: 253 } as const
const END = 0xffff
const LEAF_HEADER = 48

type Add = (entry: ZapEntry, hash: number, differentiator: number) => void

export function fatEntries(content: Buffer, blockSize: number, add: Add): void {
  const block = (index: number): Buffer => {
    if (index * blockSize >= content.length) throw new Error(`the map has no block ${index}`)
    return content.subarray(index * blockSize, (index + 1) * blockSize)
  }
  const header = block(0)
  if (header.readBigUInt64LE(0) !== 0x8000000000000001n || header.readBigUInt64LE(8) !== 0x2f52ab2abn) throw new Error('it is no ZAP')
  const hashOf = nameHash(header, 80, normalizationOf(header))
  const [tableBlock, tableBlocks, shift] = [number64(header, 16), number64(header, 24), number64(header, 32)]
  if (number64(header, 40) !== 0 || number64(header, 48) !== 0) throw new Error('a table that is being copied')
  if (number64(header, 96) !== 0) throw new Error('a ZAP with flags')
  const isInside = tableBlocks === 0
  if (isInside ? 2 ** shift * 16 !== blockSize : 2 ** shift * 8 !== tableBlocks * blockSize) throw new Error(`a table of 2^${shift} leaves`)
  const table = isInside ? header.subarray(blockSize / 2) : content.subarray(tableBlock * blockSize, (tableBlock + tableBlocks) * blockSize)
  const leaves = new Set<number>()
  let entries = 0
  for (let slot = 0; slot < 2 ** shift; ) {
    const index = number64(table, 8 * slot)
    if (leaves.has(index)) throw new Error(`the leaf ${index} has slots that do not follow each other`)
    leaves.add(index)
    const leaf = block(index)
    const prefixLength = leaf.readUInt16LE(32)
    const span = 2 ** (shift - prefixLength)
    if (prefixLength > shift || slot % span !== 0 || number64(leaf, 16) !== slot / span)
      throw new Error(`the leaf ${index} has another prefix`)
    for (let other = slot; other < slot + span; other++) {
      if (number64(table, 8 * other) !== index) throw new Error(`the slot ${other} does not lead to the leaf ${index}`)
    }
    entries += leafEntries(leaf, { prefixLength, prefix: slot / span, hashOf, isSorted: normalizationOf(header) !== 0 }, add)
    slot += span
  }
  const [freeBlock, leafCount, entryCount] = [number64(header, 56), number64(header, 64), number64(header, 72)]
  if (leafCount !== leaves.size || entryCount !== entries) throw new Error(`${leaves.size} leaves and ${entries} entries, not as counted`)
  if (freeBlock !== 1 + leaves.size + tableBlocks || freeBlock * blockSize > content.length)
    throw new Error(`${freeBlock} is not the first free block`)
}

interface LeafPlace {
  readonly prefixLength: number
  readonly prefix: number
  readonly hashOf: NameHash
  /** Chains go up by differentiators: `ZLF_ENTRIES_CDSORTED`, which maps have that normalize names. */
  readonly isSorted: boolean
}

/** Returns how many there are. Each chunk must be used once. */
function leafEntries(leaf: Buffer, { prefixLength, prefix, hashOf, isSorted }: LeafPlace, add: Add): number {
  if (leaf.readBigUInt64LE(0) !== 0x8000000000000000n || leaf.readUInt32LE(24) !== 0x2ab1eaf) throw new Error('it is no leaf')
  if (leaf.readUInt8(36) !== (isSorted ? 1 : 0)) throw new Error(`a leaf with the flags ${leaf.readUInt8(36)}`)
  const bits = Math.log2(leaf.length) - 5
  const chunksAt = LEAF_HEADER + 2 * 2 ** bits
  const count = Math.floor((leaf.length - 2 * 2 ** bits) / CHUNK_SIZE) - 2
  const used = new Uint8Array(count)
  const take = (index: number, type: number): number => {
    const at = chunksAt + CHUNK_SIZE * index
    if (index >= count || used[index] === 1 || leaf.readUInt8(at) !== type)
      throw new Error(`the chunk ${index} is not a free one of type ${type}`)
    used[index] = 1
    return at
  }
  const array = (first: number, size: number): Buffer => {
    const parts: Buffer[] = []
    let index = first
    for (let left = size; left > 0; left -= ARRAY_SIZE) {
      const at = take(index, CHUNK.array)
      parts.push(leaf.subarray(at + 1, at + 1 + Math.min(left, ARRAY_SIZE)))
      index = leaf.readUInt16LE(at + 22)
    }
    if (index !== END) throw new Error('an array is longer than its size')
    return Buffer.concat(parts)
  }
  let entries = 0
  for (let bucket = 0; bucket < 2 ** bits; bucket++) {
    let differentiator = 0
    for (let index = leaf.readUInt16LE(LEAF_HEADER + 2 * bucket); index !== END; entries++) {
      const at = take(index, CHUNK.entry)
      if (isSorted && leaf.readUInt32LE(at + 12) < differentiator) throw new Error(`the chain ${bucket} is not sorted`)
      differentiator = leaf.readUInt32LE(at + 12)
      index = leaf.readUInt16LE(at + 2)
      const integerSize = leaf.readUInt8(at + 1)
      const text = array(leaf.readUInt16LE(at + 4), leaf.readUInt16LE(at + 6))
      const value = array(leaf.readUInt16LE(at + 8), integerSize * leaf.readUInt16LE(at + 10))
      const name = text.subarray(0, -1)
      if (text.at(-1) !== 0 || name.includes(0)) throw new Error('a name does not end with its zero byte')
      const hash = hashOf(name)
      if (leaf.readBigUInt64LE(at + 16) !== BigInt(hash) << 36n) throw new Error(`${name} has another hash`)
      if (Math.floor(hash / 2 ** (HASH_BITS - prefixLength)) !== prefix) throw new Error(`${name} is in the wrong leaf`)
      if (Math.floor(hash * 2 ** (bits + prefixLength - HASH_BITS)) % 2 ** bits !== bucket)
        throw new Error(`${name} is in the wrong bucket`)
      add({ name, integerSize, value }, hash, differentiator)
    }
  }
  let free = 0
  for (let index = leaf.readUInt16LE(34); index !== END; free++) index = leaf.readUInt16LE(take(index, CHUNK.free) + 22)
  if (free !== leaf.readUInt16LE(28) || entries !== leaf.readUInt16LE(30) || used.includes(0))
    throw new Error('chunks are lost, or counted wrongly')
  return entries
}
