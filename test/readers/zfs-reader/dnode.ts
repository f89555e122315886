/** Dnodes and the trees of their blocks (OpenZFS `include/sys/dnode.h`). */
import { CHECKSUM_OFF } from './checksums.ts'
import { isZero, number64 } from './device.ts'
import { addSpace, isMetadata, NO_SPACE, POINTER_SIZE, readPointer, type Space, spaceOf } from './pointer.ts'
import { attempt, type BlockNode, nameOf, type Pool, readBlock } from './pool.ts'

export const DNODE_SIZE = 512
const DNODE_TYPE = 10
const SPILL_TYPE = 44
const FLAG = { usedBytes: 1, spill: 4 } as const
const KNOWN_FLAGS = 15

export interface Dnode {
  readonly object: number
  readonly type: number
  readonly bonusType: number
  readonly bonus: Buffer
  readonly flags: number
  readonly blockSize: number
  readonly maxBlock: number
  readonly indirectShift: number
  readonly levels: number
  readonly pointerCount: number
  readonly used: number
  /** Slots of 512 bytes. */
  readonly slots: number
  /** Block and place where the dnode stands. */
  readonly holder: BlockNode
  readonly at: number
  /** The bytes, and where in them the bonus starts. */
  readonly bytes: Buffer
  readonly bonusAt: number
}

/** Throws when the fields contradict each other. */
export function readDnode(block: Buffer, at: number, holder: BlockNode, object: number): Dnode {
  const slots = 1 + block.readUInt8(at + 12)
  const bytes = block.subarray(at, at + DNODE_SIZE * slots)
  const pointerCount = bytes.readUInt8(3)
  const flags = bytes.readUInt8(7)
  const bonusSize = bytes.readUInt16LE(10)
  const bonusAt = 64 + POINTER_SIZE * pointerCount
  const dnode: Dnode = {
    object,
    type: bytes.readUInt8(0),
    indirectShift: bytes.readUInt8(1),
    levels: bytes.readUInt8(2),
    pointerCount,
    bonusType: bytes.readUInt8(4),
    flags,
    blockSize: bytes.readUInt16LE(8) * 512,
    bonus: bytes.subarray(bonusAt, bonusAt + bonusSize),
    slots,
    maxBlock: number64(bytes, 16),
    used: number64(bytes, 24),
    holder,
    at,
    bytes,
    bonusAt,
  }
  const room = bytes.length - bonusAt - ((flags & FLAG.spill) === 0 ? 0 : POINTER_SIZE)
  if (pointerCount < 1 || pointerCount > 3 || bonusSize > room)
    throw new Error(`${pointerCount} pointers and a bonus of ${bonusSize} bytes`)
  if (dnode.levels < 1 || dnode.indirectShift < 12 || dnode.indirectShift > 17 || dnode.blockSize === 0) throw new Error('no such geometry')
  if ((flags & ~KNOWN_FLAGS) !== 0 || bonusSize > 0 !== dnode.bonusType > 0) throw new Error('unknown flags, or a bonus of no type')
  if (dnode.maxBlock >= pointerCount * 2 ** ((dnode.levels - 1) * (dnode.indirectShift - 7)))
    throw new Error('too few levels for its blocks')
  return dnode
}

