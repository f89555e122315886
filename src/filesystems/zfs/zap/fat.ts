/**
 * ZAPs of many blocks: a header with a table of leaves by the first bits of the hash, and the leaves (OpenZFS
 * `include/sys/zap_impl.h`, `zap_leaf.h`). The table always fits in the header here.
 */
import { ImageError } from '../../../errors.ts'
import { FAT_ZAP, FAT_ZAP_MAGIC, ZAP_BLOCK_TYPE } from '../disk.ts'
import { HASH_BITS, type HashedEntry, hashedEntries, type ZapEntry } from './entries.ts'
import { CONTENT_SIZE, type Leaf, leafBlock, leafChunks } from './leaf.ts'

const SMALL_BLOCK_SHIFT = 14
const LARGE_BLOCK_SHIFT = 17
/** With more entries small blocks would nearly use up the table. */
const SMALL_ENTRIES_MAXIMUM = 30_000

export interface FatZap {
  readonly blockSize: number
  readonly blockCount: number
  /** Made when they are asked for. */
  blocks(): Iterable<Uint8Array>
}

/** Throws LIMIT when the table of leaves would not fit in the header: beyond some millions of names. */
export function fatZap(entries: readonly ZapEntry[], salt: bigint, normalizationFlags = 0): FatZap {
  const hashed = hashedEntries(entries, salt)
  let blockShift = hashed.length > SMALL_ENTRIES_MAXIMUM ? LARGE_BLOCK_SHIFT : SMALL_BLOCK_SHIFT
  let leaves = split(hashed, blockShift)
  if (leaves === undefined && blockShift !== LARGE_BLOCK_SHIFT) {
    blockShift = LARGE_BLOCK_SHIFT
    leaves = split(hashed, blockShift)
  }
  if (leaves === undefined) throw new ImageError('LIMIT', `zfs: ${entries.length} names in one directory are too many for this writer`)
  const made = leaves
  return {
    blockSize: 2 ** blockShift,
    blockCount: made.length + 1,
    *blocks() {
      yield headerBlock(made, hashed.length, { salt, normalizationFlags }, blockShift)
      for (const leaf of made) yield leafBlock(leaf, blockShift, normalizationFlags !== 0)
    },
  }
}

function chunksOf({ name, value }: ZapEntry): number {
  const valueBytes = typeof value === 'object' ? value.bytes.length : 8
  return 1 + Math.ceil((name.length + 1) / CONTENT_SIZE) + Math.ceil(valueBytes / CONTENT_SIZE)
}

function tableShift(blockShift: number): number {
  return blockShift - 4
}

/** Halve by further bits of the hash until all fits; undefined when that takes more bits than the table has. */
function split(entries: readonly HashedEntry[], blockShift: number): Leaf[] | undefined {
  const room = leafChunks(blockShift)
  const leaves: Leaf[] = []
  const visit = (own: readonly HashedEntry[], prefix: number, prefixLength: number): boolean => {
    let chunks = 0
    for (const entry of own) chunks += chunksOf(entry)
    if (chunks <= room) {
      leaves.push({ prefix, prefixLength, entries: own })
      return true
    }
    if (prefixLength === tableShift(blockShift)) return false
    const middle = (prefix * 2 + 1) * 2 ** (HASH_BITS - prefixLength - 1)
    const found = own.findIndex(({ hash }) => hash >= middle)
    const at = found < 0 ? own.length : found
    return visit(own.slice(0, at), prefix * 2, prefixLength + 1) && visit(own.slice(at), prefix * 2 + 1, prefixLength + 1)
  }
  return visit(entries, 0, 0) ? leaves : undefined
}

interface Hashing {
  readonly salt: bigint
  readonly normalizationFlags: number
}

function headerBlock(leaves: readonly Leaf[], entries: number, hashing: Hashing, blockShift: number): Uint8Array {
  const block = new Uint8Array(2 ** blockShift)
  const shift = tableShift(blockShift)
  FAT_ZAP.write(block, 0, {
    blockType: ZAP_BLOCK_TYPE.header,
    magic: FAT_ZAP_MAGIC,
    tableShift: shift,
    freeBlock: leaves.length + 1,
    leaves: leaves.length,
    entries,
    ...hashing,
  })
  const table = new DataView(block.buffer, block.length / 2)
  let slot = 0
  for (const [index, { prefixLength }] of leaves.entries()) {
    for (const end = slot + 2 ** (shift - prefixLength); slot < end; slot++) table.setUint32(8 * slot, index + 1, true)
  }
  return block
}