/** Visits every block but holes, with its content; returns their sums. A block that cannot be read is a problem. */
export function walkBlocks(
  pool: Pool,
  objset: string,
  dnode: Dnode,
  visit: (node: BlockNode, content: Buffer | undefined) => void,
): { readonly fill: number; readonly space: Space } {
  const perBlock = 2 ** (dnode.indirectShift - 7)
  const go = (holder: BlockNode, bytes: Buffer, at: number, base: number, level: number, index: number): { fill: number; space: Space } => {
    const shared = { holder, at: base + at, objset, object: dnode.object, level, index }
    const where = `${objset} object ${dnode.object} L${level} block ${index}`
    const pointer = attempt(pool, where, () => readPointer(bytes, at))
    if (pointer === undefined || pointer.isHole) return { fill: 0, space: NO_SPACE }
    const node: BlockNode = { ...shared, pointer }
    checkPointer(pool, node, dnode)
    const content = readBlock(pool, node)
    visit(node, content)
    let fill = level > 0 ? 0 : dnode.type === DNODE_TYPE && content !== undefined ? countDnodes(content) : 1
    let space = spaceOf(pointer)
    if (level > 0 && content !== undefined) {
      for (let child = 0; child < perBlock; child++) {
        if (isZero(content.subarray(POINTER_SIZE * child, POINTER_SIZE * (child + 1)))) continue
        const below = go(node, content, POINTER_SIZE * child, 0, level - 1, index * perBlock + child)
        fill += below.fill
        space = addSpace(space, below.space)
      }
    }
    if (content !== undefined && fill !== pointer.fill) pool.problems.push(`${where}: fill is ${pointer.fill}, and below it are ${fill}`)
    return { fill, space }
  }
  let fill = 0
  let space = NO_SPACE
  for (let index = 0; index < dnode.pointerCount; index++) {
    const below = go(dnode.holder, dnode.bytes, 64 + POINTER_SIZE * index, dnode.at, dnode.levels - 1, index)
    fill += below.fill
    space = addSpace(space, below.space)
  }
  if ((dnode.flags & FLAG.spill) !== 0) {
    const spill = go(dnode.holder, dnode.bytes, dnode.bytes.length - POINTER_SIZE, dnode.at, 0, -1)
    space = addSpace(space, spill.space)
  }
  return { fill, space }
}

function checkPointer(pool: Pool, node: BlockNode, dnode: Dnode): void {
  const { pointer, index, level } = node
  const wrong = (what: string): unknown => pool.problems.push(`${nameOf(node)}: ${what}`)
  const isSpill = index === -1
  if (pointer.type !== (isSpill ? SPILL_TYPE : dnode.type) || pointer.level !== level)
    wrong(`a pointer of type ${pointer.type} L${pointer.level}`)
  const size = level > 0 ? 2 ** dnode.indirectShift : dnode.blockSize
  if (!isSpill && pointer.logicalSize !== size) wrong(`the block has ${pointer.logicalSize} bytes, not ${size}`)
  if (level === 0 && index > dnode.maxBlock) wrong(`it is behind the last block, ${dnode.maxBlock}`)
  const limit = node.holder?.pointer.birthTxg ?? 0
  if (pointer.birthTxg > limit) wrong(`it was born in ${pointer.birthTxg}, after the block that points to it (${limit})`)
  if (pointer.payload !== undefined) {
    if (level > 0 || dnode.type === DNODE_TYPE) wrong('such a block cannot be embedded')
    return
  }
  if (pointer.checksum === CHECKSUM_OFF && (level > 0 || isMetadata(pointer.type))) wrong('metadata without checksum')
  checkCopies(pool, node)
}

/** How the block is stored. */
export function checkCopies(pool: Pool, node: BlockNode): void {
  const { pointer } = node
  const wrong = (what: string): unknown => pool.problems.push(`${nameOf(node)}: ${what}`)
  const unit = 2 ** pool.ashift
  const allocated = Math.ceil(pointer.physicalSize / unit) * unit
  for (const { place, size: own } of pointer.copies) {
    if (own !== allocated || place % unit !== 0) wrong(`${own} bytes at ${place} for ${pointer.physicalSize} in units of ${unit}`)
  }
  if (new Set(pointer.copies.map(({ place }) => place)).size !== pointer.copies.length) wrong('two copies are the same')
  if (pointer.compression === 2 ? pointer.physicalSize !== pointer.logicalSize : pointer.physicalSize >= pointer.logicalSize) {
    wrong(`${pointer.logicalSize} bytes are ${pointer.physicalSize} with compression ${pointer.compression}`)
  }
}

function countDnodes(block: Buffer): number {
  let count = 0
  for (let at = 0; at < block.length; at += DNODE_SIZE * (1 + block.readUInt8(at + 12))) if (block[at] !== 0) count++
  return count
}

export function checkUsed(pool: Pool, where: string, { used, flags }: Dnode, space: Space): void {
  const bytes = (flags & FLAG.usedBytes) === 0 ? used * 512 : used
  if (bytes !== space.used) pool.problems.push(`${where}: ${bytes} bytes are used, its blocks have ${space.used}`)
}
